# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the service manager: starting dockerd again, and what it said when it would not."""

from __future__ import annotations

import os
import re
import time

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError

_PATIENCE = 20
"""Seconds for a service manager to answer, or to end what it was told to end."""

# Exit statuses of timeout(1).
_TIMED_OUT, _NOT_FOUND = 124, 127

_LINES = 5
_NO_TROUBLE = re.compile(r"level=(?:info|debug|warning)")
"""dockerd's own lines that tell of no trouble. At these levels it logs its whole configuration as well."""


def service_manager(kind, service, run):
    """Return the manager of a service, by the option service_manager.

    ``run(command)`` returns the exit status, what was printed, and the errors, as AnsibleModule.run_command does. All
    methods raise BuildcacheError where a command cannot be run.
    """
    if kind == "auto":
        kind = "systemd" if os.path.isdir("/run/systemd/system") else "sysvinit"
    if kind == "sysvinit":
        return _SysVInit(service, run)
    return _Systemd(service, run, user=kind == "systemd_user")


class _Systemd:
    """systemd, or that of a user. Nothing waits for a job to end: one that hangs in start has no time limit."""

    def __init__(self, service, run, user):
        self._service = service
        self._run = run
        self._systemctl = ["systemctl", "--user"] if user else ["systemctl"]
        self._own_lines = f"_SYSTEMD_{'USER_' if user else ''}UNIT={service}.service"
        self._all_lines = f"--{'user-' if user else ''}unit={service}"
        if user:
            os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")

    def restart(self):
        """Begin a restart. The count of recent starts, of which systemd allows a few only, is set back first."""
        for unit in (self._service, f"{self._service}.socket"):
            self._asked("reset-failed", unit)
        _must(self._run, [*self._systemctl, "--no-block", "restart", self._service])

    def has_failed(self):
        """Whether the manager has given up."""
        return self._asked("is-failed", self._service) == "failed"

    def end(self):
        """End the service, or the start that it hangs in, without touching what its main process has started."""
        self._asked("--no-block", "stop", self._service)
        end = time.monotonic() + _PATIENCE
        while self._asked("is-active", self._service) not in ("inactive", "failed"):
            if time.monotonic() > end:
                for who in ("control", "main"):
                    self._asked("kill", f"--kill-who={who}", "--signal=KILL", self._service)
                break
            time.sleep(0.2)

    def _asked(self, *words):
        return patiently(self._run, [*self._systemctl, *words])[1].strip()

    def trouble(self, since):
        """Return the last lines in which the service tells of trouble since a moment (seconds since the epoch)."""
        journal = ["journalctl", "--no-pager", "--output=cat", f"--since=@{int(since)}"]
        own = patiently(self._run, [*journal, self._own_lines])[1].splitlines()
        return _troubled(own) or patiently(self._run, [*journal, self._all_lines])[1].splitlines()[-_LINES:]


class _SysVInit:
    """The init scripts of System V."""

    def __init__(self, service, run):
        self._service = service
        self._run = run
        self._log = f"/var/log/{service}.log"

    def restart(self):
        """Restart."""
        _must(self._run, ["service", self._service, "restart"])

    def has_failed(self):
        """Whether the manager has given up: a script does not say."""
        return False

    def end(self):
        """Stop the service."""
        patiently(self._run, ["service", self._service, "stop"])

    def trouble(self, since):
        """Return the last lines of the log in which the service tells of trouble; their time is not looked at."""
        try:
            with open(self._log, encoding="utf-8", errors="replace") as log:
                return _troubled(log.read().splitlines()[-200:])
        except OSError:
            return []


def _troubled(lines):
    # An error comes again with every attempt to start.
    return list(dict.fromkeys(line for line in lines if not _NO_TROUBLE.search(line)))[-_LINES:]


def patiently(run, command, patience=_PATIENCE):
    """Run a command that must end in time; return its exit status and what it printed. Raises BuildcacheError."""
    status, printed, errors = run(["timeout", str(patience), *command])
    if status == _TIMED_OUT:
        raise BuildcacheError(f"{' '.join(command)} did not end within {patience} s.")
    if status == _NOT_FOUND:
        raise BuildcacheError(
            f"There is no {command[0]} on this host. Set service_manager to the one that starts dockerd."
        )
    return status, printed + errors


def _must(run, command):
    status, printed = patiently(run, command)
    if status:
        raise BuildcacheError(f"{' '.join(command)} failed: {printed.strip()}")
