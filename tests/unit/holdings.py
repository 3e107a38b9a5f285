# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Short ways to say what a host holds, for tests of the pure rooms."""

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    Container,
    Engine,
    Filesystem,
    Image,
    Observation,
    Record,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_timestamp

NOW = parse_timestamp("2026-01-10T12:00:00Z")
DAY = 86400

NO_OPTIONS = {
    "containers": "keep",
    "containers_older_than": None,
    "containers_filters": None,
    "images": "dangling",
    "images_older_than": None,
    "images_unused_for": None,
    "protect_for": "0s",
    "images_filters": None,
    "images_remove": None,
    "images_keep": None,
    "images_keep_last": None,
    "build_cache": True,
    "builders": ["default"],
    "orphans_older_than": "24h",
    "all": False,
    "unused_for": None,
    "types": None,
    "filters": None,
    "reserved_space": None,
    "max_used_space": None,
    "min_free_space": None,
    "high_watermark": None,
    "low_watermark": None,
    "high_inodes": None,
    "low_inodes": None,
    "stages": None,
}


def options(**given):
    """The options of buildcache_prune, with their defaults."""
    return dict(NO_OPTIONS, **given)


def record(name, size=100, used="2026-01-10T11:00:00Z", **given):
    """A regular, private record, last used an hour ago unless said otherwise."""
    return Record(
        **dict(
            {
                "id": name,
                "type": "regular",
                "size": size,
                "shared": False,
                "in_use": False,
                "last_used_at": used,
                "usage_count": 1,
            },
            **given,
        )
    )


def image(name, tags=(), size=1000, unique=100, age_days=1, labels=None, **given):
    """An image made some days ago."""
    created = given.pop("created", NOW // SECOND - age_days * DAY)
    return Image(name, tuple(tags), size, unique, created, labels or {}, **given)


def container(name, image_id, running=False, size=0, **given):
    """A container made from an image."""
    return Container(name, image_id, image_id, running, size, **given)


def filesystem(total=1000, free=500):
    """A file system, with a tenth of its size reserved for root."""
    return Filesystem("/var/lib/docker", 1, total, free, max(free - total // 10, 0), 1000, 900)


def observation(records=(), images=(), containers=(), filesystems=None, version="28.5.2"):
    """An Observation of a host that holds these things, on one half-full file system unless said otherwise."""
    disks = (filesystem(),) if filesystems is None else tuple(filesystems)
    engine = Engine(version, "1.51", "graphdriver", "overlay2", "/var/lib/docker", ("/var/lib/docker",), False, NOW)
    return Observation(engine, tuple(records), tuple(images), tuple(containers), 0, disks)
