# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an engine keeps what: which directory or file below its own is whose."""

from __future__ import annotations

import os

from .._cache.disk import (
    BOTH,
    BUILD_CACHE,
    CONTAINER_LAYERS,
    CONTAINER_LOGS,
    DATABASES,
    ENGINE,
    IMAGES,
    VOLUMES,
)
from .boltdb import read
from .stores import varint

DRIVERS = {"overlay2": ("overlay2",), "fuse-overlayfs": ("fuse-overlayfs",), "vfs": ("vfs", "dir")}
"""Where below its root a graph driver has a directory for each layer, by the driver's name in /info."""

_OWN = ("l",)
"""What a graph driver has beside the layers: short names of them."""


def places(observation):
    """Return who holds what below the engine's directories, by path: {path: (holder, name)}; and the directories in
    which what has no owner is a leftover. The Observation has its Store. Holders are those of _cache.disk."""
    engine = observation.engine
    root = os.path.realpath(engine.root_dir)
    owners, unnamed = _of_containers(root, observation.containers), set()
    owners[os.path.join(root, "volumes")] = (VOLUMES, "")
    for name in _names(root, "volumes"):
        path = os.path.join(root, "volumes", name)
        owners[path] = (VOLUMES, name) if os.path.isdir(path) else (DATABASES, "volumes")
    for name in ("buildkit", "image"):
        owners[os.path.join(root, name)] = (DATABASES, name)
    if engine.image_store == "containerd":
        _add_containerd(os.path.realpath(engine.data_dirs[0]), observation, owners, unnamed)
    else:
        _add_graph_driver(root, observation, owners, unnamed)
    return owners, unnamed


def _of_containers(root, containers):
    """Return the owners of the logs that the engine keeps (json-file and local)."""
    names, owners = {one.id: one.name for one in containers}, {}
    for container in _names(root, "containers"):
        for file in _names(root, "containers", container):
            if file.startswith(f"{container}-json.log") or file in ("local-logs", "container-cached.log"):
                path = os.path.join(root, "containers", container, file)
                owners[path] = (CONTAINER_LOGS, names.get(container, container))
    return owners


def _holders(observation):
    """Return who holds each object of the Store: a function of its key."""
    store, kinds = observation.store, {}
    of_images = {image.id for image in observation.images}
    of_records = {record.id for record in observation.records}
    of_containers = {container.id for container in observation.containers}
    for name, keys in store.holders.items():
        for kind, ids in ((IMAGES, of_images), (BUILD_CACHE, of_records), (CONTAINER_LAYERS, of_containers)):
            if name in ids:
                kinds.setdefault(kind, []).extend(keys)
                break
        else:
            kinds.setdefault(ENGINE, []).extend(keys)
    reached = {kind: store.reached(keys) for kind, keys in kinds.items()}

    def holder(key):
        held = [kind for kind, keys in reached.items() if key in keys]
        if IMAGES in held and BUILD_CACHE in held:
            return BOTH
        return next((kind for kind in (IMAGES, BUILD_CACHE, CONTAINER_LAYERS, ENGINE) if kind in held), None)

    return holder


def _add_graph_driver(root, observation, owners, unnamed):
    driver = observation.engine.storage_driver
    layers, base = os.path.join(root, *DRIVERS[driver]), os.path.join(root, "image", driver, "layerdb")
    holder, names = _holders(observation), {one.id: one.name for one in observation.containers}
    unnamed.add(layers)
    owners.update({os.path.join(layers, name): (ENGINE, "") for name in _OWN})
    objects = dict(_graph_driver_objects(root, observation))
    for key, path in objects.items():
        owner = holder(key)
        if owner:
            owners[path] = (owner, "")
    for container in set(_names(base, "mounts")).intersection(names):
        for file in ("mount-id", "init-id"):
            directory = os.path.join(layers, _text(base, "mounts", container, file))
            owners[directory] = (CONTAINER_LAYERS, names[container])
    for record in observation.records:
        # A layer that an image has as well is in layerdb, too.
        owners.setdefault(objects[record.id], (BUILD_CACHE, ""))


def _graph_driver_objects(root, observation):
    """Yield the key and the directory of each layer, and of each record."""
    driver = observation.engine.storage_driver
    layers, base = os.path.join(root, *DRIVERS[driver]), os.path.join(root, "image", driver, "layerdb", "sha256")
    for name in _names(base):
        yield f"sha256:{name}", os.path.join(layers, _text(base, name, "cache-id"))
    snapshots = read(os.path.join(root, "buildkit", "snapshots.db"))
    for record in observation.records:
        snapshot = snapshots.get(record.id.encode(), {})
        yield record.id, os.path.join(layers, snapshot.get(b"committed", record.id.encode()).decode())


def _add_containerd(root, observation, owners, unnamed):
    engine, holder = observation.engine, _holders(observation)
    names = {one.id: one.name for one in observation.containers}
    for name in ("io.containerd.metadata.v1.bolt", "io.containerd.grpc.v1.introspection"):
        owners[os.path.join(root, name)] = (DATABASES, "containerd")
    content = os.path.join(root, "io.containerd.content.v1.content")
    snapshotter = os.path.join(root, f"io.containerd.snapshotter.v1.{engine.storage_driver}")
    unnamed.update((os.path.join(content, "blobs", "sha256"), os.path.join(content, "ingest")))
    unnamed.add(os.path.join(snapshotter, "snapshots"))
    owners[os.path.join(snapshotter, "metadata.db")] = (DATABASES, "containerd")
    for space, key, path in _containerd_objects(root, engine):
        owner = (ENGINE, f"namespace {space}")
        if space == engine.namespace:
            name = key.partition(" ")[2]
            container = name[: -len("-init")] if name.endswith("-init") else name
            found = CONTAINER_LAYERS if container in names else holder(key)
            owner = (found, names.get(container, "") if found == CONTAINER_LAYERS else "") if found else None
        # A blob can be that of several.
        if owner and (space == engine.namespace or path not in owners):
            owners[path] = owner


def _containerd_objects(root, engine):
    """Yield the namespace, the key and the path of each blob and each snapshot."""
    blobs = os.path.join(root, "io.containerd.content.v1.content", "blobs", "sha256")
    spaces = read(os.path.join(root, "io.containerd.metadata.v1.bolt", "meta.db")).get(b"v1", {})
    for space, known in spaces.items():
        # Beside them stands the layout's version.
        for digest in known.get(b"content", {}).get(b"blob", {}) if isinstance(known, dict) else ():
            yield space.decode(), digest.decode(), os.path.join(blobs, digest.decode().partition(":")[2])
    snapshotter = os.path.join(root, f"io.containerd.snapshotter.v1.{engine.storage_driver}")
    kept = read(os.path.join(snapshotter, "metadata.db")).get(b"v1", {}).get(b"snapshots", {})
    for key, snapshot in kept.items():
        space, _number, name = key.decode().split("/", 2)
        number = str(varint(snapshot[b"id"], signed=False))
        yield space, f"snapshot {name}", os.path.join(snapshotter, "snapshots", number)


def objects(observation):
    """Return the path of each object of the Observation's Store: {key: path}."""
    engine = observation.engine
    if engine.image_store != "containerd":
        return dict(_graph_driver_objects(os.path.realpath(engine.root_dir), observation))
    found = _containerd_objects(os.path.realpath(engine.data_dirs[0]), engine)
    return {key: path for space, key, path in found if space == engine.namespace}


def _names(*path):
    try:
        return os.listdir(os.path.join(*path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _text(*path):
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
