# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acting: carries a plan out against an engine, step by step, and keeps what was done whatever happens next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._boltdb import Unreadable
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BuildcacheError,
    DeadlineReached,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import filesystems, settled_filesystems
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe, records_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import (
    FIELDS,
    Planned,
    plan,
    planned_images,
    planned_records,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import Observation, freed_bytes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._stores import with_store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import go_duration

_TAKEN = (404, 409)
"""The engine's refusals for a tag that is gone, or that a container has come to use, since it was seen."""


@dataclass(frozen=True)
class Done:
    """What one step did: the ids that went, the bytes that the engine claims for them, and how it failed if it did."""

    planned: Planned
    ids: tuple[str, ...] = ()
    bytes: int = 0
    error: str | None = None

    @property
    def step(self):
        """The name of the step."""
        return self.planned.step


@dataclass(frozen=True)
class Decided:
    """The steps to take, the Observations before and after them, and "" or why the plan is not exact."""

    steps: tuple[Planned, ...]
    before: Observation
    left: Observation
    doubt: str = ""


def decide(wanted, before):
    """Return the Decided of an Observation. Where anything is to be removed, its Store is read to have it exact."""
    steps, left = plan(wanted, before)
    if not any(step.ids for step in steps):
        return Decided(steps, before, left)
    try:
        before = with_store(before)
    except Unreadable as problem:
        doubt = (
            f"{problem} So the plan may miss records that the removal of images sets free, and its bytes are the "
            "engine's own. Run the task on the engine's host with become: true to have both exact."
        )
        return Decided(steps, before, left, doubt)
    steps, left = plan(wanted, before)
    return Decided(steps, before, left)


def carry_out(wanted, client, decided, deadline):
    """Prune as ``wanted``, step by step, and return the tuple of Done and the Observation afterwards.

    A step that has nothing to remove makes no request. A step that fails does not stop the later ones. They are
    planned anew then, from what it left; and so are those after any step where the plan is not exact.
    """
    done, seen = [], decided.before
    for number, (planned, act) in enumerate(zip(decided.steps, _ACTS)):
        stale = any(one.error or (decided.doubt and one.ids) for one in done)
        step = plan(wanted, seen)[0][number] if stale else planned
        if step.ids:
            step_done, seen = do(step, act(step, wanted, client, seen, deadline), seen, lambda: observe(client))
        else:
            step_done = Done(planned)
        done.append(step_done)
    return tuple(done), seen


def do(step, removals, seen, look):
    """Do a Planned step and return its Done and the Observation afterwards.

    ``removals`` yields the ids and the claimed bytes of what went, ``look()`` returns a new Observation. An error ends
    the step, and what it has removed by then is kept.
    """
    ids, reported, error, cut_off = [], 0, None, False
    try:
        for removed, claimed in removals:
            ids += removed
            reported += claimed
    except DeadlineReached as problem:
        error, cut_off = str(problem), problem.cut_off
    except BuildcacheError as problem:
        error = str(problem)
    try:
        after = look()
    except BuildcacheError:
        # Who no longer answers has given an error already, which says why.
        after = seen
    if cut_off:
        ids = _gone(step.step, seen, after)
    return Done(step, tuple(ids), reported, error), after


def pretend(decided):
    """Return what carry_out would, by the plan alone, without asking the engine for anything."""
    done = tuple(Done(planned) for planned in decided.steps)
    return done, replace(decided.left, filesystems=decided.before.filesystems)


def settled(before, after, done):
    """Return an Observation with the file systems as they are once the engine has really let go of what was removed."""
    paths = before.engine.data_dirs
    if not any(one.ids for one in done):
        return replace(after, filesystems=filesystems(paths))
    claimed = sum(one.bytes for one in done)
    enough = settled_filesystems(paths, lambda now: (freed_bytes(before.filesystems, now) or 0) >= claimed)
    return replace(after, filesystems=enough)


def _gone(step, before, after):
    """Return the ids of what a step removed before its request was cut off, for want of the engine's answer."""
    left = {one.id for one in getattr(after, FIELDS[step])}
    return [one.id for one in getattr(before, FIELDS[step]) if one.id not in left]


def _prune_containers(step, wanted, client, seen, deadline):
    answer = client.prune_containers(deadline)
    yield answer.get("ContainersDeleted") or [], answer.get("SpaceReclaimed") or 0


def _prune_images(step, wanted, client, seen, deadline):
    filters = {}
    if wanted.images_older_than:
        filters["until"] = [go_duration(wanted.images_older_than)]
    if wanted.labels:
        filters["label"] = list(wanted.labels)
    if wanted.labels_not:
        filters["label!"] = list(wanted.labels_not)
    planned = planned_images(wanted, seen)
    if any(image.untagged for image in planned):
        answer = client.prune_untagged_images(filters, deadline)
        yield _deleted(answer.get("ImagesDeleted"), seen), answer.get("SpaceReclaimed") or 0
    # Not by the engine's own prune of unused images: that takes tags off images in use too, all but one of them.
    for tag in (tag for image in planned for tag in image.tags):
        try:
            # The engine does not say how many bytes this is.
            yield _deleted(client.remove_tag(tag, deadline), seen), 0
        except EngineError as error:
            if error.status not in _TAKEN:
                raise


def _deleted(entries, seen):
    """Return the ids of images among what the engine deleted: it names layers and manifests as well."""
    deleted = {entry.get("Deleted") for entry in entries or []}
    return [image.id for image in seen.images if image.id in deleted]


def _prune_build_cache(step, wanted, client, seen, deadline):
    return prune_records(step.rules, seen, client, lambda: records_of(client.disk_usage()), deadline)


def prune_records(rules, seen, client, look, deadline):
    """Yield the ids and the claimed bytes of what goes, until nothing more does: a record may lose its last child only
    when a later rule is asked for. ``look()`` returns the Records that are left."""
    records, tried = seen.records, None
    while True:
        expected = planned_records(rules, replace(seen, records=records)).records
        if not expected or expected == tried:
            return
        for rule in rules:
            answer = client.prune_build_cache(rule, deadline)
            yield answer.get("CachesDeleted") or [], answer.get("SpaceReclaimed") or 0
        tried, records = expected, look()


_ACTS = (_prune_containers, _prune_images, _prune_build_cache)
"""What carries out each step, in the order of the plan."""
