# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what the last prune of an engine came to, which facts tell."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress

from .._base.errors import BuildcacheError
from .state import keep, kept, name_of

_FIGURES = ("freed_bytes", "predicted_bytes", "reported_bytes", "shortfall_bytes", "msg")
_NAMES = ("at", *_FIGURES, "removed", "failed")


def keep_cleanup(docker_host, result, at):
    """Keep what a prune came to, by its result with ``msg``, "" where it did not fail; ``at`` in seconds since the
    epoch. To keep it is no condition for working."""
    told = {name: result.get(name) for name in _FIGURES}
    removed = sum(step["removed"]["count"] for step in result["steps"])
    _keep(docker_host, dict(told, at=at, removed=removed, failed=bool(result["msg"])))


@contextmanager
def failure_kept(docker_host, check_mode):
    """Keep why a prune failed that has come to no result; what it came to is not known then."""
    try:
        yield
    except BuildcacheError as problem:
        if not check_mode:
            _keep(docker_host, {"at": time.time(), "failed": True, "msg": str(problem)})
        raise


def _keep(docker_host, told):
    with suppress(OSError):
        keep(name_of("cleanup", docker_host), told)


def last_cleanup(docker_host):
    """Return what the last prune of the engine at this address came to, None where that is not known."""
    found = kept(name_of("cleanup", docker_host))
    return {name: found.get(name) for name in _NAMES} if isinstance(found, dict) else None
