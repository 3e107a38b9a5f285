# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import os
from unittest import mock

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.boltdb import Unreadable
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import _namespace
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.stores import inexact, with_store
from ansible_collections.buildfleet.buildcache.tests.unit import bolt_writer
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    NOW,
    container,
    image,
    observation,
    options,
    record,
)


def name_of(text):
    """A digest's hexadecimal part."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_layer(root, name, size, parent=None, files=None):
    """Write a layer as the graph driver has it; ``files`` replace or, where None, leave out one of its files."""
    layer = root / "image" / "overlay2" / "layerdb" / "sha256" / name
    layer.mkdir(parents=True)
    content = {"size": str(size), "diff": f"sha256:{name}", "cache-id": name, "parent": parent}
    for file, text in {**content, **(files or {})}.items():
        if text is not None:
            (layer / file).write_text(text)


def write_image(root, diff_ids, parent=None):
    """Write an image as the graph driver has it, and return its id."""
    imagedb = root / "image" / "overlay2" / "imagedb"
    text = json.dumps({"rootfs": {"diff_ids": diff_ids}, "parent": parent})
    (imagedb / "content" / "sha256").mkdir(parents=True, exist_ok=True)
    (imagedb / "content" / "sha256" / name_of(text)).write_text(text)
    if parent:
        (imagedb / "metadata" / "sha256" / name_of(text)).mkdir(parents=True)
        (imagedb / "metadata" / "sha256" / name_of(text) / "parent").write_text(parent)
    return f"sha256:{name_of(text)}"


def held_at(root, *records, images=()):
    """An Observation of an engine with its data there."""
    held = observation(records, images)
    return held._replace(engine=held.engine._replace(root_dir=str(root), data_dirs=(str(root),)))


def go_time(nanoseconds):
    """What Go's time.MarshalBinary writes of a time (version, seconds since the year 1, nanoseconds, offset)."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return bytes([1]) + (seconds + 62135596800).to_bytes(8, "big") + rest.to_bytes(4, "big") + b"\xff\xff"


GO_TIME, LATER = go_time(NOW), go_time(NOW + 5 * SECOND)
BASE, OTHER = name_of("base"), name_of("other")


def test_the_graph_drivers_store_is_read_from_its_files(tmp_path):
    (tmp_path / "buildkit").mkdir()
    top = name_of(f"sha256:{BASE} sha256:top")
    write_layer(tmp_path, BASE, 100)
    write_layer(tmp_path, top, 10, f"sha256:{BASE}")
    write_layer(tmp_path, name_of("nobody's"), 50)
    image = write_image(tmp_path, [f"sha256:{BASE}", "sha256:top"])
    exported = {b"exported": {b"chainid": f"sha256:{BASE}".encode()}, b"own": {}}
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", exported)
    held = held_at(tmp_path, record("exported", 100, shared=True), record("own", 5))
    store = with_store(held).store
    assert store.sizes == {f"sha256:{BASE}": 100, f"sha256:{top}": 10, "own": 5}
    assert store.record_chains == {"exported": f"sha256:{BASE}"}
    assert [one.shared for one in store.shares(held.records)] == [True, False]
    assert [one.shared for one in store.without([image]).shares(held.records)] == [False, False]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (OTHER, dict.fromkeys(("size", "diff", "cache-id", "parent"))),
        (OTHER, {"size": ""}),
        (OTHER, {"size": None}),
        (OTHER, {"diff": ""}),
        (OTHER, {"diff": None}),
        (OTHER, {"cache-id": ""}),
        (OTHER, {"parent": ""}),
        (OTHER, {"parent": f"sha256:{name_of('gone')}"}),
        (f"{OTHER}-1234-removing", {}),
    ],
)
def test_a_layer_that_dockerd_passes_over_is_passed_over(tmp_path, name, files):
    (tmp_path / "buildkit").mkdir()
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {})
    write_layer(tmp_path, BASE, 100)
    write_layer(tmp_path, name, 10, files=files)
    write_layer(tmp_path, name_of("above"), 1, f"sha256:{name}")
    image, lost = write_image(tmp_path, [f"sha256:{BASE}"]), write_image(tmp_path, [f"sha256:{OTHER}"])
    (tmp_path / "image/overlay2/imagedb/content/sha256" / name_of("torn")).write_text("{")
    (tmp_path / "image/overlay2/layerdb/mounts/leftover").mkdir(parents=True)
    store = with_store(held_at(tmp_path)).store
    assert store.sizes == {f"sha256:{BASE}": 100}
    assert set(store.holders) >= {image}
    assert lost not in store.holders


