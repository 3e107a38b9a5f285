# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import LastUse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.last_use import last_uses
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.layers import Store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    DAY,
    NOW,
    container,
    image,
    observation,
    options,
    record,
)


def ago(days):
    return NOW - int(days * DAY * SECOND)


def store(layers, record_chains=None):
    return Store({}, {}, {}, layers, record_chains or {}, layers, {name: held[-1:] for name, held in layers.items()})


def test_the_latest_of_all_that_is_known_counts():
    held = observation(
        images=[
            image("run", age_days=9),
            image("stopped", age_days=9),
            image("seen", age_days=9),
            image("pulled", age_days=9, arrived=ago(2)),
            image("made", age_days=9),
            image("nothing", created=0),
            image("later", created=NOW // SECOND + DAY),
        ],
        containers=[
            container("1", "run", running=True),
            container("2", "stopped", created=ago(3) // SECOND),
            container("3", "stopped", created=ago(4) // SECOND),
        ],
    )
    assert last_uses(held, {"seen": ago(5), "made": ago(20)}) == {
        "run": LastUse(NOW, "container"),
        "stopped": LastUse(ago(3), "container"),
        "seen": LastUse(ago(5), "seen"),
        "pulled": LastUse(ago(2), "arrived"),
        "made": LastUse(ago(9), "created"),
    }


def test_the_build_cache_uses_the_image_with_a_records_very_layers():
    records = [
        record("r-base", used="2026-01-02T12:00:00Z"),
        record("r-app", used="2026-01-08T12:00:00Z", parents=("r-base",)),
        record("r-other", used="2026-01-09T12:00:00Z"),
    ]
    layers = {"base": ["b"], "app": ["b", "a"], "apart": ["b", "x"]}
    held = observation(records, [image(name, age_days=30) for name in layers])
    held = held._replace(store=store(layers, {"r-base": "b", "r-app": "a", "r-other": "y"}))
    used = parse_timestamp("2026-01-08T12:00:00Z")
    # The record of the base was used when the one that builds on it was; of the third image nothing but the base was.
    assert last_uses(held) == {
        "base": LastUse(used, "build"),
        "app": LastUse(used, "build"),
        "apart": LastUse(ago(30), "created"),
    }


def test_what_was_made_on_an_image_uses_it():
    layers = {"base": ["b"], "app": ["b", "a"]}
    held = observation(
        images=[
            image("base", age_days=30),
            image("app", age_days=30, arrived=ago(1)),
            image("parent", age_days=30),
            image("middle", age_days=30, parent="parent"),
            image("child", age_days=2, parent="middle"),
        ]
    )
    uses = last_uses(held._replace(store=store(layers)))
    assert uses["base"] == LastUse(ago(1), "child")
    assert uses["parent"] == uses["middle"] == LastUse(ago(2), "child")


def test_images_go_by_their_last_use_and_those_of_unknown_use_stay():
    wanted = wanted_from_options(options(images="unused", images_unused_for="5d"))
    held = observation(
        images=[image("young", ["a"]), image("old", ["b"]), image("older", ["c"]), image("unknown", ["d"])]
    )
    # Where nobody has reckoned, all may go: such a plan only says that it is worth reckoning.
    assert plan(wanted, held)[0][1].ids == ("young", "old", "older", "unknown")
    known = held._replace(
        uses={"young": LastUse(ago(4), "seen"), "old": LastUse(ago(6), "seen"), "older": LastUse(ago(7), "seen")}
    )
    steps, left = plan(wanted, known)
    assert steps[1].ids == ("older", "old")
    assert {one.reason: one.count for one in kept(wanted, left)} == {"image_used_lately": 1, "image_of_unknown_use": 1}


def test_what_has_come_lately_is_protected_whatever_it_is_asked_by():
    images = [
        image("pulled", age_days=400, arrived=ago(0.01)),
        image("made", created=NOW // SECOND - 60),
        image("named", ["old/app:1"], age_days=400, arrived=ago(0.01)),
        image("of-a-date-to-come", created=NOW // SECOND + 9 * DAY),
        image("old"),
    ]
    wanted = wanted_from_options(options(images_remove=["old/**"], protect_for="1h"))
    steps, left = plan(wanted, observation(images=images))
    assert steps[1].ids == ("of-a-date-to-come", "old")
    assert {one.reason: one.count for one in kept(wanted, left)} == {"protected_image": 3}
    for nothing in ("0s", "0", "0h"):
        wanted = wanted_from_options(options(images_remove=["old/**"], protect_for=nothing))
        assert len(plan(wanted, observation(images=images))[0][1].ids) == 5
