# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules return, made from what was seen and done. Pure."""

from __future__ import annotations

from dataclasses import asdict

from ansible_collections.buildfleet.buildcache.plugins.module_utils._diff import prune_diff
from ansible_collections.buildfleet.buildcache.plugins.module_utils._kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import BUILD_CACHE
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import filesystem_facts, freed_bytes

NOTABLE_SHARE, NOTABLE_BYTES = 0.05, 2**20
"""The share of the reported bytes, and the bytes, from which on a shortfall is explained: below, it may be noise."""


def prune_result(wanted, before, done, after, check_mode, with_diff):
    """Return the result of buildcache_prune as its RETURN describes it.

    ``before`` and ``after`` are Observations, ``done`` is a tuple of what each step did.
    """
    ids_by_step = {one.step: one.planned.ids if check_mode else one.ids for one in done}
    freed = freed_bytes(before.filesystems, after.filesystems)
    result = {
        "changed": any(ids_by_step.values()),
        "steps": [_step(one) for one in done],
        "predicted_bytes": sum(one.planned.bytes for one in done),
        "reported_bytes": sum(one.bytes for one in done),
        "freed_bytes": freed,
        "kept": [asdict(one) for one in kept(wanted, after, _shortfalls(before, done, freed, check_mode))],
        "filesystems": {
            "before": [filesystem_facts(one) for one in before.filesystems],
            "after": [filesystem_facts(one) for one in after.filesystems],
        },
    }
    if with_diff:
        result["diff"] = prune_diff(before, ids_by_step)
    return result


def _shortfalls(before, done, freed, check_mode):
    """Return the bytes that a prune claims or plans and the disk does not gain: {reason: (objects, bytes)}.

    In check mode that is what images will still hold of the records' layers. Afterwards it is what the engine claims,
    and what was planned, beyond what the file system shows.
    """
    *_others, cache = done
    removed = set(cache.planned.ids if check_mode else cache.ids)
    if check_mode or freed is None:
        sizes = sum(record.size for record in before.records if record.id in removed)
        found = {"layers_held_by_images": (len(removed), sizes - cache.planned.bytes, sizes)}
    else:
        claimed, planned = sum(one.bytes for one in done), sum(one.planned.bytes for one in done)
        count = sum(len(one.ids) for one in done)
        found = {
            "layers_held_by_images": (len(removed), claimed - max(freed, planned), claimed),
            "disk_gained_less": (count, planned - freed, planned),
        }
    return {
        reason: (count, held)
        for reason, (count, held, of) in found.items()
        if count and held > max(NOTABLE_SHARE * of, NOTABLE_BYTES)
    }


def failures(done):
    """Return the message for the steps that failed, "" where none did."""
    return " ".join(f"{one.step}: {one.error}" for one in done if one.error)


def _step(done):
    step = {
        "step": done.step,
        "planned": {"count": len(done.planned.ids), "bytes": done.planned.bytes, "ids": list(done.planned.ids)},
        "removed": {"count": len(done.ids), "bytes": done.bytes, "ids": list(done.ids)},
    }
    if done.step == BUILD_CACHE:
        step["builder"] = "default"
        step["planned"]["uncertain"] = list(done.planned.uncertain)
    if done.error:
        step["error"] = done.error
    return step