@pytest.mark.parametrize(
    ("tagged", "arrived"),
    [(None, 5), ("1970-01-01T00:00:07.5Z", 7.5), ("1970-01-01T00:00:03Z", 5), ("0001-01-01T00:00:00Z", 5), ("19", 5)],
)
def test_an_image_arrives_when_its_text_is_written_or_when_it_is_tagged(tmp_path, tagged, arrived):
    (tmp_path / "buildkit").mkdir()
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {})
    write_layer(tmp_path, BASE, 100)
    name = write_image(tmp_path, [f"sha256:{BASE}"])
    imagedb, digest = tmp_path / "image/overlay2/imagedb", name.partition(":")[2]
    os.utime(imagedb / "content/sha256" / digest, (5, 5))
    if tagged:
        (imagedb / "metadata/sha256" / digest).mkdir(parents=True)
        (imagedb / "metadata/sha256" / digest / "lastUpdated").write_text(tagged)
    (seen,) = with_store(held_at(tmp_path, images=(image(name),))).images
    assert seen.arrived == arrived * SECOND


def test_a_container_holds_the_layers_of_an_image_that_was_removed_by_force(tmp_path):
    (tmp_path / "buildkit").mkdir()
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {})
    write_layer(tmp_path, BASE, 100)
    mount = tmp_path / "image" / "overlay2" / "layerdb" / "mounts" / "container"
    mount.mkdir(parents=True)
    (mount / "parent").write_text(f"sha256:{BASE}")
    held = held_at(tmp_path)._replace(containers=(container("container", "gone", size=1),))
    wanted = wanted_from_options(options(containers="stopped"))
    assert plan(wanted, with_store(held))[0][0].bytes == 101


def test_parents_that_the_engine_does_not_list_go_with_their_last_child(tmp_path):
    (tmp_path / "buildkit").mkdir()
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {})
    write_layer(tmp_path, BASE, 100)
    chain = name_of(f"sha256:{BASE} sha256:top")
    write_layer(tmp_path, chain, 10, f"sha256:{BASE}")
    parent = write_image(tmp_path, [f"sha256:{BASE}"])
    child = write_image(tmp_path, [f"sha256:{BASE}", "sha256:top"], parent)
    held = with_store(held_at(tmp_path, images=[image(child, parent=parent)]))
    assert [one.id for one in held.images if one.hidden] == [parent]
    steps, left = plan(wanted_from_options(options()), held)
    assert (steps[1].ids, steps[1].bytes, left.images) == ((child, parent), 110, ())
    used = held._replace(containers=(container("c", parent),))
    steps, left = plan(wanted_from_options(options()), used)
    assert (steps[1].ids, steps[1].bytes) == ((child,), 10)
    assert [(one.reason, one.bytes) for one in kept(wanted_from_options(options()), left)] == [
        ("stopped_containers_image", 100)
    ]


