# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which records are shared with images, as images go one by one. Pure.

The same as Store.shares() after each of them, in the time of one.
"""

from __future__ import annotations


class Shared:
    """``names`` are the ids of the records that count as shared now."""

    def __init__(self, observation):
        self.names = {record.id for record in observation.records if record.shared}
        self._store = observation.store
        self._images, self._of_chain, self._own, self._children = {}, {}, set(), {}
        if not self._store:
            return
        self._parents = {record.id: record.parents for record in observation.records}
        for chains in self._store.chains.values():
            for chain in set(chains):
                self._images[chain] = self._images.get(chain, 0) + 1
        for name in self.names:
            chain = self._store.record_chains.get(name, "")
            if self._images.get(chain):
                self._own.add(name)
                self._of_chain.setdefault(chain, []).append(name)
            for parent in self._parents[name]:
                self._children[parent] = self._children.get(parent, 0) + 1

    def without(self, image):
        """Take an image away; return the ids of the records that are shared no longer."""
        lone = []
        for chain in set(self._store.chains.get(image.id, ())) if self._store else ():
            self._images[chain] -= 1
            if not self._images[chain]:
                lone += self._of_chain.get(chain, ())
        self._own.difference_update(lone)
        freed = []
        while lone:
            name = lone.pop()
            if name in self.names and name not in self._own and not self._children.get(name):
                self.names.discard(name)
                freed.append(name)
                for parent in self._parents[name]:
                    self._children[parent] -= 1
                    lone.append(parent)
        return freed
