# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs whose result nobody heard: their connection was cut while they were at work. The next run tells of them.

A run that removes something makes its entry before it does, and takes it back once its result has left for somebody
who still listens. So one that was killed has an entry too, without a result. What cannot be seen from here is a
network that died without a word.
"""

from __future__ import annotations

import select
import sys
import time
from contextlib import contextmanager, suppress

from .state import forget, keep, kept, name_of

_MOST_RUNS = 10
"""How many runs are kept, the youngest."""

_KEPT_OF_RUN = ("changed", "predicted_bytes", "reported_bytes", "freed_bytes", "msg")
_KEPT_OF_STEP = ("step", "builder", "node", "error")


class Unheard:
    """What is kept of the runs against one engine. To keep is no condition for working: where it cannot be done, a run
    goes on without."""

    def __init__(self, docker_host):
        """Read what is kept for the engine at this address; ``previous`` has the runs, oldest first."""
        self._file = name_of("unheard", docker_host)
        found = kept(self._file)
        self.previous = [run for run in found if isinstance(run, dict)] if isinstance(found, list) else []
        self._run = None

    def begin(self):
        """Make the entry of this run."""
        self._run = {"started_at": time.time(), "ended_at": None}
        self._keep()

    def end(self, result):
        """Put the result of this run, which is as prune_result makes it, into its entry, without what can be long."""
        if self._run:
            self._run.update({name: result[name] for name in _KEPT_OF_RUN}, ended_at=time.time())
            self._run["steps"] = [_without_ids(step) for step in result["steps"]]
            self._keep()

    @contextmanager
    def told(self, forget_them):
        """Where the module, which ends within, has somebody to tell its result to, forget all runs if that is asked."""
        try:
            yield
        except SystemExit:
            # What cannot be written out raises here.
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                if forget_them and (self.previous or self._run) and not _hung_up():
                    forget(self._file)
            raise

    def _keep(self):
        with suppress(OSError):
            keep(self._file, [*self.previous, self._run][-_MOST_RUNS:])


def _without_ids(step):
    few = {name: step[name] for name in _KEPT_OF_STEP if name in step}
    few.update({name: {part: step[name][part] for part in ("count", "bytes")} for name in ("planned", "removed")})
    return few


def _hung_up():
    """Whether nobody reads the standard output: its terminal, pipe or connection was closed at the other end."""
    output = select.poll()
    # Errors and hang-ups are reported unasked (poll(2)).
    output.register(1, 0)
    return bool(output.poll(0))