def test_with_vfs_each_layer_is_a_copy_of_those_below_it(tmp_path):
    (tmp_path / "buildkit").mkdir()
    exported = {b"exported": {b"chainid": f"sha256:{BASE}".encode()}}
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", exported)
    chain = name_of(f"sha256:{BASE} sha256:top")
    write_layer(tmp_path, BASE, 100)
    write_layer(tmp_path, chain, 10, f"sha256:{BASE}")
    write_image(tmp_path, [f"sha256:{BASE}", "sha256:top"])
    (tmp_path / "image" / "overlay2").rename(tmp_path / "image" / "vfs")
    mount = tmp_path / "image" / "vfs" / "layerdb" / "mounts" / "container"
    mount.mkdir(parents=True)
    (mount / "parent").write_text(f"sha256:{chain}")
    held = held_at(tmp_path, record("exported", 100, shared=True), record("own", 5, parents=("exported",)))
    store = with_store(held._replace(engine=held.engine._replace(storage_driver="vfs"))).store
    assert store.bytes == 100 + 110 + 105 + 2 * 110
    assert store.bytes - store.without(["own"]).bytes == 105
    assert store.bytes - store.without(["container"]).bytes == 220


@pytest.mark.parametrize(
    ("driver", "why"),
    [
        ("overlay2", ""),
        ("overlayfs", ""),
        ("vfs", "less may come back"),
        ("btrfs", "after the run"),
        ("new", "not known"),
    ],
)
def test_where_bytes_are_not_exact_it_is_said_in_which_direction(driver, why):
    assert why in inexact(observation().engine._replace(storage_driver=driver))
    assert bool(why) == bool(inexact(observation().engine._replace(storage_driver=driver)))


def test_a_store_of_another_engine_is_not_taken_for_this_ones(tmp_path):
    (tmp_path / "buildkit").mkdir()
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {})
    write_layer(tmp_path, BASE, 100)
    write_image(tmp_path, [f"sha256:{BASE}"])
    with pytest.raises(Unreadable, match="none of the engine's images"):
        with_store(held_at(tmp_path, images=[image("other")]))


@pytest.mark.parametrize(
    ("info", "root", "command", "namespace"),
    [
        ({}, "/var/lib/docker", [], "moby"),
        ({"Containerd": {"Namespaces": {"Containers": "told"}}}, "/r/1.2", ["--containerd-namespace=x"], "told"),
        ({}, "/r", ["dockerd", "--containerd-namespace=flag"], "flag"),
        ({}, "/r", ["dockerd", "--containerd-namespace", "flag", "--debug"], "flag"),
        ({}, "/var/lib/docker/100000.100001", ["dockerd"], "moby-100000.100001"),
    ],
)
def test_the_namespace_is_the_engines(info, root, command, namespace):
    assert _namespace(info, root, command) == namespace


