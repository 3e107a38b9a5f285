# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.stages import STAGE_OPTIONS
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.prune import OPTIONS
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    filesystem,
    image,
    observation,
    options,
    record,
)

MARKS = {"high_watermark": "80%", "low_watermark": "50%"}


def wanted(*stages, **given):
    return wanted_from_options(options(stages=list(stages), **MARKS, **given))


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ({"images": "unused"}, {"images": "dangling"}, "images is dangling there, and unused before"),
        ({"containers": "stopped"}, {"containers": "keep"}, "containers is keep there, and stopped before"),
        ({}, {"build_cache": False}, "build_cache is false there, and true before"),
        ({"unused_for": "7d"}, {"unused_for": "14d"}, "unused_for is 14d there, and 7d before"),
        ({}, {"unused_for": "14d"}, "unused_for is 14d there, and not set before"),
        ({"images_older_than": "7d"}, {"images_older_than": "8d"}, "images_older_than is 8d"),
        ({"images_unused_for": "7d"}, {"images_unused_for": "8d"}, "images_unused_for is 8d"),
        ({"protect_for": "1h"}, {"protect_for": "2h"}, "protect_for is 2h"),
        ({"all": True}, {"all": False}, "all is false there, and true before"),
        ({}, {"types": ["regular"]}, "types is ['regular']"),
        ({"types": ["regular"]}, {"types": ["exec.cachemount"]}, "types is ['exec.cachemount']"),
        ({}, {"filters": {"id": "abc"}}, "filters is"),
        ({}, {"max_used_space": "1GB"}, "max_used_space is 1GB there, and not set before"),
        ({"max_used_space": "1GB"}, {"max_used_space": "2GB"}, "max_used_space is 2GB"),
        ({"max_used_space": "1GB"}, {"max_used_space": "1%"}, "max_used_space is 1%"),
        ({"images_keep": ["a"]}, {"images_keep": ["a", "b"]}, "images_keep is"),
        ({"images_remove": ["a"]}, {"images_remove": ["b"]}, "images_remove is"),
        ({"images_keep_last": 1}, {"images_keep_last": 2}, "images_keep_last is 2"),
        ({"images_keep": ["a"]}, {"images": "unused", "images_keep": ["b"]}, "images_keep is"),
        ({"protect_for": "1h"}, {"images": "unused", "protect_for": "1d"}, "protect_for is 1d"),
        ({}, {"images_filters": {"label": "a"}}, "images_filters is"),
        (
            {"containers": "stopped"},
            {"containers": "stopped", "containers_filters": {"label!": "a"}},
            "containers_filters is",
        ),
        (
            {"containers": "stopped", "containers_older_than": "1h"},
            {"containers": "stopped", "containers_older_than": "2h"},
            "containers_older_than is 2h",
        ),
    ],
)
def test_a_stage_that_removes_less_is_refused(first, second, name):
    with pytest.raises(BadOption) as refusal:
        wanted(first, second)
    assert f"stages: stage 2 removes less than stage 1: {name}" in str(refusal.value)
    assert "Each has to go further." in str(refusal.value)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages: the list is empty"),
        ([{}, {}], "stages: stage 2 is the same as stage 1"),
        ([{}, {"unused_for": "soon"}], "stages: stage 2: unused_for: 'soon' is not a duration"),
        ([{}, {"deadline": "1h"}], "stages: stage 2 has deadline, which only a whole run can have"),
        ([{"images": "keep", "images_older_than": "1d"}], "stages: stage 1: images_older_than: it has no effect"),
        ([{}, {"images": "unused", "images_keep": []}], "stages: stage 2: images_keep: the list is empty"),
    ],
)
def test_a_stage_that_cannot_be_used_is_named(stages, message):
    with pytest.raises(BadOption) as refusal:
        wanted(*stages)
    assert message in str(refusal.value)


def test_what_an_earlier_stage_leaves_alone_does_not_bind_a_later_one():
    ladder = wanted(
        {"images": "keep", "unused_for": "7d"},
        {"images": "unused", "images_unused_for": "14d", "unused_for": "3d"},
        {"images": "unused", "containers": "stopped"},
        images_keep=["base"],
    )
    assert [stage.images for stage in ladder.stages] == ["keep", "unused", "unused"]
    # What a stage does not set is as for the whole run; marks are the run's alone.
    assert all(stage.images_keep for stage in ladder.stages[1:]) and not ladder.stages[0].images_keep
    assert all(stage.marks is None and not stage.stages for stage in ladder.stages)
    assert ladder.widest == ladder.stages[-1] and ladder.needs_disk


def test_of_more_than_before_some_may_have_to_be_older():
    ladder = wanted(
        {"types": ["source.local"], "unused_for": "1d"},
        {"images": "unused", "images_unused_for": "14d", "unused_for": "7d"},
        {"images": "unused", "all": True, "unused_for": "30d"},
    )
    assert len(ladder.stages) == 3


def test_a_run_goes_down_only_as_far_as_it_must():
    held = observation(
        [record("old", 100, used="2026-01-01T00:00:00Z"), record("young", 100, used="2026-01-10T11:00:00Z")],
        [image("nameless", unique=50), image("tagged", ["a:1"], unique=100)],
        filesystems=[filesystem(1000, 200)],
    )
    ladder = [{"unused_for": "5d"}, {"images": "unused"}, {"images": "unused", "all": True}]

    def steps(low):
        given = wanted_from_options(options(stages=ladder, high_watermark="150", low_watermark=str(low)))
        return [(step.stage, step.step, step.ids) for step in plan(given, held)[0] if step.ids]

    first = [(1, "images", ("nameless",)), (1, "build_cache", ("old",))]
    # 100 are available.
    assert steps(250) == first
    assert steps(300) == [*first, (2, "build_cache", ("young",))]
    assert steps(401) == [*first, (2, "images", ("tagged",)), (2, "build_cache", ("young",))]


def test_every_option_of_a_stage_is_one_of_the_module_and_has_no_default():
    inner = OPTIONS["stages"]["options"]
    assert set(inner) == set(STAGE_OPTIONS) and not any("default" in one for one in inner.values())
