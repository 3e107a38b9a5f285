# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what the image stores keep on disk about their layers: from their databases to one Store."""

from __future__ import annotations

import hashlib
import json
import os
import re

from .._base.errors import BuildcacheError
from .._base.records import Image
from .._base.units import SECOND, parse_timestamp
from .._cache.layers import Store, chain_ids
from .boltdb import Unreadable, read

_REFERENCE = b"containerd.io/gc.ref."
_ROOT = b"containerd.io/gc.root"
_CONTAINER_CONFIG = _REFERENCE + b"content.moby/container.config"
"""Of what the classic builder ran an image's steps in: held with the image, and no part of its size."""
_PARENT = b"org.mobyproject.image.parent"
_NAME = re.compile("[0-9a-f]{64}")
_DIGEST = re.compile("[a-z0-9+._-]+:[0-9a-fA-F]{32,}")

_BECOME = "Run the task with become: true to have both exact."
_ELSEWHERE = "Run the task on the engine's host, with become: true, to have both exact."
_DAMAGED = "If the engine itself serves well, its layout is one that is not known here: please report it."


_DRIVERS = {
    "overlay2": "",
    "fuse-overlayfs": "",
    "overlayfs": "",
    "vfs": "each layer is a copy of those below it, and a file that a layer replaces is counted twice: less "
    "may come back",
    "btrfs": "layers are subvolumes that the file system clears away later: some of it comes back after the run",
    "zfs": "layers are data sets, compressed and cleared away later: less may come back, and some of it after the run",
}
"""Why the bytes of a preview are not exact with a storage driver, "" where they are, by the driver's name in /info."""


def inexact(engine):
    """Return why the bytes of a preview are not exact with the engine's storage driver, "" where they are."""
    why = _DRIVERS.get(engine.storage_driver, "it is not known what a layer takes on the disk")
    return why and f"The preview's bytes are not exact with the storage driver {engine.storage_driver}: {why}."


def with_store(observation):
    """Return the Observation with its Store, and with the hidden images. Raises Unreadable, which says what to do,
    where the directories cannot be read."""
    engine = observation.engine
    if not engine.data_dirs:
        raise Unreadable(engine.doubt or f"The engine with {engine.root_dir} is on another host. {_ELSEWHERE}")
    read_store = _with_containerd_store if engine.image_store == "containerd" else _with_graph_driver_store
    try:
        return read_store(engine, observation)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, Unreadable) as problem:
        remedy = _BECOME if isinstance(problem.__cause__ or problem, PermissionError) else _DAMAGED
        what = problem if isinstance(problem, (OSError, Unreadable)) else repr(problem)
        raise Unreadable(f"The image store below {engine.data_dirs[0]} cannot be read: {what}. {remedy}") from problem


def _with_graph_driver_store(engine, observation):
    """Layers are in layerdb, images in imagedb, and BuildKit's snapshots.db knows the chain of each exported record.

    What dockerd passes over at its start is passed over here: see _layers and _images.
    """
    base = os.path.join(engine.root_dir, "image", engine.storage_driver)
    sizes, parents = _layers(os.path.join(base, "layerdb", "sha256"))
    references = {chain: [parent] for chain, parent in parents.items() if parent}
    chains, made_on, arrived = _images(os.path.join(base, "imagedb"), sizes)
    holders = {image: held[-1:] for image, held in chains.items()}
    # A container holds its layers though its image was removed by force.
    mounts = os.path.join(base, "layerdb", "mounts")
    containers = _names(mounts)
    for name in containers:
        holders[name] = [chain for chain in (_text(mounts, name, "parent"),) if chain in sizes]
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
    copies = {}
    if engine.storage_driver == "vfs":
        above = {record.id: [record_chains.get(one, one) for one in record.parents] for record in observation.records}
        copies = _copies(sizes, {**above, **references})
        for name in containers:
            # A container has a directory of its own, and one that dockerd prepares it from.
            sizes[name], copies[name] = 0, 2 * sum(copies[chain] for chain in holders[name])
            holders[name] = [*holders[name], name]
    tops = {image: held[-1:] for image, held in chains.items()}
    store = Store(sizes, references, holders, chains, record_chains, chains, tops, copies).without(())
    return _seen(observation, store, made_on, arrived)


def _copies(sizes, below):
    """Return the bytes of each object where every layer is a copy of all ``below`` it: {key: bytes}."""
    copies, todo = {}, list(sizes)
    while todo:
        missing = [key for key in below.get(todo[-1], ()) if key in sizes and key not in copies]
        if missing:
            todo += missing
            continue
        key = todo.pop()
        copies[key] = sizes[key] + sum(copies.get(one, 0) for one in below.get(key, ()))
    return copies


