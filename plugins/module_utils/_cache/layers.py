# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds which layer, and so what a removal gains. Pure.

An image store is a graph: images and build-cache records hold layers (and blobs), a layer holds its parent. Bytes come
back when the last of their holders is gone. That is containerd's garbage collection (metadata/gc.go) and the graph
driver's reference count (moby, layer/layer_store.go) alike.
"""

from __future__ import annotations

from typing import NamedTuple


class Store(NamedTuple):
    """An image store at one moment.

    ``sizes`` are the bytes of each object; ``references`` the objects that each one holds; ``holders`` the objects that
    each image id, record id or other root holds directly. ``chains`` are the chain ids by which
    each image id makes records shared, and ``record_chains`` the chain id by which each record is shared. ``layers``
    are the objects that are each image's layers, ``tops`` the chain ids of each image's uppermost layers, one for each
    platform, ``copies`` the bytes that objects take on the disk where these are not their sizes, ``inodes`` how many
    files each object has where they were counted.
    """

    sizes: dict
    references: dict
    holders: dict
    chains: dict
    record_chains: dict
    layers: dict = {}
    tops: dict = {}
    copies: dict = {}
    inodes: dict = {}

    @property
    def bytes(self):
        """The bytes that everything in the store takes on the disk, garbage too."""
        if self.copies:
            return sum(self.copies.get(key, size) for key, size in self.sizes.items())
        return sum(self.sizes.values())

    @property
    def inode_count(self):
        """The files of everything in the store, 0 where they were not counted."""
        return sum(self.inodes.get(key, 0) for key in self.sizes) if self.inodes else 0

    def without(self, gone):
        """Return the store once the holders with these ids, and all that nobody holds then, are gone."""
        gone = frozenset(gone)
        holders = {holder: keys for holder, keys in self.holders.items() if holder not in gone}
        reached = self.reached(key for keys in holders.values() for key in keys)
        return self._replace(
            sizes={key: size for key, size in self.sizes.items() if key in reached},
            holders=holders,
            chains={image: chains for image, chains in self.chains.items() if image not in gone},
        )

    def reached(self, keys):
        """Return the objects with these keys, and all that they hold."""
        reached, todo = set(), list(keys)
        while todo:
            key = todo.pop()
            if key not in reached:
                reached.add(key)
                todo += self.references.get(key, ())
        return reached

    def unique_sizes(self, images):
        """Return the bytes of the layers that only one of these images has, for each: {id: bytes}."""
        layers = {image.id: set(self.layers.get(image.id, ())) for image in images}
        number = {}
        for of_one in layers.values():
            for layer in of_one:
                number[layer] = number.get(layer, 0) + 1
        return {
            name: sum(self.sizes.get(layer, 0) for layer in of_one if number[layer] == 1)
            for name, of_one in layers.items()
        }

    def _image_chains(self):
        return {chain for image in self.chains.values() for chain in image}

    def as_marked(self, records):
        """Return the store with the chains by which the engine counts records as shared, as far as its marks tell.

        The engine of a containerd store remembers the chain that a record had when disk usage was first asked for
        (BuildKit, cache/refs.go, layerDigestChain). Before the record's export that is an ancestor's, and the record
        counts as shared for an image with just those layers: it is marked, and neither its chain nor a child says why.
        What lies between the two remembers the same, since a record's chain is reckoned from its parent's.
        """
        held, by_id = self._image_chains(), {record.id: record for record in records}
        explained = {parent for record in records if record.shared for parent in record.parents}
        remembered = {}
        for record in records:
            if record.shared and record.id not in explained:
                one, between = record, []
                while one and self.record_chains.get(one.id, "") not in held:
                    between.append(one.id)
                    one = by_id.get(one.parents[0]) if len(one.parents) == 1 else None
                if one:
                    remembered.update(dict.fromkeys(between, self.record_chains[one.id]))
        return self._replace(record_chains={**self.record_chains, **remembered})

    def own(self, records):
        """Return the records with ``shared`` where an image that is left has a record's very layers.

        Only cleared, never set: the engine may have missed an image, and its own word is what it acts on.
        """
        held, chains = self._image_chains(), self.record_chains
        return tuple(
            record._replace(shared=False) if record.shared and chains.get(record.id, "") not in held else record
            for record in records
        )

    def shares(self, records):
        """Return the records with ``shared`` as the engine reports it: own(), and all their ancestors."""
        by_id = {record.id: record for record in self.own(records)}
        shared, todo = set(), [record.id for record in by_id.values() if record.shared]
        while todo:
            name = todo.pop()
            if name not in shared and name in by_id:
                shared.add(name)
                todo += by_id[name].parents
        # Most are as they were, and making one anew takes longer than all the rest.
        return tuple(
            record if record.shared == (record.id in shared) else record._replace(shared=record.id in shared)
            for record in by_id.values()
        )


def chain_ids(diff_ids, digest):
    """Return the chain id of every layer of an image, base first.

    ``digest(text)`` is the hexadecimal SHA-256. Source: OCI image specification, config.md, "Layer ChainID".
    """
    chains = []
    for diff_id in diff_ids:
        chains.append(f"sha256:{digest(f'{chains[-1]} {diff_id}')}" if chains else diff_id)
    return chains
