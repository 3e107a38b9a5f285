# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.steps import cache_rules
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    NOW,
    container,
    filesystem,
    image,
    observation,
    options,
    record,
)

OLD = "2026-01-01T12:00:00Z"


def ids(observation, **given):
    """The ids that each step of the plan removes."""
    return [step.ids for step in plan(wanted_from_options(options(**given)), observation)[0]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unused_for": ""}, "unused_for: it is empty"),
        ({"unused_for": "two days"}, "unused_for: 'two days' is not a duration"),
        ({"images_older_than": "1w"}, "images_older_than: '1w' is not a duration"),
        ({"max_used_space": "20 gigs"}, "max_used_space: '20 gigs' is not a size"),
        ({"reserved_space": " "}, "reserved_space: it is empty"),
        ({"min_free_space": "120%"}, "min_free_space: '120%' is not a percentage"),
        ({"types": []}, "types: the list is empty"),
        ({"types": ["internal", "regular"]}, "internal records are only removed with all=true"),
        ({"filters": {}}, "filters: it is empty"),
        ({"filters": {"id": ""}}, "filters: id has no value"),
        ({"filters": {"id": None}}, "filters: id has no value"),
        ({"filters": {"id": ".*"}}, "is not a record's id"),
        ({"filters": {"label": "keep"}}, "and so remove everything"),
        ({"filters": {"parents": "x"}}, "and so remove everything"),
        ({"filters": {"until": "24h"}}, "use the option unused_for"),
        ({"filters": {"type": "regular"}}, "use the option types"),
        ({"filters": {"colour": "red"}}, "'colour' is not a filter for build cache"),
        ({"filters": {"shared": True}}, "only removed with all=true"),
        ({"filters": {"private": False}}, "private can only be true"),
        ({"filters": {"shared": True, "private": True}, "all": True}, "match nothing"),
        ({"images_filters": {}}, "images_filters: it is empty"),
        ({"images_filters": {"label": []}}, "label has no value"),
        ({"images_filters": {"label": ["a", ""]}}, "label needs a label"),
        ({"images_filters": {"until": "1h"}}, "Use the option images_older_than"),
        ({"images_filters": {"reference": "x"}}, "known are label and label!"),
        ({"images": "keep", "images_older_than": "1h"}, "no effect with images=keep"),
        ({"images": "keep", "images_filters": {"label": "a"}}, "no effect with images=keep"),
        ({"build_cache": False, "unused_for": "1h"}, "no effect with build_cache=false"),
        ({"build_cache": False, "all": True}, "no effect with build_cache=false"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(BadOption) as refusal:
        wanted_from_options(options(**given))
    assert message in str(refusal.value)


def test_the_defaults_touch_nothing_that_is_used_or_tagged():
    held = observation(
        records=[record("private"), record("shared", shared=True), record("busy", in_use=True)],
        images=[image("tagged", tags=["app:1"]), image("untagged"), image("run"), image("stopped")],
        containers=[container("1", "run", running=True), container("2", "stopped")],
    )
    assert ids(held) == [(), ("untagged",), ("private",)]


def test_stopped_containers_go_first_and_free_their_images():
    held = observation(images=[image("a"), image("b")], containers=[container("1", "a"), container("2", "b", True)])
    assert ids(held, containers="stopped") == [("1",), ("a",), ()]


def test_unused_images_are_those_without_any_container():
    held = observation(images=[image("a", ["a:1"]), image("b", ["b:1"])], containers=[container("1", "a")])
    assert ids(held, images="unused") == [(), ("b",), ()]


def test_a_digest_alone_is_a_name():
    held = observation(images=[image("pulled", digests=("a@sha256:0",)), image("nameless")])
    assert ids(held) == [(), ("nameless",), ()]
    assert ids(held, images="unused") == [(), ("pulled", "nameless"), ()]


def test_parents_go_after_their_children_and_stay_for_one_that_stays():
    family = [image("base", ["base:1"]), image("middle", parent="base"), image("top", ["top:1"], parent="middle")]
    assert ids(observation(images=family), images="unused")[1] == ("top", "middle", "base")
    assert ids(observation(images=family))[1] == ()
    assert ids(observation(images=family, containers=[container("1", "top", True)]), images="unused")[1] == ()
    # What nothing names goes with its last child, whatever its own age.
    young = [family[0], image("middle", age_days=0, parent="base"), image("top", age_days=3, parent="middle")]
    assert ids(observation(images=young), images_older_than="2d")[1] == ("top", "middle")
    twice = [*young, image("other", ["other:1"], parent="middle")]
    held = observation(images=twice)
    assert ids(held, images_older_than="2d")[1] == ("top",)
    # The containerd store does not ask for other children.
    held = held._replace(engine=held.engine._replace(image_store="containerd"))
    assert ids(held, images_older_than="2d")[1] == ("top", "middle")


@pytest.mark.parametrize("created", [-62135596800, 0, 1, 315532801])
def test_what_has_no_date_has_no_age(created):
    held = observation(images=[image("undated", created=created), image("old", age_days=3)])
    assert ids(held, images_older_than="2d") == [(), ("old",), ()]
    assert ids(held) == [(), ("undated", "old"), ()]


def test_images_are_chosen_by_the_age_of_their_creation():
    held = observation(images=[image("young", age_days=1), image("old", age_days=3)])
    assert ids(held, images_older_than="2d") == [(), ("old",), ()]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"label": "stage"}, ("a", "b")),
        ({"label": "stage=build"}, ("a",)),
        ({"label": ["stage=build", "team=x"]}, ()),
        ({"label!": "stage"}, ("c",)),
        ({"label": "stage", "label!": ["stage=build"]}, ("b",)),
    ],
)
def test_images_are_chosen_by_label(filters, expected):
    held = observation(images=[image("a", labels={"stage": "build"}), image("b", labels={"stage": "test"}), image("c")])
    assert ids(held, images_filters=filters)[1] == expected


