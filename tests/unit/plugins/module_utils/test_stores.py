# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._boltdb import Unreadable, read
from ansible_collections.buildfleet.buildcache.plugins.module_utils._layers import Store, chain_ids
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import plan, wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._stores import with_store
from ansible_collections.buildfleet.buildcache.tests.unit import bolt_writer
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    container,
    image,
    observation,
    options,
    record,
)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 60])
def test_a_database_is_read_as_it_was_written(tmp_path, count):
    tree = {
        b"bucket%03d" % number: {b"key%d" % inner: b"v" * inner for inner in range(number)} for number in range(count)
    }
    tree[b"long"] = b"x" * 9000
    bolt_writer.write(tmp_path / "db", tree)
    assert read(str(tmp_path / "db")) == tree


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 8192, b"\xff" * 8192])
def test_what_is_no_database_is_unreadable(tmp_path, content):
    (tmp_path / "db").write_bytes(content)
    with pytest.raises(Unreadable, match="db cannot be read"):
        read(str(tmp_path / "db"))
    with pytest.raises(Unreadable, match="none cannot be read"):
        read(str(tmp_path / "none"))


def test_chain_ids_are_those_of_the_image_specification():
    def digest(text):
        return hashlib.sha256(text.encode()).hexdigest()

    first, second, third = chain_ids(["sha256:a", "sha256:b", "sha256:c"], digest)
    assert first == "sha256:a"
    assert second == "sha256:" + digest("sha256:a sha256:b")
    assert third == "sha256:" + digest(f"{second} sha256:c")


# An old and a new image on one base; the cache has a record for each layer, and one that was never exported.
STORE = Store(
    sizes={"base": 100, "old": 10, "new": 20, "p": 5},
    references={"old": ["base"], "new": ["base"]},
    holders={"i-old": ["old"], "i-new": ["new"], "r-base": ["base"], "r-old": ["old"], "r-new": ["new"], "r-p": ["p"]},
    chains={"i-old": ["base", "old"], "i-new": ["base", "new"]},
    record_chains={"r-base": "base", "r-old": "old", "r-new": "new"},
)
HELD = observation(
    records=[
        record("r-base", 100, shared=True),
        record("r-old", 10, shared=True, parents=("r-base",)),
        record("r-new", 20, shared=True, parents=("r-base",)),
        record("r-p", 5, parents=("r-base",)),
    ],
    images=[image("i-old", unique=10), image("i-new", ["app:1"], unique=20)],
)


def gains(**given):
    """For each step of a prune of HELD: the ids, and the bytes that come back."""
    steps, _left = plan(wanted_from_options(options(**given)), replace(HELD, store=STORE))
    return [(step.ids, step.bytes) for step in steps[1:]]


def test_bytes_come_back_when_the_last_holder_lets_go():
    assert gains(build_cache=False) == [(("i-old",), 0), ((), 0)]
    assert gains(images="keep") == [((), 0), (("r-p",), 5)]
    assert gains() == [(("i-old",), 0), (("r-old", "r-p"), 15)]
    assert gains(images="keep", all=True) == [((), 0), (("r-new", "r-old", "r-p", "r-base"), 5)]
    assert gains(images="unused") == [(("i-old", "i-new"), 0), (("r-new", "r-old", "r-p", "r-base"), 135)]


def test_a_record_is_shared_as_long_as_a_descendant_is():
    # As the containerd store has it: images are known by their whole chains alone.
    store = replace(STORE, chains={"i-old": ["old"], "i-new": ["new"]})
    assert [one.shared for one in store.own(HELD.records)] == [False, True, True, False]
    assert [one.shared for one in store.shares(HELD.records)] == [True, True, True, False]
    left = store.without(["i-old", "i-new"])
    assert [one.shared for one in left.shares(HELD.records)] == [False, False, False, False]
    held = replace(HELD, store=store, images=())
    chosen, _left = plan(wanted_from_options(options(all=True, filters={"shared": True})), held)
    assert chosen[2].ids == ("r-new", "r-old")


