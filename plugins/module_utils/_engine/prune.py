# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acting: carries a plan out against an engine, step by step, and keeps what was done whatever happens next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from .._base.errors import (
    BuildcacheError,
    EngineError,
)
from .._base.records import BUILD_CACHE, IMAGES, Image, Observation, freed_bytes
from .._cache.plan import plan
from .._cache.steps import CONTAINERS, FIELDS, Planned, planned_records
from .host import filesystems, settled_filesystems
from .observe import observe, records_now

_TAKEN = (404, 409)
"""The engine's refusals for what is gone, or has come to be used, since it was seen."""

_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
"""What engines say where they cannot write, for want of bytes or of inodes (errno(3), ENOSPC and EDQUOT)."""


@dataclass(frozen=True)
class Done:
    """What one step did: the ids that went, the bytes that the engine claims for them, how it failed if it did, and
    when that was seen, in nanoseconds since the epoch, 0 where nobody has looked."""

    planned: Planned
    ids: tuple[str, ...] = ()
    bytes: int = 0
    error: str | None = None
    at: int = 0

    @property
    def step(self):
        """The name of the step."""
        return self.planned.step

    def and_then(self, later):
        """Return what this and a later try of the step did, as one."""
        return Done(self.planned, self.ids + later.ids, self.bytes + later.bytes, later.error, later.at or self.at)


class Decided(NamedTuple):
    """The steps to take, the Observations before and after them, and "" or why the plan is not exact, or its bytes
    are not."""

    steps: tuple[Planned, ...]
    before: Observation
    left: Observation
    doubt: str = ""
    inexact: str = ""


def decide(wanted, before, client, seen=None, counted=None):
    """Return the Decided of an Observation. Where anything is to be removed, its Store is read to have it exact, and
    with it when images arrived; where there is none to be had, the EngineClient is asked for that. ``seen`` is what
    earlier runs have seen (uses.Memory), ``counted(observation)`` the Observation with its inodes, which is called
    where these are to come back, and may raise BadOption.
    """
    # Without those times, and the images that others hide, more may go: where nothing does, nothing would.
    steps, left = plan(wanted, before)
    unread, doubt = dict(before.unread), ""
    if BUILD_CACHE in unread or IMAGES in unread:
        doubt = "The engine cannot list all that it holds, so that the plan is not exact. " + " ".join(unread.values())
    if not any(step.ids for step in steps):
        return Decided(steps, before, left, doubt)
    # Imported here, as in what else a run with nothing to do can go without: loading takes time on every host.
    from .boltdb import Unreadable
    from .stores import inexact, with_store
    from .uses import with_arrivals, with_ends, with_uses

    try:
        before = before if doubt else with_store(before)
    except Unreadable as problem:
        doubt = (
            "The preview is not exact: it may miss parents of images, and records that the removal of images sets "
            f"free, and its bytes are the engine's own. {problem}"
        )
    if not before.store and wanted.by_arrival:
        candidates = [name for step in steps if step.step == IMAGES for name in step.ids]
        before = with_arrivals(before, client, candidates)
    if wanted.by_use:
        # Where containers stay, so do their images.
        before = with_ends(before, client) if wanted.widest.containers == "stopped" else before
        before = with_uses(before, seen)
    if wanted.goal and wanted.goal.need(before.filesystems[0]).inodes > 0:
        before = counted(before)
    steps, left = plan(wanted, before)
    return Decided(steps, before, left, doubt, inexact(before.engine) if before.store else "")


def carry_out(wanted, client, decided, deadline):
    """Prune as ``wanted``, step by step, and return the tuple of Done and the Observation afterwards.

    A step that has nothing to remove makes no request. A step that fails does not stop the later ones. They are
    planned anew then, from what it left; and so are those after any step where the plan is not exact. Where a step
    fails on a full disk, and something was freed, all are gone through once more.
    """
    done, seen = _go_through(decided.steps, wanted, client, decided.before, deadline, bool(decided.doubt))
    latest = done
    while any(one.error and _FULL.search(one.error) for one in latest) and any(one.ids for one in latest):
        steps = [_again(one.planned, wanted, seen) for one in done]
        latest, seen = _go_through(steps, wanted, client, seen, deadline, True)
        done = [one.and_then(later) for one, later in zip(done, latest)]
    return tuple(done), seen


