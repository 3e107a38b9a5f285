# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host on which a restart of dockerd goes wrong at any step."""

from __future__ import annotations

import time

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError, EngineError

VERSION = "26.1.5"
OLD = '{"builder": {"gc": {"enabled": true, "policy": [{"keepStorage": "21GB"}]}}}'
NEW = OLD.replace("21GB", "33GB")


class Host:
    """dockerd, its service manager and its engine. ``fault`` (a step and an error) holds for the text ``bad``."""

    version = {"Version": VERSION}

    def __init__(self, directory):
        self.file = directory / "daemon.json"
        self.program = directory / "dockerd"
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)
        self.processes = {}
        self.pid = 100
        self.fault, self.bad = ("", BuildcacheError("no fault")), (NEW,)
        self.restarts = []
        self.running = []
        # What each question for the builds finds; at the last one it stays.
        self.builds = [0]
        # What dockerd is asked for by others, question by question; in the end nothing is known.
        self.requests = []
        self.live_restore = False
        # Seconds that a start may take by its unit, and whether it goes on.
        self.patience, self.starting = 0.1, False
        # What /info says of the store that the bad text puts in force.
        self.other = {}
        # Units that stop with dockerd, and those of them that do not start again.
        self.dependent, self.dead = [], []
        # What a rehearsal says of each text, and how many there were.
        self.refusals, self.rehearsals = {}, 0
        # Whether its manager has given it up.
        self.failed = False

    @property
    def text(self):
        return self.file.read_text() if self.file.exists() else None

    def fails_at(self, step):
        return self.fault[0] == step and self.text in self.bad

    def _reach(self, step):
        if self.fails_at(step):
            raise self.fault[1]

    # The service manager's.

    def main_pid(self):
        return self.pid

    def unit(self):
        return {}, []

    def unmet(self):
        return ()

    def dependents(self):
        return list(self.dependent)

    def enabled_dependents(self):
        return list(self.dependent)

    def gave_up(self):
        return self.failed

    def start_again(self, names, limit):
        self._reach("start_again")
        return [(name, "failed") for name in names if name in self.dead]

    def under_way(self):
        return self.starting

    def start_limit(self):
        return self.patience

    def stop_limit(self):
        self._reach("stop_limit")
        return 0

    def restart(self):
        self.restarts.append(self.text)
        self._reach("begin")
        if self.fails_at("restart"):
            self.processes.pop(self.pid, None)
        self._reach("restart")
        if self.fails_at("stop"):
            return
        self.processes.pop(self.pid, None)
        self.pid = None
        if not self.fails_at("start"):
            self.pid = 100 + len(self.restarts)
            self.processes[self.pid] = time.time() + len(self.restarts)

    def has_failed(self):
        self._reach("has_failed")
        return False

    def end(self):
        pass

    def trouble(self, since):
        return ["no such size"]

    def refusal(self, seen, program, pid):
        self.rehearsals += 1
        said = self.refusals.get(self.text, "")
        if isinstance(said, Exception):
            raise said
        return said

    # The engine's.

    def info(self):
        if self.file.exists() and "live-restore" in self.text:
            self.live_restore = True
        return {
            "LiveRestoreEnabled": self.live_restore,
            **(self.other if self.restarts and self.text in self.bad else {}),
        }

    def build_cache(self):
        number = self.builds.pop(0) if len(self.builds) > 1 else self.builds[0]
        return [{"InUse": True}] * (number() if callable(number) else number)

    def containers(self):
        return [
            {"State": "running", "Id": name, "Names": [f"/{name}"], "Labels": {"ci.job": name}} for name in self.running
        ]

    def container(self, name):
        return {"State": {"Running": True, "Pid": 7}}

    def client(self, connection, elsewhere):
        if self.pid is None or (self.restarts and self.fails_at("answer")):
            raise EngineError("Nobody answers.")
        return self
