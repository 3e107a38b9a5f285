# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose layers they are, by a Store that is made by hand. Those that are read from disk: _engine/test_stores.py."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.layers import Store, chain_ids
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import container, image, observation, options, record


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
    steps, _left = plan(wanted_from_options(options(**given)), HELD._replace(store=STORE))
    return [(step.ids, step.bytes) for step in steps[1:]]


def test_bytes_come_back_when_the_last_holder_lets_go():
    assert gains(build_cache=False) == [(("i-old",), 0), ((), 0)]
    assert gains(images="keep") == [((), 0), (("r-p",), 5)]
    assert gains() == [(("i-old",), 0), (("r-old", "r-p"), 15)]
    assert gains(images="keep", all=True) == [((), 0), (("r-new", "r-old", "r-p", "r-base"), 5)]
    assert gains(images="unused") == [(("i-old", "i-new"), 0), (("r-new", "r-old", "r-p", "r-base"), 135)]


def test_a_record_is_shared_as_long_as_a_descendant_is():
    # As the containerd store has it: images are known by their whole chains alone.
    store = STORE._replace(chains={"i-old": ["old"], "i-new": ["new"]})
    assert [one.shared for one in store.own(HELD.records)] == [False, True, True, False]
    assert [one.shared for one in store.shares(HELD.records)] == [True, True, True, False]
    left = store.without(["i-old", "i-new"])
    assert [one.shared for one in left.shares(HELD.records)] == [False, False, False, False]
    held = HELD._replace(store=store, images=())
    chosen, _left = plan(wanted_from_options(options(all=True, filters={"shared": True})), held)
    assert chosen[2].ids == ("r-new", "r-old")


def test_a_mark_that_a_records_own_chain_does_not_explain_is_an_ancestors():
    # Marked for an image of the base alone, which is what the engine knew of it; its own image is gone.
    store = STORE._replace(chains={"i-base": ["base"], "i-new": ["new"]})
    records = (*HELD.records[:2], record("r-top", 1, shared=True, parents=("r-old",)), *HELD.records[2:])
    marked = store.as_marked(records)
    assert [one.shared for one in store.shares(records)] == [True, False, False, True, False]
    assert marked.record_chains == {**STORE.record_chains, "r-top": "base", "r-old": "base"}
    assert [one.shared for one in marked.shares(records)] == [True, True, True, True, False]
    # What lies between is held by that image too, once the marked record is gone.
    assert [one.shared for one in marked.shares(HELD.records)] == [True, True, True, False]
    assert [one.shared for one in marked.without(["i-base"]).shares(records)] == [True, False, False, True, False]
    assert [one.shared for one in marked.without(["i-new"]).shares(records)] == [True, True, True, False, False]


def test_a_layer_without_a_record_comes_back_with_its_image():
    pulled = Store({"a": 7, "b": 3}, {"b": ["a"]}, {"i-old": ["b"], "i-new": ["a"]}, {}, {})
    steps, left = plan(wanted_from_options(options()), HELD._replace(store=pulled, records=()))
    assert steps[1].bytes == 3
    assert left.filesystems[0].free == HELD.filesystems[0].free + 3


def test_what_containers_wrote_comes_back_with_them():
    held = HELD._replace(store=STORE, containers=(container("c", "i-new", size=9),))
    assert plan(wanted_from_options(options(containers="stopped")), held)[0][0].bytes == 9


def test_sizes_of_images_that_stay_are_those_of_afterwards():
    store = STORE._replace(layers={"i-old": ["base", "old"], "i-new": ["base", "new"]})
    _steps, left = plan(wanted_from_options(options()), HELD._replace(store=store))
    assert [(one.id, one.unique_size) for one in left.images] == [("i-new", 120)]


@pytest.mark.parametrize(
    ("version", "of_store", "bytes_after"),
    [("20.10.24", "graphdriver", 120), ("28.5.2", "graphdriver", 20), ("28.5.2", "containerd", 120)],
)
def test_layers_of_hidden_parents_are_shared_as_the_engine_counts_them(version, of_store, bytes_after):
    layers = {"i-old": ["base", "old"], "i-new": ["base", "new"], "i-hidden": ["base"]}
    hidden = image("i-hidden", unique=0, hidden=True)
    held = HELD._replace(
        store=STORE._replace(layers=layers),
        images=(HELD.images[0], hidden, HELD.images[1]._replace(parent="i-hidden")),
    )
    held = held._replace(engine=held.engine._replace(version=version, image_store=of_store))
    _steps, left = plan(wanted_from_options(options()), held)
    assert {one.id: one.unique_size for one in left.images}["i-new"] == bytes_after
