# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As little as is needed: by hand, and that counting down says what reckoning anew does, on random stores."""

from __future__ import annotations

import random

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import LastUse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.layers import Store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.shared import Shared
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.tally import Tally
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    DAY,
    NOW,
    container,
    filesystem,
    image,
    observation,
    options,
    record,
)


def used(day):
    return f"2026-01-0{day}T12:00:00Z"


def projects(number=4, **given):
    """So many projects, each with an image and a record of its layer, the first used first: 100 bytes each."""
    names = [f"p{one}" for one in range(1, number + 1)]
    layers = {f"i-{name}": [name] for name in names}
    store = Store(
        dict.fromkeys(names, 100),
        {},
        {**layers, **{f"r-{name}": [name] for name in names}},
        layers,
        {f"r-{name}": name for name in names},
        layers,
        layers,
    )
    held = observation(
        [record(f"r-{name}", 100, used(day), shared=True) for day, name in enumerate(names, 1)],
        [image(f"i-{name}", [f"{name}:1"], unique=100) for name in names],
        filesystems=[filesystem(1000, 200)],
        **given,
    )
    uses = {f"i-{name}": LastUse(parse_timestamp(used(day)), "build") for day, name in enumerate(names, 1)}
    return held._replace(store=store, uses=uses)


def gone(held, low, **given):
    """What goes so that so many bytes are available; 100 are."""
    marks = {"high_watermark": "101", "low_watermark": str(low)}
    steps, _left = plan(wanted_from_options(options(images="unused", **marks, **given)), held)
    return [step.ids for step in steps[1:]]


def test_images_and_their_records_go_by_one_order_of_last_use():
    assert gone(projects(), 150) == [("i-p1",), ("r-p1",)]
    assert gone(projects(), 200) == [("i-p1",), ("r-p1",)]
    assert gone(projects(), 201) == [("i-p1", "i-p2"), ("r-p1", "r-p2")]
    assert gone(projects(), 5000) == [("i-p1", "i-p2", "i-p3", "i-p4"), ("r-p1", "r-p2", "r-p3", "r-p4")]


def test_records_that_were_used_before_an_image_go_before_it():
    held = projects()
    alone = record("alone", 100, "2025-12-01T00:00:00Z")
    store = held.store._replace(
        sizes={**held.store.sizes, "alone": 100}, holders={**held.store.holders, "alone": ["alone"]}
    )
    held = held._replace(records=(*held.records, alone), store=store)
    assert gone(held, 200) == [(), ("alone",)]
    assert gone(held, 250) == [("i-p1",), ("alone", "r-p1")]
    # Without the build cache images alone make up for it, and free nothing that records hold.
    assert gone(held, 200, build_cache=False) == [("i-p1", "i-p2", "i-p3", "i-p4"), ()]


def test_an_image_of_which_no_use_is_known_goes_last():
    held = projects(2)
    held = held._replace(uses={"i-p2": held.uses["i-p2"]})
    assert gone(held, 200) == [("i-p2",), ("r-p2",)]


def test_the_oldest_containers_go_first_and_only_as_many_as_are_needed():
    held = projects(
        1, containers=[container(str(n), "i-p1", size=50, created=NOW // SECOND - n * DAY) for n in (1, 3, 2)]
    )
    marks = {"high_watermark": "101", "low_watermark": "200", "containers": "stopped"}
    steps, _left = plan(wanted_from_options(options(**marks)), held)
    assert [step.ids for step in steps] == [("3", "2"), (), ()]


def test_a_parent_that_the_engine_removes_with_its_child_is_in_the_plan():
    held = observation(
        images=[
            image("parent", unique=100),
            image("child", ["c:1"], unique=100, parent="parent"),
            image("other", ["o:1"]),
        ],
        filesystems=[filesystem(1000, 200)],
    )
    uses = {"child": LastUse(1, "created"), "other": LastUse(2, "created"), "parent": LastUse(3, "arrived")}
    assert gone(held._replace(uses=uses), 150)[0] == ("child", "parent")


def test_a_limit_of_the_cache_holds_whatever_is_missing():
    held = projects()._replace(images=(), store=None)
    held = held._replace(records=tuple(one._replace(shared=False) for one in held.records))
    assert gone(held, 450)[1] == ("r-p1", "r-p2", "r-p3", "r-p4")
    assert gone(held, 450, reserved_space="201")[1] == ("r-p1", "r-p2")
    assert gone(held, 250, reserved_space="150")[1] == ("r-p1", "r-p2")


def test_only_types_that_are_chosen_go():
    held = projects(3)._replace(images=(), store=None)
    kinds = ("regular", "source.local", "exec.cachemount")
    held = held._replace(records=tuple(one._replace(shared=False, type=kind) for one, kind in zip(held.records, kinds)))
    assert gone(held, 150, types=["source.local", "regular"])[1] == ("r-p2",)
    assert gone(held, 250, types=["source.local", "regular"])[1] == ("r-p2", "r-p1")
    assert gone(held, 550, types=["source.local", "regular"])[1] == ("r-p2", "r-p1")


def some_store(chance):
    """A random store of layers in trees, images and records on them."""
    keys = [f"l{n}" for n in range(chance.randint(1, 12))]
    below = {key: [chance.choice(keys[:n])] for n, key in enumerate(keys) if n and chance.random() < 0.7}

    def chain(key):
        return (chain(below[key][0]) if key in below else []) + [key]

    tops = {f"i{n}": chance.choice(keys) for n in range(chance.randint(1, 6))}
    of_records = {f"r{n}": chance.choice(keys) for n in range(chance.randint(1, 10))}
    whole = chance.random() < 0.5
    chains = {name: [top] if whole else chain(top) for name, top in tops.items()}
    holders = {name: [key] for name, key in {**tops, **of_records}.items()}
    store = Store({key: chance.randint(0, 50) for key in keys}, below, holders, chains, of_records)
    store = store._replace(inodes={key: chance.randint(1, 9) for key in keys}).without(())
    names = list(of_records)
    records = [
        record(
            name, store.sizes[of_records[name]], parents=tuple(chance.sample(names[:n], min(n, chance.randint(0, 2))))
        )
        for n, name in enumerate(names)
    ]
    marked = tuple(one._replace(shared=True) for one in records)
    held = observation(marked, [image(name, unique=3) for name in tops])
    return held._replace(store=store, records=store.shares(held.records))


@pytest.mark.parametrize("seed", range(60))
def test_counting_down_says_what_reckoning_anew_does(seed):
    chance = random.Random(seed)
    held = some_store(chance)
    tally, shared = Tally(held), Shared(held)
    assert shared.names == {one.id for one in held.records if one.shared}
    images = list(held.images)
    chance.shuffle(images)
    for one in images:
        store = held.store.without([one.id])
        gain = held.store.bytes - store.bytes, held.store.inode_count - store.inode_count
        assert tally.release(one) == gain
        records = store.shares(held.records)
        freed = {one.id for one in held.records if one.shared} - {one.id for one in records if one.shared}
        assert set(shared.without(one)) == freed
        held = held._replace(store=store, records=records)
    for one in held.records:
        store = held.store.without([one.id])
        assert tally.release(one)[0] == held.store.bytes - store.bytes
        held = held._replace(store=store)


def test_without_a_store_the_engines_figures_count():
    held = projects()._replace(store=None)
    tally, shared = Tally(held), Shared(held)
    assert tally.release(held.images[0]) == (100, 0) and tally.own_inodes("r-p1") == 0
    assert tally.release(held.records[0]) == (0, 0) and shared.without(held.images[0]) == []