def _seen(observation, store, made_on, arrived, uncounted=frozenset()):
    """Return the Observation with its Store, and with the images that the engine does not list; ``made_on`` has the
    parent of every image, {id: parent}, ``arrived`` when they did (nanoseconds since the epoch), ``uncounted`` the
    objects that are no part of an image's size."""
    listed = {image.id for image in observation.images}
    if listed and not listed & set(store.holders):
        raise Unreadable("it holds none of the engine's images")
    hidden = []
    for name in made_on.keys() - listed:
        size = sum(store.sizes.get(key, 0) for key in store.reached(store.holders[name]) - uncounted)
        layers = sum(store.sizes.get(key, 0) for key in {*store.layers.get(name, ())})
        # While it is hidden no layer counts as its own (see plan).
        hidden.append(Image(name, (), size, size - layers, 0, parent=made_on[name], hidden=True))
    images = [
        # The engine tells the parent that one of the names has, and hides what any of them has for one.
        image._replace(arrived=arrived.get(image.id, 0), parent=image.parent or made_on.get(image.id, ""))
        for image in observation.images
    ]
    return observation._replace(store=store, images=(*images, *hidden))


def _layers(directory):
    """Return the bytes and the parent of each layer that dockerd knows: {chain id: bytes}, {chain id: parent or ""}.

    One with a file missing, empty or wrong, as a power cut or a cut-off removal leaves it, is not known, nor is any
    that builds on it (moby, layer/layer_store.go, loadLayer; layer/filestore.go).
    """
    sizes, parents = {}, {}
    for name in _names(directory):
        size, parent = _text(directory, name, "size"), _text(directory, name, "parent")
        whole = _DIGEST.fullmatch(_text(directory, name, "diff") or "") and _text(directory, name, "cache-id")
        if _NAME.fullmatch(name) and whole and re.fullmatch("[0-9]+", size or "") and parent != "":
            sizes[f"sha256:{name}"], parents[f"sha256:{name}"] = int(size), parent or ""
    lost = [chain for chain, parent in parents.items() if parent and parent not in sizes]
    while lost:
        for chain in lost:
            del sizes[chain], parents[chain]
        lost = [chain for chain, parent in parents.items() if parent and parent not in sizes]
    return sizes, parents


def _images(directory, sizes):
    """Return the chain ids and the parent of each image that dockerd knows, and when it arrived: {id: [chain id]}, {id:
    parent}, {id: nanoseconds since the epoch}.

    One whose text is not that of its name, or whose layers are not known, is not (moby, image/store.go, restore). Its
    text is written whenever it is pulled, loaded or built; when it was tagged stands beside it.
    """
    chains, parents, arrived = {}, {}, {}
    content = os.path.join(directory, "content", "sha256")
    for name in _names(content):
        data = _bytes(content, name) or b""
        if hashlib.sha256(data).hexdigest() != name:
            continue
        held = _chains(json.loads(data))
        if not held or held[-1] in sizes:
            chains[f"sha256:{name}"] = held
            parents[f"sha256:{name}"] = _text(directory, "metadata", "sha256", name, "parent") or ""
            tagged = _time(_text(directory, "metadata", "sha256", name, "lastUpdated"))
            arrived[f"sha256:{name}"] = max(os.stat(f"{content}/{name}").st_mtime_ns, tagged)
    return chains, parents, arrived