def _go_through(steps, wanted, client, seen, deadline, inexact):
    """Do the steps; return the Dones and the Observation afterwards."""
    done = []

    def look():
        # Also when the deadline has come: what was removed must be seen.
        return observe(client, deadline=deadline.or_later(client.timeout))

    for planned in steps:
        stale = any(one.error or (inexact and one.ids) for one in done)
        step = _again(planned, wanted, seen) if stale else planned
        error = _unplanned(step.step, wanted, seen)
        if step.ids and not error:
            removals = _ACTS[step.step](step, _set_of(step, wanted), client, seen, deadline)
            step_done, seen = do(step, removals, seen, look)
        else:
            step_done = Done(planned, error=error)
        done.append(step_done)
    return done, seen


def _again(planned, wanted, seen):
    """Return a step as it is planned from what there is by now."""
    same = (one for one in plan(wanted, seen)[0] if (one.stage, one.step) == (planned.stage, planned.step))
    return next(same, planned._replace(ids=(), bytes=0))


def _set_of(step, wanted):
    """Return the set of options by which a step was planned."""
    return wanted.stages[step.stage - 1] if step.stage else wanted


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
    except BuildcacheError as problem:
        error, cut_off = str(problem), getattr(problem, "cut_off", False)
    try:
        after = _with_what_was_known(seen, look())
    except BuildcacheError as problem:
        # Who no longer answers has given an error already, which says why.
        after = seen
        if cut_off:
            error += f" What it had removed by then could not be seen: {problem}"
    if cut_off:
        ids += _gone(step.step, seen, after, ids)
    return Done(step, tuple(ids), reported, error, after.engine.now), after


def _with_what_was_known(before, after):
    """Return the Observation ``after`` with what is known by ``before`` alone: when images arrived and were last used,
    their parents, and the images that the engine does not list, on which one that is left was made."""
    known, seen = {image.id: image for image in before.images}, {image.id for image in after.images}
    hidden = {name: image for name, image in known.items() if image.hidden and name not in seen}
    # One that was not there has come just now.
    new = Image("", (), 0, 0, 0, arrived=after.engine.now)
    images = []
    for one in after.images:
        was = known.get(one.id, new)
        images.append(one._replace(arrived=was.arrived, parent=one.parent or was.parent))
    # Grows, as parents have parents.
    for image in images:
        images += filter(None, [hidden.pop(image.parent, None)])
    return after._replace(images=tuple(images), uses=before.uses)


def _unplanned(step, wanted, seen):
    """Return why a step cannot be done, None where it can or is not wanted."""
    of_images = wanted.widest.images != "keep" or wanted.widest.images_remove
    asked = {IMAGES: of_images, BUILD_CACHE: wanted.widest.build_cache and wanted.embedded}
    why = dict(seen.unread).get(step)
    return f"Nothing was removed, since the engine cannot list what there is. {why}" if why and asked[step] else None


def pretend(wanted, decided):
    """Return what carry_out would, by the plan alone, without asking the engine for anything."""
    done = tuple(Done(planned, error=_unplanned(planned.step, wanted, decided.before)) for planned in decided.steps)
    return done, decided.left._replace(filesystems=decided.before.filesystems)


def settled(before, after, done):
    """Return an Observation with the file systems as they are once the engine has really let go of what was removed."""
    paths = before.engine.data_dirs
    if not any(one.ids for one in done):
        return after._replace(filesystems=filesystems(paths))
    claimed = max(sum(one.bytes for one in done), sum(one.planned.bytes for one in done))
    enough = settled_filesystems(paths, lambda now: (freed_bytes(before.filesystems, now) or 0) >= claimed)
    return after._replace(filesystems=enough)


