# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing what is left of builders that nobody has any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from .._base.errors import BuildcacheError, EngineError
from .._cache.plan import Planned
from .._engine.prune import Done
from .orphans import find_orphans, looked_at

ORPHANED_STATE = "orphaned_state"
"""The step that removes what is left of builders that are gone."""

_GONE = 404


@dataclass(frozen=True)
class Orphans(Done):
    """What was done to what is left of builders that are gone: ``sizes`` are the bytes of each thing that was to go by
    name, ``left`` the Orphans that stay."""

    sizes: dict = field(default_factory=dict)
    left: tuple = ()


def plan_orphans(options, client, unused_for):
    """Return the Orphans to go: those that have been idle for so many nanoseconds, each with container and volume."""
    found, now = find_orphans(options, client), time.time_ns()
    going = [one for one in found if one.may_go(now, unused_for)]
    sizes = {name: size for one in going for name, size in _things(one)}
    left = tuple(one for one in found if one not in going)
    return Orphans(planned=Planned(ORPHANED_STATE, tuple(sizes), sum(sizes.values())), sizes=sizes, left=left), going


def _things(orphan):
    return [(name, size) for name, size in ((orphan.container, 0), (orphan.volume, orphan.bytes)) if name]


def remove_orphans(options, client, planned, going, deadline):
    """Remove what is to go, and return the Orphans with what went; one that has come to be used meanwhile stays."""
    removed, errors, left = [], [], list(planned.left)
    for one in going:
        now = looked_at(one, options, client) if one.container else one
        if now.busy:
            left.append(now)
            continue
        try:
            if one.container:
                client.remove_container(one.container, deadline, force=True)
                removed.append(one.container)
            if one.volume:
                client.remove_volume(one.volume, deadline)
                removed.append(one.volume)
        except BuildcacheError as problem:
            if not (isinstance(problem, EngineError) and problem.status == _GONE):
                errors.append(str(problem))
    claimed = sum(planned.sizes[name] for name in removed)
    return replace(planned, ids=tuple(removed), bytes=claimed, error=" ".join(errors) or None, left=tuple(left))
