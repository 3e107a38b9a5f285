# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which images and containers go, by their names, ages and labels."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.choose import (
    planned_containers,
    planned_images,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.patterns import (
    is_named,
    patterns,
    unmatched,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import NOW, container, image, observation, options

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("word", "matched", "others"),
    [
        ("team/base:*", ["team/base:1", f"team/base@{DIGEST}"], ["team/base2:1", "x/team/base:1"]),
        ("team/base", ["team/base:1", f"team/base@{DIGEST}"], ["team/base/x:1"]),
        ("team/base:1.*", ["team/base:1.2"], ["team/base:2", f"team/base@{DIGEST}"]),
        ("r.example/*/base:*", ["r.example/a/base:1"], ["r.example/a/b/base:1", "r.example/base:1"]),
        ("r.example/**", ["r.example/a/b/base:1", f"r.example/x@{DIGEST}"], ["r2.example/a:1"]),
        ("r.example:5000/app:?", ["r.example:5000/app:1"], ["r.example:5000/app:12", "r.example/app:1"]),
        ("r.example:5000/app", ["r.example:5000/app:1"], ["r.example:5001/app:1"]),
        ("docker.io/library/busybox:1", ["busybox:1"], ["library/busybox:1"]),
        ("docker.io/team/app", ["team/app:1"], ["app:1"]),
        ("app:[1-3]", ["app:2"], ["app:4", "app:12"]),
        ("app:[!1-3]", ["app:4"], ["app:2"]),
        ("app@sha256:abab*", [f"app@{DIGEST}"], ["app:1", f"app@sha256:{'cd' * 32}"]),
        ("a.b:1", ["a.b:1"], ["axb:1"]),
        ("**", ["a:1", f"r.example/a@{DIGEST}"], []),
    ],
)
def test_patterns_are_those_that_people_write(word, matched, others):
    (one,) = patterns([word], "images_keep")
    assert [name for name in (*matched, *others) if one.matches(name)] == matched


@pytest.mark.parametrize("word", ["abcdef012345", "sha256:abcdef012345", "abcdef012345" + "0" * 52])
def test_an_id_is_matched_from_its_beginning(word):
    wanted = patterns([word], "images_remove")
    assert is_named(image("sha256:abcdef012345" + "0" * 52), wanted)
    assert not is_named(image("sha256:abcdef012346" + "0" * 52, ["abcdef012345:1"]), wanted)


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "the list is empty"), (["a", " "], "is empty"), ([":1"], "':1'"), (["a[z-a]"], "is no pattern")],
)
def test_what_is_no_pattern_is_refused(words, says):
    with pytest.raises(BadOption, match=f"images_keep: .*{says}"):
        patterns(words, "images_keep")


def chosen(held, containers=(), store="graphdriver", **given):
    """The ids of those of the held images that go, and how many stay by reason, if nothing went."""
    seen = observation(images=held, containers=containers)
    seen = seen._replace(engine=seen.engine._replace(image_store=store))
    wanted = wanted_from_options(options(**given))
    reasons = {one.reason: one.count for one in kept(wanted, seen)}
    return [one.id for one in planned_images(wanted, seen)], reasons


IMAGES = [
    image("one", ["app:1"], age_days=9),
    image("two", ["app:2", "other:2"], age_days=8),
    image("three", ["app:3"], age_days=7),
    image("bare", age_days=1),
    image("base", digests=(f"r.example/base@{DIGEST}",), age_days=30),
]


def test_what_is_named_goes_unless_another_tag_or_a_container_holds_it():
    gone, reasons = chosen(IMAGES, images="keep", images_remove=["app:*"])
    assert gone == ["one", "three"] and reasons["named_otherwise"] == 1 and reasons["images_kept"] == 2
    assert chosen(IMAGES, images="keep", images_remove=["app", "other"])[0] == ["one", "two", "three"]
    assert chosen(IMAGES, images="keep", images_remove=["r.example/**"])[0] == ["base"]
    assert chosen(IMAGES, images_remove=["app:1"])[0] == ["one", "bare"]
    gone, reasons = chosen(IMAGES, [container("c", "one", running=True)], images="keep", images_remove=["app:1"])
    assert gone == [] and reasons["running_containers_image"] == 1


def test_neither_age_nor_label_keeps_what_is_named():
    given = {"images": "unused", "images_older_than": "100d", "images_filters": {"label": "x"}}
    assert chosen(IMAGES, images_remove=["app:1"], **given)[0] == ["one"]


def test_what_is_to_be_kept_stays_by_any_of_its_names():
    gone, reasons = chosen(IMAGES, images="unused", images_keep=["other:*", "r.example/*"])
    assert gone == ["one", "three", "bare"] and reasons["kept_image"] == 2
    assert chosen(IMAGES, images="unused", images_keep=["app:1"], images_remove=["app:1"])[0][0] == "two"


def test_the_newest_tags_of_each_repository_stay():
    gone, reasons = chosen(IMAGES, images="unused", images_keep_last=1)
    assert gone == ["one", "bare", "base"] and reasons["newest_tags"] == 2
    assert chosen(IMAGES, images="unused", images_keep_last=2)[0] == ["one", "bare", "base"]


@pytest.mark.parametrize("store", ["graphdriver", "containerd"])
def test_a_parent_that_nothing_names_and_that_is_to_be_kept_keeps_its_children(store):
    images = [image("sha256:" + "a" * 64), image("child", ["b:1"], parent="sha256:" + "a" * 64)]
    gone, reasons = chosen(images, store=store, images="unused", images_keep=["a" * 12])
    assert gone == [] and reasons["kept_image"] == 2


def test_patterns_that_match_nothing_are_told():
    assert unmatched(patterns(["app", "nothing:*", "r.example/*"], "images_keep"), IMAGES) == ["nothing:*"]


def test_containers_go_by_age_and_labels():
    hour = 3600
    containers = [
        container("old", "i", created=NOW // SECOND - 3 * hour, labels={"job": "1"}),
        container("young", "i", created=NOW // SECOND - hour // 2, labels={"job": "2"}),
        container("undated", "i"),
        container("runs", "i", running=True, created=1),
    ]
    seen = observation(containers=containers)

    def gone(**given):
        return [one.id for one in planned_containers(wanted_from_options(options(containers="stopped", **given)), seen)]

    assert gone() == ["old", "young", "undated"]
    assert gone(containers_older_than="1h") == ["old"]
    assert gone(containers_filters={"label": "job"}) == ["old", "young"]
    assert gone(containers_filters={"label!": "job=1"}) == ["young", "undated"]
    wanted = wanted_from_options(options(containers="stopped", containers_older_than="1h"))
    assert {one.reason: one.count for one in kept(wanted, seen)}["young_container"] == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"containers_older_than": "1h"}, "containers_older_than: it has no effect with containers=keep"),
        ({"containers_filters": {"label": "a"}}, "containers_filters: it has no effect with containers=keep"),
        ({"containers": "stopped", "containers_filters": {"until": "1h"}}, "Use the option containers_older_than"),
        ({"containers": "stopped", "containers_older_than": ""}, "containers_older_than: it is empty"),
        ({"images": "keep", "images_keep": ["a"]}, "images_keep: it has no effect with images=keep"),
        ({"images": "unused", "images_keep": []}, "images_keep: the list is empty"),
        ({"images": "unused", "images_remove": []}, "images_remove: the list is empty"),
        ({"images": "unused", "images_keep_last": 0}, "images_keep_last: 0 tags"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given, says):
    with pytest.raises(BadOption, match=says):
        wanted_from_options(options(**given))
