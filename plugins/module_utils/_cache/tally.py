# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the disk gains as holders let go, one after the other. Pure."""

from __future__ import annotations

from .steps import claim


class Tally:
    """The references to each object of a Store, counted down; without a Store what the engine's figures claim."""

    def __init__(self, observation):
        self._store, self._counts = observation.store, {}
        if self._store:
            counts = self._counts
            for keys in self._store.holders.values():
                for key in keys:
                    counts[key] = counts.get(key, 0) + 1
            for key in self._store.sizes:
                for below in self._store.references.get(key, ()):
                    counts[below] = counts.get(below, 0) + 1

    def release(self, one):
        """Return the bytes and the inodes that come back with a Record or an Image, after all that went before."""
        if not self._store:
            return claim(one), 0
        store, size, inodes, todo = self._store, 0, 0, list(self._store.holders.get(one.id, ()))
        while todo:
            key = todo.pop()
            self._counts[key] -= 1
            if not self._counts[key] and key in store.sizes:
                size += store.copies.get(key, store.sizes[key])
                inodes += store.inodes.get(key, 0)
                todo += store.references.get(key, ())
        return size, inodes

    def own_inodes(self, name):
        """Return the inodes of what a holder holds directly."""
        if not self._store or not self._store.inodes:
            return 0
        return sum(self._store.inodes.get(key, 0) for key in self._store.holders.get(name, ()))
