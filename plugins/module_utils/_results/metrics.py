# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metrics of a host, from its facts and the result of its cleanup. Pure."""

from __future__ import annotations

from .._base.records import EMBEDDED
from .exposition import exposition, values

OTHERS = "(others)"
"""The label of all builders without one of their own: CI jobs make builders with random names, without end."""

FAMILIES = {
    "buildcache_engine_info": "The engine, by labels. Always 1.",
    "buildcache_filesystem_size_bytes": "Size of a file system with data of the engine.",
    "buildcache_filesystem_available_bytes": "Free bytes of it, without those reserved for root.",
    "buildcache_filesystem_inodes": "Number of its inodes; missing where it has no fixed number.",
    "buildcache_filesystem_available_inodes": "Number of its free inodes.",
    "buildcache_images": "Number of images.",
    "buildcache_images_untagged": "Number of images without a tag.",
    "buildcache_images_in_use": "Number of images that a container was made from.",
    "buildcache_images_size_bytes": "Size of all layers of images, each counted once.",
    "buildcache_images_reclaimable_bytes": "Size of the layers that belong to a single image, and that one unused.",
    "buildcache_build_cache_records": "Number of build-cache records.",
    "buildcache_build_cache_size_bytes": "Size of all build-cache records.",
    "buildcache_build_cache_shared_bytes": "Size of the records whose layers are an image's too.",
    "buildcache_build_cache_private_bytes": "Size of the records whose layers are no image's.",
    "buildcache_build_cache_in_use_bytes": "Size of the records in use, shared or private.",
    "buildcache_build_cache_reclaimable_bytes": "Size of the records that are neither in use nor shared.",
    "buildcache_builders_unread": "Number of builders whose build cache is not known, as they do not run or answer.",
    "buildcache_gc_restart_required": "Whether dockerd has to be restarted to obey the GC policy in its file.",
    "buildcache_gc_policy_in_force": "Whether the GC policy that is wanted is in the file and obeyed.",
    "buildcache_findings": "Number of findings.",
    "buildcache_findings_bytes": "Bytes that findings concern.",
    "buildcache_facts_success": "Whether the host could be looked at by the last run.",
    "buildcache_facts_last_success_timestamp_seconds": "When the host was last looked at, which its figures are of.",
    "buildcache_cleanup_success": "Whether the last cleanup succeeded.",
    "buildcache_cleanup_last_run_timestamp_seconds": "When the last cleanup ended.",
    "buildcache_cleanup_last_success_timestamp_seconds": "When the last cleanup that succeeded ended.",
    "buildcache_cleanup_freed_bytes": "What the file system gained by the last cleanup.",
    "buildcache_cleanup_predicted_bytes": "What it was to gain by the plan of the last cleanup.",
    "buildcache_cleanup_reported_bytes": "What the engine claims to have freed in the last cleanup.",
    "buildcache_cleanup_wanted_bytes": "What was missing to the low mark before the last cleanup.",
    "buildcache_cleanup_shortfall_bytes": "What was missing to the low mark after the last cleanup.",
    "buildcache_cleanup_wanted_inodes": "Inodes that were missing to the low mark before the last cleanup.",
    "buildcache_cleanup_shortfall_inodes": "Inodes that were missing to the low mark after the last cleanup.",
}
"""The metrics by name, each with its help; all are gauges. A label takes few values, whatever a host holds."""

_CLEANUP = "buildcache_cleanup_"
_LAST_CLEANUP = f"{_CLEANUP}last_success_timestamp_seconds"
_LAST_LOOK = "buildcache_facts_last_success_timestamp_seconds"
_OF_A_CLEANUP = (
    "freed_bytes", "predicted_bytes", "reported_bytes", "wanted_bytes", "shortfall_bytes", "wanted_inodes",
    "shortfall_inodes",
)  # fmt: skip
_OF_A_BUILDER = ("size_bytes", "shared_bytes", "in_use_bytes", "reclaimable_bytes")