def varint(number):
    """As Go's binary.PutVarint writes a number that is not negative."""
    number, data = number << 1, bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def test_the_containerd_store_is_read_from_its_metadata(tmp_path):
    root, engine_root = tmp_path / "containerd", tmp_path / "docker"
    blobs = root / "io.containerd.content.v1.content" / "blobs" / "sha256"
    for directory in (
        blobs,
        root / "io.containerd.metadata.v1.bolt",
        root / "io.containerd.snapshotter.v1.overlayfs",
        engine_root / "buildkit" / "containerd-overlayfs",
    ):
        directory.mkdir(parents=True)
    documents = {
        "index": {"manifests": [{"digest": "sha256:manifest"}, {"digest": "sha256:never-pulled"}]},
        "manifest": {"config": {"digest": "sha256:config"}, "layers": [{"digest": "sha256:blob"}]},
        "config": {"config": {"Cmd": ["true"]}, "rootfs": {"diff_ids": ["sha256:base"]}},
    }
    for name, document in documents.items():
        (blobs / name).write_text(json.dumps(document))
    label = b"containerd.io/gc.ref."
    content = {
        b"sha256:index": {b"size": varint(1), b"labels": {label + b"content.0": b"sha256:manifest"}},
        b"sha256:manifest": {
            b"size": varint(2),
            b"labels": {label + b"content.0": b"sha256:config", label + b"content.1": b"sha256:blob"},
        },
        b"sha256:config": {b"size": varint(3), b"labels": {label + b"snapshot.overlayfs": b"sha256:base"}},
        b"sha256:blob": {b"size": varint(400), b"labels": {label + b"content.blob-gzip": b"sha256:blob"}},
        b"sha256:garbage": {b"size": varint(7)},
        b"sha256:untagged": {b"size": varint(11), b"labels": {label + b"content.0": b"sha256:classic"}},
        b"sha256:classic": {
            b"size": varint(13),
            b"labels": {label + b"content.moby/container.config": b"sha256:container"},
        },
        b"sha256:container": {b"size": varint(17)},
    }
    snapshots = {
        b"sha256:base": {b"name": b"moby/1/x"},
        b"exported": {b"name": b"moby/2/y"},
        b"mount": {b"name": b"moby/3/z"},
    }
    leases = {
        b"exported": {b"content": {b"sha256:blob": b""}, b"snapshots": {b"overlayfs": {b"exported": b""}}},
        b"exported-variants": {b"content": {b"sha256:blob": b""}},
        b"mount": {b"snapshots": {b"overlayfs": {b"mount": b""}}},
    }
    images = {
        b"docker.io/library/app:1": {b"target": {b"digest": b"sha256:index"}, b"updatedat": GO_TIME},
        b"moby-dangling@sha256:index": {b"target": {b"digest": b"sha256:index"}, b"updatedat": LATER},
        b"moby-dangling@sha256:untagged": {b"target": {b"digest": b"sha256:untagged"}},
    }
    moby = {
        b"content": {b"blob": content},
        b"images": images,
        b"leases": leases,
        b"snapshots": {b"overlayfs": snapshots},
    }
    bolt_writer.write(root / "io.containerd.metadata.v1.bolt" / "meta.db", {b"v1": {b"moby": moby}})
    usage = {b"moby/1/x": {b"size": varint(500)}, b"moby/2/y": {b"size": varint(600)}, b"moby/3/z": {b"id": b"1"}}
    bolt_writer.write(root / "io.containerd.snapshotter.v1.overlayfs" / "metadata.db", {b"v1": {b"snapshots": usage}})
    bolt_writer.write(
        engine_root / "buildkit" / "containerd-overlayfs" / "metadata_v2.db",
        {b"_main": {b"exported": {b"cache.chainID": b'{"value":"sha256:base"}'}, b"mount": {b"x": b"y"}}},
    )
    # What was never exported has the chain of what it builds on, and so counts as shared where that is an image's.
    stage = record("stage", 0, shared=True, parents=("exported",))
    held = observation([record("exported", 1000, shared=True), record("mount", 30), stage])
    engine = held.engine._replace(
        image_store="containerd",
        storage_driver="overlayfs",
        root_dir=str(engine_root),
        data_dirs=(str(root), str(engine_root)),
    )
    listed = held._replace(engine=engine, images=(image("sha256:index"),))
    seen = with_store(listed)
    store = seen.store
    assert [(one.id, one.size) for one in seen.images if one.hidden] == [("sha256:untagged", 11 + 13)]

    def gain(*gone):
        return store.bytes - store.without(gone).bytes

    assert store.references["sha256:blob"] == []
    assert [one.arrived for one in seen.images if not one.hidden] == [NOW + 5 * SECOND]
    assert gain() == 7
    assert gain("exported") == 607
    assert gain("sha256:index") == 7 + 1 + 2 + 3 + 500
    assert gain("exported", "sha256:index") == 7 + 600 + 1 + 2 + 3 + 500 + 400
    assert gain("mount") == 37
    assert [one.shared for one in store.shares(held.records)] == [True, False, True]
    assert [one.shared for one in store.without(["sha256:index"]).shares(held.records)] == [False, False, False]
    elsewhere = listed._replace(engine=engine._replace(namespace="moby-1.1"))
    with pytest.raises(Unreadable, match="no namespace moby-1.1, but moby"):
        with_store(elsewhere)


