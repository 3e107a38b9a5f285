# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules return, made from what was seen and done. Pure."""

from __future__ import annotations

from .._base.records import (
    BUILD_CACHE,
    EMBEDDED,
    IMAGES,
    STOPPED,
    filesystem_facts,
    freed_bytes,
)
from .._base.units import SECOND
from .._cache.kept import as_decided, kept, kept_by_builders, kept_orphans
from .._cache.patterns import unmatched
from .marks import NOTABLE_BYTES, NOTABLE_SHARE, is_short, mark_result


def prune_result(wanted, before, done, after, check_mode, with_diff, builders=(), orphans=()):
    """Return the result of buildcache_prune as its RETURN describes it.

    ``before`` and ``after`` are Observations, ``done`` is a tuple of what each step did, ``builders`` has the Pruned of
    each other builder and ``orphans`` the Orphans, if those were to go. Totals are those of the engine's own disks.
    """
    here = all_here(done, builders, orphans)
    gone = [one.planned.ids if check_mode else one.ids for one in (*here, *(one.done for one in builders))]
    freed = freed_bytes(before.filesystems, after.filesystems)
    shortfalls = _shortfalls(before, done, here, freed, check_mode)
    marks = mark_result(wanted, before, here, after, check_mode) if wanted.marks else {}
    enough = bool(marks) and not is_short(marks)
    held = kept(wanted, as_decided(before, after), shortfalls, enough) + kept_by_builders(wanted, builders, enough)
    held += kept_orphans(left for one in orphans for left in one.left)
    result = {
        "changed": any(gone),
        "steps": [*(_step(one, before) for one in done), *map(_builder_step, builders), *map(_step, orphans)],
        "predicted_bytes": sum(one.planned.bytes for one in here),
        "reported_bytes": sum(one.bytes for one in here),
        "freed_bytes": freed,
        **marks,
        "kept": [_without_nulls(one._asdict()) for one in sorted(held, key=lambda one: (-one.bytes, one.reason))],
        "filesystems": {
            "before": [filesystem_facts(one) for one in before.filesystems],
            "after": [filesystem_facts(one) for one in after.filesystems],
        },
    }
    if with_diff:
        # Imported here: few runs show one, and loading takes time on every host.
        from .diff import objects, prune_diff

        steps = [(f"{one.step}{_of_stage(one)}", one, before) for one in done]
        asked = [one for one in builders if one.chosen.before]
        steps += [(f"{one.done.step} of {one.node.label}", one.done, one.chosen.before) for one in asked]
        steps += [(one.step, one, None) for one in orphans]
        result["diff"] = prune_diff(
            (title, objects(one, seen), one.planned.ids if check_mode else one.ids) for title, one, seen in steps
        )
    return result


def all_here(done, builders, orphans):
    """Return the Done of all that was removed from the engine's own disks."""
    return [*done, *(one.done for one in builders if one.chosen.here), *orphans]


def _without_nulls(entry):
    return {name: value for name, value in entry.items() if value is not None}


def _shortfalls(before, done, here, freed, check_mode):
    """Return the bytes that a prune claims or plans and the disk does not gain: {reason: (objects, bytes)}.

    By the plan that is what images still hold of the records' layers. Where that was not exact, it is what the engine
    claims beyond what the file system shows; and what was planned beyond that is a shortfall in any case. ``here`` has
    all that went from these file systems.
    """
    caches = [one for one in done if one.step == BUILD_CACHE]
    removed = {name for one in caches for name in (one.planned.ids if check_mode else one.ids)}
    gain, expected = sum(one.planned.bytes for one in caches), {name for one in caches for name in one.planned.ids}
    sizes = sum(record.size for record in before.records if record.id in removed)
    found = {"layers_held_by_images": (len(removed), sizes - gain, sizes)}
    if not check_mode and freed is not None:
        claimed, planned = sum(one.bytes for one in here), sum(one.planned.bytes for one in here)
        if before.store is None or removed != expected:
            found["layers_held_by_images"] = (len(removed), claimed - max(freed, planned), claimed)
        found["disk_gained_less"] = (sum(len(one.ids) for one in here), planned - freed, planned)
    return {
        reason: (count, held)
        for reason, (count, held, of) in found.items()
        if count and held > max(NOTABLE_SHARE * of, NOTABLE_BYTES)
    }


def failures(done, builders=(), orphans=(), named=()):
    """Return the message for the steps that failed, "" where none did.

    That a builder could not be asked fails a run only where it is ``named``: of all of them some may be out of reach.
    """
    failed = [(one.step, one.error) for one in (*done, *orphans) if one.error]
    failed += [
        (f"{one.done.step} of {one.node.label}", one.done.error)
        for one in builders
        if one.done.error and (one.chosen.before or one.node.builder in named)
    ]
    return " ".join(f"{step}: {error}" for step, error in failed)


def warnings(builders, named=()):
    """Return what there is to say of builders that were passed over, as sentences."""
    for one in builders:
        if one.done.error and not one.chosen.before and one.node.builder not in named:
            yield one.done.error
        if one.chosen.skipped and one.node.status == STOPPED:
            yield f"Builder {one.node.label} was not pruned. {one.chosen.skipped}"


def unmatched_names(wanted, images):
    """Yield what there is to say of patterns that match no image, as sentences."""
    for option in ("images_remove", "images_keep"):
        given = [pattern for one in (wanted, *wanted.stages) for pattern in getattr(one, option)]
        words = unmatched(dict.fromkeys(given), images)
        if words:
            yield f"{option}: no image matches {', '.join(map(repr, words))}."


def _step(done, before=None):
    step = {
        "step": done.step,
        **({"stage": done.planned.stage} if done.planned.stage else {}),
        "planned": {"count": len(done.planned.ids), "bytes": done.planned.bytes, "ids": list(done.planned.ids)},
        "removed": {"count": len(done.ids), "bytes": done.bytes, "ids": list(done.ids)},
    }
    if done.step == BUILD_CACHE:
        step["builder"] = EMBEDDED
        step["planned"]["uncertain"] = list(done.planned.uncertain)
    if done.step == IMAGES and before and before.uses is not None:
        uses = ((name, before.uses.get(name)) for name in done.planned.ids)
        step["planned"]["last_used"] = {name: {"at": use.at / SECOND, "by": use.by} for name, use in uses if use}
    if done.error:
        step["error"] = done.error
    return step


def _of_stage(done):
    return f", stage {done.planned.stage}" if done.planned.stage else ""


def _builder_step(pruned):
    step = dict(_step(pruned.done), builder=pruned.node.builder, node=pruned.node.name, status=pruned.node.status)
    return dict(step, skipped=pruned.chosen.skipped) if pruned.chosen.skipped else step
