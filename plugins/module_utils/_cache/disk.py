# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds what on the disk, as it was measured: what the engine accounts for, and what it does not. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.units import human_size
from .findings import INFO, WARNING, finding_of

IMAGES, BUILD_CACHE, BOTH = "images", "build_cache", "images_and_build_cache"
"""Layers and content that images alone hold, build cache alone, or both: those come back once both have let go."""

CONTAINER_LAYERS, CONTAINER_LOGS, VOLUMES = "container_layers", "container_logs", "volumes"
DATABASES = "databases"
"""What BuildKit, containerd and dockerd know their own things by."""

LEFTOVERS = "leftovers"
"""Layers and content that nobody names."""

ENGINE, ELSEWHERE = "engine", "elsewhere"
"""What else is below the engine's directories, and what is on the file system beside them."""

_MOST_NAMES = 10
"""How many of the largest things of a part are named."""

_NOTABLE_SHARE = 0.05
"""The share of a disk from which on it is a warning that the engine does not account for it."""


class Part(NamedTuple):
    """What one kind of holder has on a file system; ``largest`` are pairs of a name and bytes, the largest first."""

    holder: str
    bytes: int
    inodes: int
    largest: tuple = ()


class Disk(NamedTuple):
    """A file system that holds engine data: its bytes, its used bytes and inodes, and its Parts, the largest first.

    ``complete`` is whether all of it was measured in time; else the Part ``elsewhere`` has what was not.
    """

    path: str
    total_bytes: int
    used_bytes: int
    used_inodes: int
    parts: tuple[Part, ...]
    complete: bool


def disk(path, total_bytes, used_bytes, used_inodes, sizes, complete):
    """Return the Disk of a file system; ``sizes`` are the bytes and inodes that were measured of each holder and name:
    {(holder, name): (bytes, inodes)}."""
    parts = []
    for holder in sorted({holder for holder, _name in sizes}):
        named = {name: size for (one, name), (size, _inodes) in sizes.items() if one == holder and name and size}
        of_holder = [size for (one, _name), size in sizes.items() if one == holder]
        largest = sorted(named.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMES]
        parts.append(Part(holder, sum(one[0] for one in of_holder), sum(one[1] for one in of_holder), tuple(largest)))
    rest = Part(
        ELSEWHERE,
        max(used_bytes - sum(part.bytes for part in parts), 0),
        max(used_inodes - sum(part.inodes for part in parts), 0),
    )
    parts = sorted([*parts, rest], key=lambda part: (-part.bytes, part.holder))
    return Disk(path, total_bytes, used_bytes, used_inodes, tuple(parts), complete)


def unaccounted(disks):
    """Return the Finding about what an engine's account of images and build cache says nothing of, None without."""
    parts = [part for one in disks for part in one.parts if part.holder in _UNACCOUNTED and part.bytes]
    parts.sort(key=lambda part: -part.bytes)
    size = sum(part.bytes for part in parts)
    if not size:
        return None
    text = ", ".join(f"{human_size(part.bytes)} in {_UNACCOUNTED[part.holder][0]}{_most(part)}" for part in parts)
    notable = size >= _NOTABLE_SHARE * sum(one.total_bytes for one in disks)
    return finding_of(
        "unaccounted_bytes",
        size,
        f"Images and build cache are not all that the engine holds: {text}.",
        _UNACCOUNTED[parts[0].holder][1],
        WARNING if notable else INFO,
    )


def _most(part):
    """Return who has most of a Part, in parentheses, "" where nobody has a name."""
    return f" (most in {part.largest[0][0]}: {human_size(part.largest[0][1])})" if part.largest else ""


_UNACCOUNTED = {
    CONTAINER_LAYERS: (
        "what containers wrote into their own layers",
        "buildcache_prune: {containers: stopped}; containers that run should write to volumes, or be made anew",
    ),
    CONTAINER_LOGS: (
        "containers' logs",
        "Limit them with log-opts max-size and max-file in daemon.json, which containers made from then on obey",
    ),
    VOLUMES: (
        "volumes",
        "docker volume prune removes anonymous ones that no container mounts; look at what the others hold",
    ),
    DATABASES: (
        "databases of dockerd, BuildKit and containerd",
        "They keep their size, and what is in them goes with images and build cache; see "
        "docs/findings/unaccounted_bytes.md",
    ),
    LEFTOVERS: (
        "layers and content that nobody names",
        "See docs/findings/unaccounted_bytes.md: they are left by crashes, and no prune removes them",
    ),
}
"""What each part of a disk is that the engine does not account for, and what helps."""


def told(disks):
    """Return the Disks as buildcache_facts tells them."""
    return [
        dict(
            one._asdict(),
            parts=[
                dict(part._asdict(), largest=[{"name": name, "bytes": size} for name, size in part.largest])
                for part in one.parts
            ],
        )
        for one in disks
    ]