def test_a_blob_that_is_not_compressed_is_not_its_layers_snapshot(tmp_path):
    root = tmp_path / "containerd"
    for directory in ("io.containerd.metadata.v1.bolt", "io.containerd.snapshotter.v1.overlayfs"):
        (root / directory).mkdir(parents=True)
    label = b"containerd.io/gc.ref."
    content = {
        b"sha256:image": {
            b"size": varint(1),
            b"labels": {label + b"content.0": b"sha256:same", label + b"snapshot.overlayfs": b"sha256:same"},
        },
        b"sha256:same": {b"size": varint(10)},
    }
    moby = {
        b"content": {b"blob": content},
        b"images": {b"moby-dangling@sha256:image": {b"target": {b"digest": b"sha256:image"}}},
        b"snapshots": {b"overlayfs": {b"sha256:same": {b"name": b"moby/1/x"}}},
    }
    bolt_writer.write(root / "io.containerd.metadata.v1.bolt" / "meta.db", {b"v1": {b"moby": moby}})
    usage = {b"v1": {b"snapshots": {b"moby/1/x": {b"size": varint(200)}}}}
    bolt_writer.write(root / "io.containerd.snapshotter.v1.overlayfs" / "metadata.db", usage)
    held = held_at(root, images=[image("sha256:image")])
    engine = held.engine._replace(image_store="containerd", storage_driver="overlayfs")
    store = with_store(held._replace(engine=engine)).store
    assert store.bytes == 211
    assert store.without(["sha256:image"]).bytes == 0


@pytest.mark.parametrize("names", [("c:1", "loaded:1"), ("loaded:1", "c:1")])
def test_an_image_has_the_parent_that_any_of_its_names_has(tmp_path, names):
    """An image that is loaded under a second name has no parent there, and the engine tells that of either name."""
    for directory in ("io.containerd.metadata.v1.bolt", "io.containerd.snapshotter.v1.overlayfs"):
        (tmp_path / directory).mkdir(parents=True)
    label = {b"labels": {b"org.mobyproject.image.parent": b"sha256:parent"}}
    child, parent = {b"target": {b"digest": b"sha256:child"}}, {b"target": {b"digest": b"sha256:parent"}}
    images = {name.encode(): {**child, **(label if name == "c:1" else {})} for name in names}
    images[b"moby-dangling@sha256:parent"] = parent
    content = {name: {b"size": varint(1)} for name in (b"sha256:child", b"sha256:parent")}
    moby = {b"content": {b"blob": content}, b"images": images}
    bolt_writer.write(tmp_path / "io.containerd.metadata.v1.bolt" / "meta.db", {b"v1": {b"moby": moby}})
    bolt_writer.write(tmp_path / "io.containerd.snapshotter.v1.overlayfs" / "metadata.db", {b"v1": {b"snapshots": {}}})
    listed = held_at(tmp_path, images=[image("sha256:child", ["c:1", "loaded:1"])])
    held = with_store(
        listed._replace(engine=listed.engine._replace(image_store="containerd", storage_driver="overlayfs"))
    )
    assert {one.id: (one.parent, one.hidden) for one in held.images} == {
        "sha256:child": ("sha256:parent", False),
        "sha256:parent": ("", True),
    }


def test_a_store_that_cannot_be_read_is_reported_with_what_helps(monkeypatch):
    with pytest.raises(Unreadable, match="snapshots.db cannot be read: .* please report it"):
        with_store(observation())
    monkeypatch.setattr("os.listdir", mock.Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(Unreadable, match="Permission denied. Run the task with become: true"):
        with_store(observation())
    elsewhere = observation()
    with pytest.raises(Unreadable, match="on another host"):
        with_store(elsewhere._replace(engine=elsewhere.engine._replace(data_dirs=())))
