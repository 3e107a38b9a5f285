# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine holds, as values: records, images, containers, and the file systems below them. Pure.

The shapes are those of the Engine API from 1.40 to 1.55; where versions differ, the readers here make them alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

NEVER_WITHOUT_ALL = ("internal", "frontend")
"""Record types that a prune leaves alone unless `all` is set (BuildKit, cache/manager.go, pruneOnce)."""


EMBEDDED = "default"
"""The name of the builder that is embedded in the engine."""

RUNNING, STOPPED, INACTIVE, UNREACHABLE = "running", "stopped", "inactive", "unreachable"
"""What a node can be: inactive means that it has no container, or that nothing answers at its address."""

_LIMITS_KNOWN = "maxUsedSpace"
"""A key that buildx puts into every GC rule since it knows all three limits (0.18)."""


class Record(NamedTuple):
    """One build-cache entry. ``size`` in bytes; times as the engine wrote them (see _units.parse_timestamp).

    A named tuple, since there can be tens of thousands, and a frozen dataclass takes twice as long to make.
    """

    id: str
    type: str
    size: int
    shared: bool
    in_use: bool
    parents: tuple[str, ...] = ()
    usage_count: int = 0
    last_used_at: str | None = None
    created_at: str | None = None
    description: str = ""


class Builders(NamedTuple):
    """The builders of a host: whether the engine's own is asked for, what was seen of the others (_buildkit.Seen), and
    the volumes of builders that are gone as pairs of name and bytes."""

    embedded: bool = True
    others: tuple = ()
    orphans: tuple = ()


@dataclass(frozen=True)
class Image:
    """One image. ``size`` in bytes with all layers, ``unique_size`` those of layers no other image has.

    ``created`` in seconds since the epoch.
    """

    id: str
    tags: tuple[str, ...]
    size: int
    unique_size: int
    created: int
    labels: dict = field(default_factory=dict)

    @property
    def untagged(self):
        """Whether no tag names the image ("dangling" in Docker's words)."""
        return not self.tags


@dataclass(frozen=True)
class Container:
    """One container. ``image`` is the name it was created with, ``size`` the bytes of its own layer where known."""

    id: str
    image_id: str
    image: str
    running: bool
    size: int = 0


@dataclass(frozen=True)
class Filesystem:
    """One file system that holds engine data, in bytes. ``free`` counts blocks reserved for root, ``available``
    does not; BuildKit measures ``free``."""

    path: str
    device: int
    total: int
    free: int
    available: int
    inodes_total: int
    inodes_available: int


@dataclass(frozen=True)
class Engine:
    """One dockerd. ``now`` is its clock in nanoseconds since the epoch, ``started_at`` when it started by that, None
    where it cannot be known; ``data_dirs`` the directories that hold images and build cache, the one that grows first.
    """

    version: str
    api_version: str
    image_store: str
    storage_driver: str
    root_dir: str
    data_dirs: tuple[str, ...]
    live_restore: bool
    now: int
    started_at: int | None = None


@dataclass(frozen=True)
class Observation:
    """Everything that decisions are made of, as seen at one moment.

    ``store`` is the _layers.Store, where that was read (_stores.with_store).
    """

    engine: Engine
    records: tuple[Record, ...]
    images: tuple[Image, ...]
    containers: tuple[Container, ...]
    layers_size: int
    filesystems: tuple[Filesystem, ...]
    store: object = None

    @property
    def used_image_ids(self):
        """The ids of images that a container was made from, running or not."""
        return frozenset(container.image_id for container in self.containers)


def record_from_api(entry):
    """Return the Record of one BuildCache entry of /system/df.

    Parents stand in ``Parent`` up to API 1.41 and in ``" Parents"``, with a leading space, from 1.42 to at least
    1.55 (a slip in moby's struct tag, api/types/build/cache.go); the right spelling is read as well.
    """
    get = entry.get
    parents = get(" Parents") or get("Parents") or ()
    if not parents and get("Parent"):
        parents = (get("Parent"),)
    # By position, which is quicker by a quarter.
    return Record(
        entry["ID"],
        get("Type") or "regular",
        get("Size") or 0,
        bool(get("Shared")),
        bool(get("InUse")),
        tuple(parents),
        get("UsageCount") or 0,
        get("LastUsedAt"),
        get("CreatedAt"),
        get("Description") or "",
    )


def image_from_api(entry):
    """Return the Image of one Images entry of /system/df, or of /images/json asked with shared sizes."""
    tags = tuple(tag for tag in entry.get("RepoTags") or () if tag != "<none>:<none>")
    size = entry.get("Size") or 0
    return Image(
        id=entry["Id"],
        tags=tags,
        size=size,
        unique_size=size - max(entry.get("SharedSize") or 0, 0),
        created=entry.get("Created") or 0,
        labels=entry.get("Labels") or {},
    )


def container_from_api(entry):
    """Return the Container of one entry of /containers/json.

    A paused or restarting container counts as running: the engine removes neither (moby, container/state.go).
    """
    return Container(
        id=entry["Id"],
        image_id=entry.get("ImageID") or "",
        image=entry.get("Image") or "",
        running=entry.get("State") in ("running", "paused", "restarting", "removing"),
        size=entry.get("SizeRw") or 0,
    )


def known_rules(reported):
    """Return the GC rules that a BuildKit reports to buildx, None where buildx knows too little of them."""
    return reported if reported is None or all(_LIMITS_KNOWN in rule for rule in reported) else None


def children_by_id(records):
    """Return the ids of the records that have each record as a parent: {parent id: [child id, …]}."""
    children = {}
    for record in records:
        for parent in record.parents:
            children.setdefault(parent, []).append(record.id)
    return children


def freed_bytes(before, after):
    """Return the bytes that the file systems gained from one tuple of Filesystems to a later one.

    None where there are none to compare.
    """
    earlier = {filesystem.device: filesystem.free for filesystem in before}
    gains = [filesystem.free - earlier[filesystem.device] for filesystem in after if filesystem.device in earlier]
    return sum(gains) if gains else None


def filesystem_facts(filesystem):
    """Return one file system with the figures that df shows."""
    used = filesystem.total - filesystem.free
    return {
        "path": filesystem.path,
        "total_bytes": filesystem.total,
        "free_bytes": filesystem.free,
        "available_bytes": filesystem.available,
        "used_percent": round(100 * used / (used + filesystem.available or 1), 1),
        "inodes_total": filesystem.inodes_total,
        "inodes_available": filesystem.inodes_available,
    }