def test_a_mark_that_a_records_own_chain_does_not_explain_is_an_ancestors():
    # Marked for an image of the base alone, which is what the engine knew of it; its own image is gone.
    store = replace(STORE, chains={"i-base": ["base"], "i-new": ["new"]})
    records = (*HELD.records[:2], record("r-top", 1, shared=True, parents=("r-old",)), *HELD.records[2:])
    marked = store.as_marked(records)
    assert [one.shared for one in store.shares(records)] == [True, False, False, True, False]
    assert marked.record_chains == {**STORE.record_chains, "r-top": "base"}
    assert [one.shared for one in marked.shares(records)] == [True, True, True, True, False]
    assert [one.shared for one in marked.without(["i-base"]).shares(records)] == [True, False, False, True, False]
    assert [one.shared for one in marked.without(["i-new"]).shares(records)] == [True, True, True, False, False]


def test_a_layer_without_a_record_comes_back_with_its_image():
    pulled = Store({"a": 7, "b": 3}, {"b": ["a"]}, {"i-old": ["b"], "i-new": ["a"]}, {}, {})
    steps, left = plan(wanted_from_options(options()), replace(HELD, store=pulled, records=()))
    assert steps[1].bytes == 3
    assert left.filesystems[0].free == HELD.filesystems[0].free + 3


def test_what_containers_wrote_comes_back_with_them():
    held = replace(HELD, store=STORE, containers=(container("c", "i-new", size=9),))
    assert plan(wanted_from_options(options(containers="stopped")), held)[0][0].bytes == 9


def test_the_graph_drivers_store_is_read_from_its_files(tmp_path):
    layers = tmp_path / "image" / "overlay2" / "layerdb" / "sha256"
    images = tmp_path / "image" / "overlay2" / "imagedb" / "content" / "sha256"
    images.mkdir(parents=True)
    (tmp_path / "buildkit").mkdir()
    top = hashlib.sha256(b"sha256:base sha256:top").hexdigest()
    for name, size, parent in (("base", 100, None), (top, 10, "sha256:base"), ("leaked", 50, None)):
        (layers / name).mkdir(parents=True)
        (layers / name / "size").write_text(str(size))
        if parent:
            (layers / name / "parent").write_text(parent)
    (images / "1").write_text(json.dumps({"rootfs": {"diff_ids": ["sha256:base", "sha256:top"]}}))
    bolt_writer.write(tmp_path / "buildkit" / "snapshots.db", {b"exported": {b"chainid": b"sha256:base"}, b"own": {}})
    held = observation([record("exported", 100, shared=True), record("own", 5)])
    held = replace(held, engine=replace(held.engine, root_dir=str(tmp_path), data_dirs=(str(tmp_path),)))
    store = with_store(held).store
    assert store.sizes == {"sha256:base": 100, f"sha256:{top}": 10, "own": 5}
    assert store.record_chains == {"exported": "sha256:base"}
    assert [one.shared for one in store.shares(held.records)] == [True, False]
    assert [one.shared for one in store.without(["sha256:1"]).shares(held.records)] == [False, False]


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
        b"sha256:blob": {b"size": varint(400)},
        b"sha256:garbage": {b"size": varint(7)},
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
    images = {b"docker.io/library/app:1": {b"target": {b"digest": b"sha256:index"}}}
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
    engine = replace(
        held.engine,
        image_store="containerd",
        storage_driver="overlayfs",
        root_dir=str(engine_root),
        data_dirs=(str(root), str(engine_root)),
    )
    store = with_store(replace(held, engine=engine)).store

    def gain(*gone):
        return store.bytes - store.without(gone).bytes

    assert gain() == 7
    assert gain("exported") == 607
    assert gain("sha256:index") == 7 + 1 + 2 + 3 + 500
    assert gain("exported", "sha256:index") == 7 + 600 + 1 + 2 + 3 + 500 + 400
    assert gain("mount") == 37
    assert [one.shared for one in store.shares(held.records)] == [True, False, True]
    assert [one.shared for one in store.without(["sha256:index"]).shares(held.records)] == [False, False, False]


def test_a_store_that_cannot_be_read_is_reported():
    with pytest.raises(Unreadable, match="cannot be read"):
        with_store(observation())
    elsewhere = observation()
    with pytest.raises(Unreadable, match="on another host"):
        with_store(replace(elsewhere, engine=replace(elsewhere.engine, data_dirs=())))