def metrics_text(facts, cleanup, now, previous="", builders=(EMBEDDED,), in_force=None):
    """Return the text of the file of a host.

    ``facts`` are the buildcache facts, empty where they could not be had. ``cleanup`` is the result of
    buildcache_prune, empty where no cleanup ran: then the last one is told as ``previous`` has it, the text of the file
    of before, from which the last success comes in any case. ``now`` is in seconds since the epoch. ``builders`` names
    those that have a label of their own; the others are one sum. ``in_force`` says whether a wanted GC policy is, None
    for not known.
    """
    before = values(previous)
    samples = {**_of_host(facts), **_of_builders(facts, builders), **_of_findings(facts.get("findings") or ())}
    plain = {
        "buildcache_gc_policy_in_force": in_force if facts else None,
        "buildcache_facts_success": bool(facts),
        _LAST_LOOK: int(now) if facts else before.get(_LAST_LOOK),
        **_of_cleanup(cleanup, now, before),
    }
    samples.update((name, [({}, value)]) for name, value in plain.items())
    return exposition((name, about, samples.get(name, ())) for name, about in FAMILIES.items())


def succeeded(cleanup):
    """Return whether the result of buildcache_prune is that of a cleanup that did all it was to do."""
    return "steps" in cleanup and not cleanup.get("failed") and not cleanup.get("unreachable")


def _of_cleanup(cleanup, now, before):
    """Return {name: value} of the last cleanup."""
    if not cleanup or cleanup.get("skipped"):
        return {name: value for name, value in before.items() if name in FAMILIES and name.startswith(_CLEANUP)}
    success = succeeded(cleanup)
    return {
        f"{_CLEANUP}success": success,
        f"{_CLEANUP}last_run_timestamp_seconds": int(now),
        _LAST_CLEANUP: int(now) if success else before.get(_LAST_CLEANUP),
        **{f"{_CLEANUP}{name}": cleanup.get(name) for name in _OF_A_CLEANUP},
    }


def _of_host(facts):
    """Return {name: samples} of the engine, its file systems, images and policy."""
    engine, images = facts.get("engine") or {}, facts.get("images") or {}
    about = {name: engine[name] for name in ("version", "image_store", "storage_driver") if engine.get(name)}
    found = {
        "buildcache_engine_info": [(about, 1)] if about else [],
        "buildcache_images": [({}, images.get("count"))],
        "buildcache_images_untagged": [({}, images.get("untagged"))],
        "buildcache_images_in_use": [({}, images.get("in_use"))],
        "buildcache_images_size_bytes": [({}, images.get("size_bytes"))],
        "buildcache_images_reclaimable_bytes": [({}, images.get("reclaimable_bytes"))],
        "buildcache_gc_restart_required": [({}, (facts.get("gc_policy") or {}).get("restart_required"))],
    }
    for disk in facts.get("filesystems") or ():
        inodes = disk.get("inodes_total") or None
        told = {
            "size_bytes": disk.get("total_bytes"),
            "available_bytes": disk.get("available_bytes"),
            "inodes": inodes,
            "available_inodes": disk.get("inodes_available") if inodes else None,
        }
        for name, value in told.items():
            found.setdefault(f"buildcache_filesystem_{name}", []).append(({"path": disk["path"]}, value))
    return found


def _of_builders(facts, named):
    """Return {name: samples} of the build cache; the nodes of a builder, and all that have no label, are summed."""
    sums = {}
    for builder in facts.get("builders") or ():
        label = builder["name"] if builder["name"] in named else OTHERS
        total = sums.setdefault(label, {"buildcache_builders_unread": 0})
        if builder.get("record_count") is None:
            total["buildcache_builders_unread"] += 1
            continue
        told = {name: builder[name] for name in _OF_A_BUILDER}
        told.update(records=builder["record_count"], private_bytes=builder["size_bytes"] - builder["shared_bytes"])
        for name, value in told.items():
            name = f"buildcache_build_cache_{name}"
            total[name] = total.get(name, 0) + value
    return _by_label(sums, lambda builder: {"builder": builder})


def _of_findings(findings):
    """Return {name: samples} of the findings, those of one code summed."""
    sums = {}
    for one in findings:
        total = sums.setdefault((one["code"], one["severity"]), dict.fromkeys(_FINDINGS, 0))
        total["buildcache_findings"] += 1
        total["buildcache_findings_bytes"] += one.get("bytes") or 0
    return _by_label(sums, lambda key: {"code": key[0], "severity": key[1]})


_FINDINGS = ("buildcache_findings", "buildcache_findings_bytes")


def _by_label(sums, labels):
    """Return {name: samples} of {key: {name: value}}."""
    found = {}
    for key, total in sums.items():
        for name, value in total.items():
            found.setdefault(name, []).append((labels(key), value))
    return found