def _with_containerd_store(engine, observation):
    """containerd's metadata is the graph itself: images and leases are its roots, labels its references.

    BuildKit has a lease of a record's own id for its snapshot and blob, and one more for the blob's other compressions.
    The first layer's snapshot has the name of its blob where that is not compressed: snapshots get a mark.
    """
    root, driver = engine.data_dirs[0], engine.storage_driver.encode()
    spaces = read(os.path.join(root, "io.containerd.metadata.v1.bolt", "meta.db")).get(b"v1", {})
    known = spaces.get(engine.namespace.encode())
    if known is None:
        names = ", ".join(sorted(name.decode() for name in spaces))
        raise Unreadable(f"containerd has no namespace {engine.namespace}, but {names or 'none'}")
    blobs = os.path.join(root, "io.containerd.content.v1.content", "blobs", "sha256")
    usage = read(os.path.join(root, f"io.containerd.snapshotter.v1.{engine.storage_driver}", "metadata.db"))
    usage = usage.get(b"v1", {}).get(b"snapshots", {})
    records = {record.id: record for record in observation.records}
    sizes, references, holders, chains, layers, made_on, arrived, uncounted = {}, {}, {}, {}, {}, {}, {}, set()
    snapshot_labels = _REFERENCE + b"snapshot." + driver
    for name, blob in known.get(b"content", {}).get(b"blob", {}).items():
        labels = blob.get(b"labels", {})
        sizes[name.decode()] = varint(blob[b"size"])
        references[name.decode()] = [
            _snapshot(value) if label.startswith(snapshot_labels) else value.decode()
            for label, value in labels.items()
            # BuildKit has a blob name itself among the variants of its compression (28.5).
            if label.startswith(_REFERENCE) and value != name
        ]
        if _CONTAINER_CONFIG in labels:
            uncounted.add(labels[_CONTAINER_CONFIG].decode())
        if _ROOT in labels:
            holders.setdefault(_ROOT, []).append(name.decode())
    for name, snapshot in known.get(b"snapshots", {}).get(driver, {}).items():
        record = records.get(name.decode())
        measured = usage.get(snapshot[b"name"], {}).get(b"size")
        # A snapshot that can still be written to is not measured by containerd, but by BuildKit.
        sizes[_snapshot(name)] = varint(measured) if measured else record.size if record else 0
        if snapshot.get(b"parent"):
            references[_snapshot(name)] = [_snapshot(snapshot[b"parent"])]
        if _ROOT in snapshot.get(b"labels", {}):
            holders.setdefault(_ROOT, []).append(_snapshot(name))
    for image in known.get(b"images", {}).values():
        digest = image[b"target"][b"digest"].decode()
        # The engine gives a name of its own to what has lost its last tag: when it did then counts, too.
        arrived[digest] = max(arrived.get(digest, 0), _go_time(image.get(b"updatedat", b"")))
        # Each name has labels of its own: of an image that was loaded under a second one, the first has the parent.
        made_on[digest] = made_on.get(digest) or image.get(b"labels", {}).get(_PARENT, b"").decode()
        if digest not in holders:
            holders[digest], platforms = [digest], _image_chains(blobs, digest)
            # BuildKit compares no other chain than the whole (snapshot/imagerefchecker/checker.go), and counts the
            # ancestors of a shared record as shared in turn.
            chains[digest] = [held[-1] for held in platforms if held]
            layers[digest] = [_snapshot(chain.encode()) for held in platforms for chain in held]
    for name, lease in known.get(b"leases", {}).items():
        held = [key.decode() for key in lease.get(b"content", {})]
        held += map(_snapshot, lease.get(b"snapshots", {}).get(driver, {}))
        holders.setdefault(name.decode().partition("-")[0], []).extend(held)
    exported = {}
    if records:
        metadata = read(
            os.path.join(engine.root_dir, "buildkit", f"containerd-{engine.storage_driver}", "metadata_v2.db")
        )
        for name in records:
            chain = metadata[b"_main"].get(name.encode(), {}).get(b"cache.chainID")
            if chain:
                exported[name] = json.loads(chain)["value"]
    record_chains = {name: _nearest_chain(record, records, exported) for name, record in records.items()}
    store = Store(sizes, references, holders, chains, record_chains, layers, chains)
    return _seen(observation, store.as_marked(records.values()), made_on, arrived, uncounted)


def _snapshot(name):
    return f"snapshot {name.decode()}"


def _nearest_chain(record, records, exported):
    """Return the chain id that BuildKit compares for a record, "" where there is none.

    A record that was never exported has no blob of its own, and so the chain of its nearest ancestor that was exported
    (BuildKit, cache/refs.go, layerDigestChain): it counts as shared where that one's whole chain is an image's.
    """
    while record and record.id not in exported:
        record = records.get(record.parents[0]) if len(record.parents) == 1 else None
    return exported[record.id] if record else ""


def _image_chains(blobs, digest):
    """Return the chain ids of each platform of an image; a part that was never pulled, or is damaged, has none."""
    try:
        document = json.loads(_bytes(blobs, digest.partition(":")[2]) or b"{}")
    except ValueError:
        document = {}
    if "manifests" in document:
        return [chain for one in document["manifests"] for chain in _image_chains(blobs, one["digest"])]
    # An image's configuration has a part of the name that a manifest has for the whole of it.
    if "rootfs" in document:
        return [_chains(document)]
    return _image_chains(blobs, document["config"]["digest"]) if "config" in document else []


def _chains(config):
    return chain_ids(config["rootfs"].get("diff_ids") or [], lambda text: hashlib.sha256(text.encode()).hexdigest())


def _names(directory):
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _text(*path):
    """Return what stands in a file, None where there is none."""
    data = _bytes(*path)
    return None if data is None else data.decode("utf-8", "replace").strip()


def _bytes(*path):
    # A quarter of the time that open() takes, and there are three files for each layer.
    try:
        file = os.open("/".join(path), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        parts = [os.read(file, 1 << 16)]
        while parts[-1]:
            parts.append(os.read(file, 1 << 16))
        return b"".join(parts)
    finally:
        os.close(file)


def _time(text):
    """Return the nanoseconds since the epoch of a timestamp, 0 where there is none, or a power cut has left half."""
    try:
        return parse_timestamp(text) or 0
    except BuildcacheError:
        return 0


def _go_time(data):
    """Return the nanoseconds since the epoch that Go's time.MarshalBinary wrote, since the year 1 in what it writes."""
    if len(data) < 13:
        return 0
    since_year_one = int.from_bytes(data[1:9], "big") - 62135596800
    return since_year_one * SECOND + int.from_bytes(data[9:13], "big")


def varint(data, signed=True):
    """Return the integer that Go's binary.PutVarint wrote, or PutUvarint where it is not ``signed``."""
    value = 0
    for number, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            break
    return (value >> 1) ^ -(value & 1) if signed else value
