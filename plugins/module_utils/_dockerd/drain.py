# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting until nobody's work would be cut off by a restart of dockerd."""

from __future__ import annotations

import time

from .._base.errors import BuildcacheError, DeadlineReached, EngineError
from .requests import open_requests

ALL = "all"
"""The word for all containers, where labels are named."""

UNKNOWN = ("It cannot be told whether a build still runs", "the engine's account of the build cache fails")
"""What may be unfinished where dockerd tells of neither records nor requests."""

_POLL = 2
_RUNNING = ("running", "paused", "restarting")


def builds_running(client):
    """Return how many build-cache records running builds use, None where the engine cannot tell."""
    try:
        return sum(bool(entry.get("InUse")) for entry in client.build_cache())
    except (DeadlineReached, EngineError) as problem:
        # One that answers, but not this, may never do so before it is restarted.
        if isinstance(problem, EngineError) and problem.status is None:
            raise
        return None


def containers_to_end(containers, wanted):
    """Return the names of the running containers that are to end first.

    ``containers`` are entries of /containers/json; ``wanted`` are labels, as ``key`` or ``key=value``, or "all".
    """
    return sorted(
        name.lstrip("/")
        for container in containers
        if container["State"] in _RUNNING and _is_wanted(container.get("Labels") or {}, wanted)
        for name in container["Names"][:1]
    )


def _is_wanted(labels, wanted):
    known = {ALL, *labels, *(f"{key}={value}" for key, value in labels.items())}
    return not known.isdisjoint(wanted)


def unfinished(now, containers):
    """Return what a restart of dockerd would cut off now, as a pair of texts: what it is, and more about it; None for
    nothing, and UNKNOWN where nothing tells.

    ``now`` is the Running; ``containers`` as for containers_to_end. Requests of which dockerd gives no account are not
    among it.
    """
    records = builds_running(now.client)
    if records:
        return "A build still runs", f"it uses {records} build-cache records"
    names = containers_to_end(now.client.containers(), containers) if containers else []
    if names:
        return f"{len(names)} of the containers to wait for still run", ", ".join(names[:5])
    # Last, since dockerd notes it in its log.
    asked = open_requests(now.pid, now.config.data)
    if asked:
        said = " and ".join(asked)
        return f"{said[0].upper()}{said[1:]} still {'run' if asked[1:] else 'runs'}", "dockerd answers such requests"
    return UNKNOWN if records is None and asked is None else None


def drain(now, containers, end, timeout):
    """Wait until nothing is unfinished, at most until ``end`` (time.monotonic), ``timeout`` as the option gives it.

    Returns False where it could not be told to the last, so that a build may run. Raises BuildcacheError where
    something still is unfinished.
    """
    while True:
        busy = unfinished(now, containers)
        if not busy:
            return True
        if time.monotonic() > end:
            if busy is UNKNOWN:
                return False
            said, more = busy
            raise BuildcacheError(
                f"{said} after {timeout} (drain_timeout): {more}. dockerd was not restarted; the new policy takes "
                "effect with the next restart. Run this again when all has ended, or with a longer drain_timeout."
            )
        time.sleep(_POLL)
