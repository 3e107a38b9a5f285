# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what the image stores keep on disk about their layers: from their databases to one Store."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._boltdb import Unreadable, read
from ansible_collections.buildfleet.buildcache.plugins.module_utils._layers import Store, chain_ids

_NAMESPACE = b"moby"
_REFERENCE = b"containerd.io/gc.ref."


def with_store(observation):
    """Return the Observation with its Store. Raises Unreadable where the directories cannot be read: by another user
    than root, or for an engine on another host."""
    engine = observation.engine
    if not engine.data_dirs:
        raise Unreadable(f"The engine with {engine.root_dir} is on another host.")
    read_store = _containerd_store if engine.image_store == "containerd" else _graph_driver_store
    try:
        return replace(observation, store=read_store(engine, observation))
    except (OSError, KeyError, ValueError, TypeError) as problem:
        raise Unreadable(f"The image store below {engine.data_dirs[0]} cannot be read: {problem!r}") from problem


def _graph_driver_store(engine, observation):
    """Layers are in layerdb, images in imagedb, and BuildKit's snapshots.db knows the chain of each exported record."""
    base = os.path.join(engine.root_dir, "image", engine.storage_driver)
    layers = os.path.join(base, "layerdb", "sha256")
    sizes, references = {}, {}
    for name in os.listdir(layers):
        sizes[f"sha256:{name}"] = int(_text(layers, name, "size"))
        if os.path.exists(os.path.join(layers, name, "parent")):
            references[f"sha256:{name}"] = [_text(layers, name, "parent")]
    images = os.path.join(base, "imagedb", "content", "sha256")
    chains = {f"sha256:{name}": _chains(_document(images, name)) for name in os.listdir(images)}
    holders = {image: held[-1:] for image, held in chains.items()}
    snapshots = read(os.path.join(engine.root_dir, "buildkit", "snapshots.db"))
    record_chains = {}
    for record in observation.records:
        chain = snapshots.get(record.id.encode(), {}).get(b"chainid", b"").decode()
        if chain in sizes:
            record_chains[record.id] = chain
            holders[record.id] = [chain]
        else:
            sizes[record.id] = record.size
            holders[record.id] = [record.id]
    # The graph driver collects no garbage: what nobody holds now does not come back by a prune.
    return Store(sizes, references, holders, chains, record_chains).without(())


def _containerd_store(engine, observation):
    """containerd's metadata is the graph itself: images and leases are its roots, labels its references.

    BuildKit has a lease of a record's own id for its snapshot and blob, and one more for the blob's other compressions.
    """
    root = engine.data_dirs[0]
    known = read(os.path.join(root, "io.containerd.metadata.v1.bolt", "meta.db"))[b"v1"][_NAMESPACE]
    blobs = os.path.join(root, "io.containerd.content.v1.content", "blobs", "sha256")
    driver = engine.storage_driver.encode()
    usage = read(os.path.join(root, f"io.containerd.snapshotter.v1.{engine.storage_driver}", "metadata.db"))
    usage = usage[b"v1"][b"snapshots"]
    records = {record.id: record for record in observation.records}
    sizes, references = {}, {}
    for name, blob in known.get(b"content", {}).get(b"blob", {}).items():
        sizes[name.decode()] = _varint(blob[b"size"])
        references[name.decode()] = [
            value.decode() for label, value in blob.get(b"labels", {}).items() if label.startswith(_REFERENCE)
        ]
    for name, snapshot in known.get(b"snapshots", {}).get(driver, {}).items():
        record = records.get(name.decode())
        measured = usage.get(snapshot[b"name"], {}).get(b"size")
        # A snapshot that can still be written to is not measured by containerd, but by BuildKit.
        sizes[name.decode()] = _varint(measured) if measured else record.size if record else 0
        if snapshot.get(b"parent"):
            references[name.decode()] = [snapshot[b"parent"].decode()]
    holders, chains = {}, {}
    for image in known.get(b"images", {}).values():
        digest = image[b"target"][b"digest"].decode()
        holders[digest] = [digest]
        chains[digest] = _image_chains(blobs, digest)
    for name, lease in known.get(b"leases", {}).items():
        held = [key.decode() for key in lease.get(b"content", {})]
        held += [key.decode() for key in lease.get(b"snapshots", {}).get(driver, {})]
        holders.setdefault(name.decode().partition("-")[0], []).extend(held)
    metadata = read(os.path.join(engine.root_dir, "buildkit", f"containerd-{engine.storage_driver}", "metadata_v2.db"))
    exported = {}
    for name in records:
        chain = metadata[b"_main"].get(name.encode(), {}).get(b"cache.chainID")
        if chain:
            exported[name] = json.loads(chain)["value"]
    record_chains = {name: _nearest_chain(record, records, exported) for name, record in records.items()}
    return Store(sizes, references, holders, chains, record_chains).as_marked(records.values())


def _nearest_chain(record, records, exported):
    """Return the chain id that BuildKit compares for a record, "" where there is none.

    A record that was never exported has no blob of its own, and so the chain of its nearest ancestor that was exported
    (BuildKit, cache/refs.go, layerDigestChain): it counts as shared where that one's whole chain is an image's.
    """
    while record and record.id not in exported:
        record = records.get(record.parents[0]) if len(record.parents) == 1 else None
    return exported[record.id] if record else ""


def _image_chains(blobs, digest):
    """Return the chain id of each platform of an image; a part that was never pulled has none.

    Only the whole chain: BuildKit compares no other here (snapshot/imagerefchecker/checker.go), and counts the
    ancestors of a shared record as shared in turn.
    """
    try:
        document = _document(blobs, digest.partition(":")[2])
    except FileNotFoundError:
        return []
    if "manifests" in document:
        return [chain for one in document["manifests"] for chain in _image_chains(blobs, one["digest"])]
    # An image's configuration has a part of the name that a manifest has for the whole of it.
    if "rootfs" in document:
        return _chains(document)[-1:]
    return _image_chains(blobs, document["config"]["digest"]) if "config" in document else []


def _chains(config):
    return chain_ids(config["rootfs"].get("diff_ids") or [], lambda text: hashlib.sha256(text.encode()).hexdigest())


def _document(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return json.load(file)


def _text(*path):
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read().strip()


def _varint(data):
    """Return the integer that Go's binary.PutVarint wrote."""
    value = 0
    for number, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            break
    return (value >> 1) ^ -(value & 1)
