# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit log tells of a prune: each object that went, and which options chose it. Pure."""

from __future__ import annotations

from .._base.records import BUILD_CACHE, EMBEDDED, IMAGES
from .._cache.choose import is_selected
from .._cache.patterns import is_named, is_wholly_named
from .._cache.steps import CONTAINERS, FIELDS
from .audit import REMOVED, iso_time

LONGEST_TEXT = 200
"""How many characters of a record's description are told."""

_OPTIONS = {
    CONTAINERS: ("containers", "containers_older_than", "containers_filters"),
    IMAGES: ("images", "images_older_than", "images_unused_for", "images_filters"),
    BUILD_CACHE: (
        *("build_cache", "all", "unused_for", "types", "filters"),
        *("reserved_space", "max_used_space", "min_free_space"),
    ),
}
"""The options that choose what each step removes."""

_OF_ORPHANS = ("remove_orphaned_state", "orphans_older_than")
_MARKS = ("high_watermark", "low_watermark", "high_inodes", "low_inodes")


def removed_by_prune(options, wanted, before, done, builders, orphans, now):
    """Yield the entries of all that a prune has removed, in the order in which it did.

    ``options`` are the module's, ``wanted`` what they ask for, ``before`` the Observation at the start, ``done`` the
    Dones of the engine's own steps, ``builders`` the Pruned of each other builder, ``orphans`` the Orphans, and ``now``
    the time, in nanoseconds since the epoch, of what has none of its own.
    """
    for one in done:
        things = {thing.id: thing for thing in getattr(before, FIELDS[one.step])}
        why = _why(one, options)
        for name in one.ids:
            about = _about(one.step, things.get(name), why, one.planned.stage, wanted, before)
            yield {**_entry(one, name, now, EMBEDDED if one.step == BUILD_CACHE else None), **about}
    for one in builders:
        records = {record.id: record for record in one.chosen.before.records} if one.chosen.before else {}
        why = _why(one.done, options)
        for name in one.done.ids:
            about = _of_record(records.get(name), why)
            yield {**_entry(one.done, name, now, one.node.builder), "node": one.node.name, **about}
    for one in orphans:
        why = {name: options[name] for name in _OF_ORPHANS}
        for name in one.ids:
            yield {**_entry(one, name, now), "bytes": one.sizes.get(name), "why": why}


def _entry(done, name, now, builder=None):
    entry = {"time": iso_time(done.at or now), "event": REMOVED, "kind": done.step, "id": name}
    return {**entry, "builder": builder} if builder else entry


def _why(done, options):
    """Return the options by which a step chose what went, as they were given, and the number of its stage."""
    stage, stages = done.planned.stage, options["stages"]
    given, names = options, _OPTIONS[done.step]
    if stage:
        given = {**options, **{name: value for name, value in stages[stage - 1].items() if value is not None}}
    elif stages:
        # Another builder's step is that of all stages.
        names = names[:1]
    why = {name: given[name] for name in (*names, *_MARKS) if given[name] not in (None, False)}
    return {**why, "stage": stage} if stage else why


def _about(step, thing, why, stage, wanted, before):
    if step == BUILD_CACHE:
        return _of_record(thing, why)
    if thing is None:
        return {"bytes": None, "why": why}
    if step == CONTAINERS:
        return {"name": thing.name, "image": thing.image, "bytes": thing.size, "why": why}
    why = _of_image(thing, why, wanted.stages[stage - 1] if stage else wanted, before)
    return {"tags": list(thing.references), "bytes": thing.unique_size, "why": why}


def _of_record(record, why):
    if record is None:
        return {"bytes": None, "why": why}
    text = record.description
    cut = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    return {"type": record.type, "description": cut, "bytes": record.size, "why": why}


def _of_image(image, why, wanted, before):
    """Return why an image went: by its names, by what the options choose, or as the parent of others that did."""
    common = {name: value for name, value in why.items() if name not in _OPTIONS[IMAGES]}
    if wanted.images_remove and is_wholly_named(image, wanted.images_remove):
        texts = [one.text for one in wanted.images_remove if is_named(image, [one])]
        return {"images_remove": texts, **common}
    if not is_selected(image, wanted, before):
        return {"with_children": True, **common}
    use = (before.uses or {}).get(image.id)
    return {**why, "last_used": iso_time(use.at), "last_used_by": use.by} if use else why
