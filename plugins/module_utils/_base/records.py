# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine holds, as values: records, images, containers, and the file systems below them. Pure.

The shapes are those of the Engine API from 1.40 to 1.55; where versions differ, the readers here make them alike.
"""

from __future__ import annotations

from typing import NamedTuple

NEVER_WITHOUT_ALL = ("internal", "frontend")
"""Record types that a prune leaves alone unless `all` is set (BuildKit, cache/manager.go, pruneOnce)."""

CACHE_MOUNT = "exec.cachemount"
"""The type of records that a look may change. After a use the first to ask for their sizes has them measured, which
BuildKit takes for one more use (cache/manager.go, DiskUsage, commits them, and refs.go, commit, notes a use whatever
was asked for): who goes by last uses has to look again."""


FIRST_DATE = 1356998400
"""The start of 2013, the year of the first Docker: what claims to be older than any image has a placeholder for a date
(1970 by SOURCE_DATE_EPOCH=0, 1980 by buildpacks)."""

EMBEDDED = "default"
"""The name of the builder that is embedded in the engine."""

BUILD_CACHE, IMAGES, IMAGE_SIZES = "build_cache", "images", "image_sizes"
"""What an engine's account of its disk may lack."""

RUNNING, STOPPED, INACTIVE, UNREACHABLE = "running", "stopped", "inactive", "unreachable"
"""What a node can be: inactive means that it has no container, or that nothing answers at its address."""

_LIMITS_KNOWN = "maxUsedSpace"
"""A key that buildx puts into every GC rule since it knows all three limits (0.18)."""


_NO_LABELS: dict = {}  # never changed


class Record(NamedTuple):
    """One build-cache entry. ``size`` in bytes; times as the engine wrote them (see units.parse_timestamp).

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


class Orphan(NamedTuple):
    """What is left of a container builder's node that nobody has any more: its ``container``, "" where that is gone
    too, and its ``volume``, "" where there is none, with the ``bytes`` in it.

    ``used_at`` is when it was last used, in nanoseconds since the epoch, None where that is not known: with a container
    the end of its last build, of a volume alone when it was made. ``busy`` is why it counts as in use, "" where it does
    not.
    """

    node: str
    container: str
    volume: str
    bytes: int
    used_at: int | None = None
    busy: str = ""

    def may_go(self, now, unused_for):
        """Whether it is idle, and has been for so many nanoseconds."""
        return not self.busy and self.used_at is not None and self.used_at <= now - unused_for


class Builders(NamedTuple):
    """The builders of a host: whether the engine's own is asked for, what was seen of the others (nodes.Seen), and
    the Orphans."""

    embedded: bool = True
    others: tuple = ()
    orphans: tuple = ()


class Image(NamedTuple):
    """One image. ``size`` in bytes with all layers, ``unique_size`` those of layers no other image has.

    ``created`` in seconds since the epoch, 0 or less where it has no date. ``parent`` is the id of the image it was
    made on by the classic builder or a commit, ``hidden`` whether the engine does not list it: it has no reference,
    and a child. ``arrived`` is when it was last pulled, loaded, built or tagged here, in nanoseconds since the epoch, 0
    where that is not known.
    """

    id: str
    tags: tuple[str, ...]
    size: int
    unique_size: int
    created: int
    labels: dict = _NO_LABELS
    digests: tuple[str, ...] = ()
    parent: str = ""
    hidden: bool = False
    arrived: int = 0

    @property
    def references(self):
        """The tags and then the digests by which the image can be named."""
        return self.tags + self.digests

    @property
    def untagged(self):
        """Whether neither a tag nor a digest names the image, on either image store."""
        return not self.references

    @property
    def dated(self):
        """Whether ``created`` is an age; reproducible builds write a date of long before, or none."""
        return self.created >= FIRST_DATE


class LastUse(NamedTuple):
    """When an image was last used, in nanoseconds since the epoch, and ``by`` what that is known: see last_use."""

    at: int
    by: str


class Container(NamedTuple):
    """One container. ``image`` is the name it was created with, ``size`` the bytes of its own layer where known,
    ``created`` when it was made, in seconds since the epoch, and ``ended`` when it last ended, in nanoseconds since the
    epoch, 0 where that is not known."""

    id: str
    image_id: str
    image: str
    running: bool
    size: int = 0
    name: str = ""
    created: int = 0
    labels: dict = _NO_LABELS
    ended: int = 0


class Obstacle(NamedTuple):
    """What keeps dockerd from starting again, or from starting as it was: a stable code, a severity (critical,
    warning or info), what is wrong and where, and what to do. ``refuses`` is whether a restart is refused for it,
    ``allowed_by`` the option that lets it pass ("" for none)."""

    code: str
    severity: str
    message: str
    remedy: str
    refuses: bool = True
    allowed_by: str = ""


class Filesystem(NamedTuple):
    """One file system that holds engine data, in bytes. ``free`` counts blocks reserved for root, ``available``
    does not; BuildKit measures ``free``."""

    path: str
    device: int
    total: int
    free: int
    available: int
    inodes_total: int
    inodes_available: int


class Engine(NamedTuple):
    """One dockerd. ``now`` is its clock in nanoseconds since the epoch, ``started_at`` when it started by that, None
    where it cannot be known; ``data_dirs`` the directories that hold images and build cache, the one that grows first.
    ``namespace`` is the engine's in containerd. ``pid`` is that of its process, None where it is not of this host;
    ``doubt`` is "", or why an engine with a local address is not taken for one of this host.
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
    namespace: str = "moby"
    pid: int | None = None
    doubt: str = ""


class Observation(NamedTuple):
    """Everything that decisions are made of, as seen at one moment.

    ``store`` is the layers.Store, where that was read (stores.with_store). ``unread`` is what the engine could not
    list or measure, as pairs of what and why: BUILD_CACHE and IMAGES are empty then, while for IMAGE_SIZES each image
    counts with all its layers, and ``layers_size`` is 0. ``uses`` has the LastUse of images by id, where that is known;
    it is None where nobody has reckoned it.
    """

    engine: Engine
    records: tuple[Record, ...]
    images: tuple[Image, ...]
    containers: tuple[Container, ...]
    layers_size: int
    filesystems: tuple[Filesystem, ...]
    store: object = None
    unread: tuple[tuple[str, str], ...] = ()
    uses: dict | None = None

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
    size = entry.get("Size") or 0
    # Older engines write <none>:<none> and <none>@<none> for none; what was pulled by digest into the containerd store
    # (28.5) stands among the tags as well.
    given = dict.fromkeys([*(entry.get("RepoTags") or ()), *(entry.get("RepoDigests") or ())])
    names = [name for name in given if not name.startswith("<none>")]
    return Image(
        id=entry["Id"],
        tags=tuple(name for name in names if "@" not in name),
        size=size,
        unique_size=size - max(entry.get("SharedSize") or 0, 0),
        created=entry.get("Created") or 0,
        labels=entry.get("Labels") or {},
        digests=tuple(name for name in names if "@" in name),
        parent=entry.get("ParentId") or "",
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
        name="".join((entry.get("Names") or ())[:1]).lstrip("/"),
        created=entry.get("Created") or 0,
        labels=entry.get("Labels") or {},
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
