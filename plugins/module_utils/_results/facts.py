# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts about a host, as buildcache_facts returns them. Pure."""

from __future__ import annotations

from .._base.json_text import GC_PATH, value_at
from .._base.records import (
    BUILD_CACHE,
    EMBEDDED,
    IMAGE_SIZES,
    IMAGES,
    RUNNING,
    Builders,
    filesystem_facts,
)
from .._base.units import SECOND
from .._cache.findings import findings
from .._policy.in_effect import digest, gc_status, reported_policy
from .._policy.policy import terms


def facts(
    observation, daemon, builders=None, with_records=False, obstacles=(), disks=(), more=(), listed=None, last=None
):
    """Return the dict described in the RETURN of buildcache_facts, for an Observation, a Daemon, the Builders, the
    Obstacles of a restart, the disks as disk.told() has them, more Findings, where all images are to be told what
    images.image_facts() says of each, and what the last cleanup came to (_engine/last_cleanup.py)."""
    engine, builders = observation.engine, builders or Builders()
    status = gc_status(daemon, engine.version)
    return {
        "engine": {
            "version": engine.version,
            "api_version": engine.api_version,
            "image_store": engine.image_store,
            "storage_driver": engine.storage_driver,
            "root_dir": engine.root_dir,
            "live_restore": engine.live_restore,
            "started_at": daemon.started_at,
            "observed_at": engine.now / SECOND,
        },
        "filesystems": [filesystem_facts(filesystem) for filesystem in observation.filesystems],
        "disks": list(disks),
        "images": _images(observation, listed),
        "builders": [
            *([_embedded(observation, status, with_records)] if builders.embedded else []),
            *(_builder(seen, with_records) for seen in builders.others),
        ],
        "orphans": [dict(one._asdict(), used_at=one.used_at and one.used_at / SECOND) for one in builders.orphans],
        "gc_policy": _gc_policy(status, daemon),
        "last_cleanup": last,
        "findings": [
            finding._asdict() for finding in findings(observation, status, daemon.problem, builders, obstacles, more)
        ],
    }


def _gc_policy(status, daemon):
    obeyed = status.in_effect
    section = value_at(daemon.config or {}, GC_PATH)
    return {
        "in_file": terms(status.in_file) if status.in_file else None,
        "in_effect": terms(obeyed.policy) if obeyed.policy else None,
        "in_effect_source": obeyed.source,
        "restart_required": obeyed.restart_required,
        "digest": digest(status.in_file),
        "file_keys": sorted(key.lower() for key in section) if isinstance(section, dict) else [],
    }


def _images(observation, listed):
    images, used, unread = observation.images, observation.used_image_ids, dict(observation.unread)
    if IMAGES in unread:
        return dict.fromkeys(("count", "untagged", "in_use", "size_bytes", "reclaimable_bytes"))
    return {
        "count": len(images),
        "untagged": sum(image.untagged for image in images),
        "in_use": sum(image.id in used for image in images),
        "size_bytes": None if IMAGE_SIZES in unread else observation.layers_size,
        "reclaimable_bytes": sum(image.unique_size for image in images if image.id not in used),
        **({} if listed is None else {"list": listed}),
    }


def _embedded(observation, status, with_records):
    why = dict(observation.unread).get(BUILD_CACHE)
    held = _NOTHING_KNOWN if why else _held(observation.records, with_records)
    return _entry(EMBEDDED, held, status.in_effect.policy, error=why)


def _builder(seen, with_records):
    node = seen.node
    held = _held(seen.observation.records, with_records) if seen.observation else _NOTHING_KNOWN
    about = {"driver": node.driver, "node": node.name, "endpoint": node.endpoint, "status": node.status}
    about.update(version=node.version, state_bytes=seen.state_bytes, error=seen.error)
    return _entry(node.builder, held, reported_policy(node.reported), **about)


def _entry(name, held, policy, **about):
    """Return what is told of a builder; ``about`` is what differs from the engine's own."""
    return {
        "name": name,
        "driver": "docker",
        "node": EMBEDDED,
        "endpoint": EMBEDDED,
        "status": RUNNING,
        "version": None,
        **held,
        "state_bytes": None,
        "gc_policy": terms(policy) if policy else None,
        "error": None,
        **about,
    }


def _held(records, with_records):
    by_type, shared, in_use, reclaimable = {}, 0, 0, 0
    for record in records:
        size = record.size
        group = by_type.setdefault(record.type, {"count": 0, "bytes": 0})
        group["count"] += 1
        group["bytes"] += size
        if record.shared:
            shared += size
        if record.in_use:
            in_use += size
        elif not record.shared:
            reclaimable += size
    held = {
        "record_count": len(records),
        "size_bytes": sum(group["bytes"] for group in by_type.values()),
        "shared_bytes": shared,
        "in_use_bytes": in_use,
        "reclaimable_bytes": reclaimable,
        "by_type": by_type,
    }
    if with_records:
        held["records"] = [record._asdict() for record in records]
    return held


_NOTHING_KNOWN = dict.fromkeys(
    ("record_count", "size_bytes", "shared_bytes", "in_use_bytes", "reclaimable_bytes", "by_type")
)
