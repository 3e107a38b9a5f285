# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to how many inodes each object of an image store takes, which no database says: every file is looked at."""

from __future__ import annotations

import os

from .._base.errors import BadOption
from .boltdb import Unreadable
from .places import DRIVERS, objects

_LOOK_AT_CLOCK = 200
"""Directories between two looks at the clock."""


def with_inodes(observation, deadline):
    """Return the Observation with the inodes of each object in its Store. Raises BadOption where they cannot be counted
    until the Deadline: nothing would say when enough have gone."""
    engine = observation.engine
    why = "their store cannot be read. Run the task on the engine's host with become: true"
    if observation.store:
        try:
            if engine.image_store != "containerd" and engine.storage_driver not in DRIVERS:
                raise Unreadable(f"the storage driver {engine.storage_driver} does not tell whose they are")
            paths = objects(observation)
            counts = _Counter(deadline)
            inodes = {key: counts.below(paths[key]) for key in observation.store.sizes if key in paths}
            return observation._replace(store=observation.store._replace(inodes=inodes))
        except (OSError, KeyError, ValueError, TypeError, AttributeError, Unreadable) as problem:
            why = problem if isinstance(problem, (OSError, Unreadable)) else repr(problem)
    raise BadOption(f"high_inodes: the files of the layers cannot be counted: {why}. Nothing was removed.")


class _Counter:
    def __init__(self, deadline):
        self._deadline, self._directories = deadline, 0

    def below(self, path):
        """Return the inodes of a directory or a file, with all that is in it."""
        inodes, todo, linked = 1, [path], set()
        while todo:
            self._directories += 1
            if not self._directories % _LOOK_AT_CLOCK and not self._deadline.allows(0):
                raise Unreadable("there are too many for the option deadline")
            try:
                listing = os.scandir(todo.pop())
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone meanwhile, or a file
            with listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif entry.stat(follow_symlinks=False).st_nlink > 1:
                        linked.add(entry.inode())
                        continue
                    inodes += 1
        return inodes + len(linked)