def _gone(step, before, after, known):
    """Return the ids of what a step removed before its request was cut off, beside the ``known`` ones, for want of the
    engine's answer."""
    if step in dict(before.unread + after.unread):
        return []
    kept = {one.id for one in getattr(after, FIELDS[step])}.union(known)
    return [one.id for one in getattr(before, FIELDS[step]) if one.id not in kept]


def _prune_containers(step, wanted, client, seen, deadline):
    """By the engine's own prune where all that do not run are to go: its filters know other ages. What it leaves, it
    does not say why."""
    sizes, left = {one.id: one.size for one in seen.containers}, list(step.ids)
    some = {one.id for one in seen.containers if not one.running}.difference(step.ids)
    if not (some or wanted.containers_older_than or wanted.container_labels or wanted.container_labels_not):
        answer = client.prune_containers(deadline)
        gone = answer.get("ContainersDeleted") or []
        yield gone, answer.get("SpaceReclaimed") or 0
        left = [name for name in step.ids if name not in gone]

    def remove(name):
        client.remove_container(name, deadline)
        return [([name], sizes.get(name, 0))]

    yield from _each([(name,) for name in left], remove)


def _prune_images(step, wanted, client, seen, deadline):
    """Not by the engine's own prunes: that of untagged images goes by other ages and takes digests for nothing with
    the graph driver, and that of unused images takes tags off images in use, all but one of them."""
    images, gone = {image.id: image for image in seen.images}, set()
    known = {*images, *step.ids}

    def remove(image, name):
        if image.id in gone:
            return []
        found = client.image(name)
        if not found and name != image.id:
            # An engine that cannot write that it has taken a name away has taken it, and left the image.
            name, image = image.id, image._replace(tags=(), digests=())
            found = client.image(name)
        if not _is_still(found, image):
            return []
        answer = client.remove_image(name, deadline)
        # It names layers and manifests as well, and not how many bytes this is.
        deleted = [entry["Deleted"] for entry in answer or [] if entry.get("Deleted") in known]
        gone.update(deleted)
        return [(deleted, 0)]

    # Parents that nothing names are not always seen, and mostly go with their last child.
    chosen = [images.get(name) or Image(name, (), 0, 0, 0) for name in step.ids]
    yield from _each([(image, name) for image in chosen for name in image.references or (image.id,)], remove)


def _each(things, remove):
    """Yield what ``remove(*thing)`` returns for each thing, though it fails for others; those that fail on a full disk
    are tried again as long as something goes. Raises the first of the EngineErrors that stay."""
    failed = []
    while things:
        again, went = [], False
        for thing in things:
            try:
                removed = remove(*thing)
            except EngineError as error:
                if error.status is None:
                    raise
                if _FULL.search(str(error)):
                    again.append((thing, error))
                elif error.status not in _TAKEN:
                    failed.append(error)
                continue
            went = went or any(ids for ids, _bytes in removed)
            yield from removed
        things = [thing for thing, _error in again] if went else []
        failed += [] if went else [error for _thing, error in again]
    if failed:
        raise failed[0]


def _is_still(found, image):
    """Return whether a name is still that of the Image, and one without a name still has none."""
    named = [*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())]
    return found.get("Id") == image.id and bool(image.references or not named)


def _prune_build_cache(step, wanted, client, seen, deadline):
    return prune_records(step.rules, seen, client, lambda: records_now(client, deadline), deadline)


def prune_records(rules, seen, client, look, deadline):
    """Yield the ids and the claimed bytes of what goes, until nothing more does: a record may lose its last child only
    when a later rule is asked for. ``look()`` returns the Records that are left."""
    records, tried = seen.records, None
    while True:
        expected = planned_records(rules, seen._replace(records=records))[0].records
        if not expected or expected == tried:
            return
        for rule in rules:
            answer = client.prune_build_cache(rule, deadline)
            yield answer.get("CachesDeleted") or [], answer.get("SpaceReclaimed") or 0
        tried, records = expected, look()


_ACTS = {CONTAINERS: _prune_containers, IMAGES: _prune_images, BUILD_CACHE: _prune_build_cache}
"""What carries out each step."""
