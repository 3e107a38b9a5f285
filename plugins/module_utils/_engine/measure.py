# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what lies below an engine's directories: every file's blocks, counted for who holds it."""

from __future__ import annotations

import os
import time

from .._cache.disk import ENGINE, LEFTOVERS, disk
from .boltdb import Unreadable
from .host import filesystems
from .places import DRIVERS, places
from .stores import with_store

_BLOCK = 512
"""The unit of st_blocks (stat(2)), whatever the file system's own."""

_YOUNG = 3600
"""Seconds for which what nobody names may still be in the making, and is not called a leftover."""

_LOOK_AT_CLOCK = 2000
"""Entries between two looks at the clock."""


def measured(observation, deadline):
    """Return the Disk of each file system that holds the engine's data, measured until the Deadline.

    Raises Unreadable, which says what to do, where the directories cannot be read or their owners not be told.
    """
    engine = observation.engine
    if engine.image_store != "containerd" and engine.storage_driver not in DRIVERS:
        raise Unreadable(
            f"With the storage driver {engine.storage_driver} files do not tell who holds them: measure: true is for "
            f"{', '.join(DRIVERS)} and containerd's store."
        )
    observation = observation if observation.store else with_store(observation)
    roots = [os.path.realpath(one) for one in engine.data_dirs]
    # dockerd's own containerd has its directory below dockerd's.
    roots = [one for one in roots if not any(one.startswith(f"{other}/") for other in roots)]
    counted, complete = {}, True
    try:
        owners, unnamed = places(observation)
        for root in roots:
            sizes = counted.setdefault(os.lstat(root).st_dev, {})
            complete = _walk(root, owners, unnamed, sizes, deadline) and complete
    except PermissionError as problem:
        raise Unreadable(f"{problem}. Run the task with become: true to have the disk measured.") from problem
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as problem:
        raise Unreadable(f"What is below {' and '.join(roots)} cannot be read: {problem!r}.") from problem
    return tuple(
        disk(
            one.path,
            one.total,
            one.total - one.free,
            one.inodes_total and one.inodes_total - one.inodes_available,
            counted.get(one.device, {}),
            complete,
        )
        for one in filesystems(roots)
    )


def _walk(root, owners, unnamed, sizes, deadline):
    """Count what lies below a directory on its file system into ``sizes``; False where the time was up.

    ``owners`` are those of places(): what stands below one is the same one's. A directory that belongs to nobody in
    ``unnamed`` is a leftover, unless it is so young that somebody may be making it.
    """
    device, seen, entries = os.lstat(root).st_dev, set(), 0
    now = time.time()
    todo = [(root, (ENGINE, ""))]
    while todo:
        directory, above = todo.pop()
        try:
            listing = os.scandir(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone meanwhile
        with listing:
            for entry in listing:
                entries += 1
                if not entries % _LOOK_AT_CLOCK and not deadline.allows(0):
                    return False
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_dev != device:
                    continue  # a container's own view of its layers
                if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                owner = owners.get(entry.path)
                if owner is None:
                    owner = above
                    if directory in unnamed:
                        old = status.st_mtime < now - _YOUNG
                        owner = (LEFTOVERS, entry.path) if old else (ENGINE, "")
                size = sizes.get(owner, (0, 0))
                sizes[owner] = size[0] + status.st_blocks * _BLOCK, size[1] + 1
                if entry.is_dir(follow_symlinks=False):
                    todo.append((entry.path, owner))
    return True
