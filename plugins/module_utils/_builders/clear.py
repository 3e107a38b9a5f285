# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing what is left of builders that nobody has any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from .._base.errors import BuildcacheError, EngineError
from .._cache.steps import Planned
from .._engine.prune import Done
from .orphans import find_orphans, looked_at

ORPHANED_STATE = "orphaned_state"
"""The step that removes what is left of builders that are gone."""

_GONE = 404


@dataclass(frozen=True)
class Orphans(Done):
    """What was done to what is left of builders that are gone: the Orphans ``going`` and those ``left``, and for how
    many nanoseconds one that goes has been idle."""

    going: tuple = ()
    left: tuple = ()
    unused_for: int = 0

    @property
    def sizes(self):
        """The bytes of each thing that is to go, by name: containers, whose bytes are in their volumes, and volumes."""
        things = [one for orphan in self.going for one in ((orphan.container, 0), (orphan.volume, orphan.bytes))]
        return {name: size for name, size in things if name}


def plan_orphans(options, client, unused_for):
    """Return the Orphans, with those to go that have been idle for so many nanoseconds."""
    found, now = find_orphans(options, client, client.volumes()), time.time_ns()
    going = tuple(one for one in found if one.may_go(now, unused_for))
    left = tuple(one for one in found if one not in going)
    orphans = Orphans(planned=Planned(ORPHANED_STATE, (), 0), going=going, left=left, unused_for=unused_for)
    sizes = orphans.sizes
    return replace(orphans, planned=Planned(ORPHANED_STATE, tuple(sizes), sum(sizes.values())))


def remove_orphans(options, client, orphans, deadline):
    """Remove what is to go, and return the Orphans with what went; one that has come to be used meanwhile stays."""
    removed, errors, left, sizes = [], [], list(orphans.left), orphans.sizes
    for one in orphans.going:
        try:
            now = looked_at(one, options, client) if one.container else one
            if not now.may_go(time.time_ns(), orphans.unused_for):
                left.append(now)
                continue
            if one.container:
                client.remove_container(one.container, deadline, force=True)
                removed.append(one.container)
            if one.volume:
                client.remove_volume(one.volume, deadline)
                removed.append(one.volume)
        except BuildcacheError as problem:
            if not (isinstance(problem, EngineError) and problem.status == _GONE):
                errors.append(str(problem))
    claimed = sum(sizes[name] for name in removed)
    return replace(orphans, ids=tuple(removed), bytes=claimed, error=" ".join(errors) or None, left=tuple(left))