def test_types_are_one_request_each():
    wanted = wanted_from_options(options(types=["regular", "source.local"]))
    assert [rule.type for rule in cache_rules(wanted, observation())] == ["regular", "source.local"]


def test_a_child_of_a_later_type_does_not_hide_its_parent():
    chain = [record("parent"), record("child", type="source.local", parents=("parent",))]
    assert ids(observation(chain), types=["regular", "source.local"])[2] == ("child", "parent")


def test_percentages_and_free_space_are_those_of_the_first_file_system():
    wanted = wanted_from_options(options(max_used_space="10%", min_free_space="60%"))
    (rule,) = cache_rules(wanted, observation([record("a", 150)], filesystems=[filesystem(total=1000, free=500)]))
    assert rule.keep_bytes == 50


def test_nothing_is_asked_where_the_limit_is_kept():
    wanted = wanted_from_options(options(max_used_space="1000"))
    assert cache_rules(wanted, observation([record("a", 999)])) == ()
    assert len(cache_rules(wanted, observation([record("a", 1000)]))) == 1


def test_a_filter_that_an_engine_never_matches_is_refused():
    wanted = wanted_from_options(options(filters={"description": "[1/2] COPY"}))
    with pytest.raises(BadOption, match="27.0 is the first"):
        cache_rules(wanted, observation(version="26.1.5+dfsg1"))
    assert cache_rules(wanted, observation(version="27.0.1"))[0].description == "[1/2] COPY"


def test_a_limit_that_needs_a_disk_out_of_sight_is_refused():
    wanted = wanted_from_options(options(min_free_space="10GB"))
    with pytest.raises(BadOption, match="cannot be measured"):
        cache_rules(wanted, observation(filesystems=[]))
    sized = wanted_from_options(options(max_used_space="1"))
    assert len(cache_rules(sized, observation([record("a")], filesystems=[]))) == 1


def test_shared_records_gain_nothing_on_disk():
    steps, _left = plan(
        wanted_from_options(options(all=True)), observation([record("a", 10), record("b", 20, shared=True)])
    )
    step = steps[2]
    assert (sorted(step.ids), step.bytes) == (["a", "b"], 10)


def test_planning_again_after_the_plan_finds_nothing():
    held = observation(
        records=[record("a"), record("b", parents=("a",)), record("c", shared=True)],
        images=[image("x"), image("y", ["y:1"])],
        containers=[container("1", "y")],
    )
    wanted = wanted_from_options(options(containers="stopped", images="unused", all=True))
    _steps, after = plan(wanted, held)
    assert (after.containers, after.images, after.records) == ((), (), ())
    assert not any(step.ids for step in plan(wanted, after)[0])


def test_a_parent_that_its_childs_removal_uses_is_as_young_in_the_plan_as_after_the_run():
    records = [record("parent", created_at=OLD), record("child", parents=("parent",), created_at=OLD)]
    held = observation(records=records)
    wanted = wanted_from_options(options(unused_for="30m"))
    restarted = held._replace(engine=held.engine._replace(started_at=NOW))
    for before, reasons in ((held, []), (restarted, ["too_young"])):
        _steps, after = plan(wanted, before)
        assert [one.reason for one in kept(wanted, after)] == reasons
