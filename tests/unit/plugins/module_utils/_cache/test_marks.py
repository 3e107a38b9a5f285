# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.marks import Goal, Need
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import aimed, plan
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    filesystem,
    image,
    observation,
    options,
    record,
)


def marks(high=None, low=None, **given):
    return wanted_from_options(options(high_watermark=high, low_watermark=low, **given)).marks


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"high_watermark": "85%"}, "high_watermark: it needs low_watermark beside it"),
        ({"low_watermark": "85%"}, "low_watermark: it needs high_watermark beside it"),
        ({"high_inodes": "85%"}, "high_inodes: it needs low_inodes beside it"),
        ({"high_watermark": "70%", "low_watermark": "85%"}, "'85%' is not below '70%', which is high_watermark"),
        ({"high_watermark": "70%", "low_watermark": "70%"}, "'70%' is not below '70%'"),
        ({"high_watermark": "20GB", "low_watermark": "10GB"}, "'10GB' is not more than '20GB'"),
        ({"high_inodes": "1000", "low_inodes": "1000"}, "low_inodes: '1000' is not more than '1000'"),
        ({"high_watermark": "85%", "low_watermark": "10GB"}, "not one of each (high_watermark is '85%')"),
        ({"high_watermark": "120%", "low_watermark": "70%"}, "'120%' is not a percentage between 0 and 100"),
        ({"high_watermark": "85%", "low_watermark": "0%"}, "'0%' is not a percentage between 0 and 100"),
        ({"high_watermark": " ", "low_watermark": "70%"}, "high_watermark: it is empty"),
        ({"high_watermark": "most", "low_watermark": "70%"}, "high_watermark: 'most' is not a size"),
        ({"high_inodes": "10GB", "low_inodes": "20GB"}, "high_inodes: '10GB' is no number of inodes"),
        ({"high_inodes": "0", "low_inodes": "20"}, "high_inodes: '0' is no number of inodes"),
        (
            {"high_watermark": "85%", "low_watermark": "70%", "min_free_space": "5GB"},
            "min_free_space: the low marks say how much is to be free",
        ),
        ({"stages": [{}]}, "stages: there is no high_watermark nor high_inodes"),
    ],
)
def test_marks_that_cannot_be_meant_are_refused(given, message):
    with pytest.raises(BadOption) as refusal:
        wanted_from_options(options(**given))
    assert message in str(refusal.value)


def test_a_share_is_the_one_that_df_shows():
    # 1000 bytes, of which 100 are root's: 500 are used of 900, which is 55.6 %.
    disk = filesystem(1000, 500)
    assert marks("56%", "50%").goal(disk) is None
    assert marks("55%", "50%").goal(disk) == Goal(450, 0)
    assert Goal(450, 0).need(disk) == Need(50, 0)
    assert marks("400", "500").goal(disk) is None and marks("401", "500").goal(disk) == Goal(500, 0)


def test_one_high_mark_that_is_passed_has_both_low_marks_hold():
    # 900 of 1000 inodes are available.
    both = marks("90%", "60%", high_inodes="901", low_inodes="950")
    assert both.goal(filesystem()) == Goal(360, 950)
    assert marks("90%", "60%", high_inodes="10%", low_inodes="5%").goal(filesystem()) is None
    assert marks(high_inodes="9%", low_inodes="5%").goal(filesystem()) == Goal(0, 950)
    # Some file systems have no fixed number of inodes.
    assert marks(high_inodes="9%", low_inodes="5%").goal(filesystem()._replace(inodes_total=0)) is None
    assert Need(0, 1).met is False and Need(-5, 0).met is True and Need(5, 1).less(5, 1).met


def test_below_the_high_mark_no_step_removes_anything():
    held = observation([record("a")], [image("b")])
    wanted = wanted_from_options(options(high_watermark="90%", low_watermark="1%"))
    steps, left = plan(wanted, held)
    assert [(step.step, step.ids) for step in steps] == [("containers", ()), ("images", ()), ("build_cache", ())]
    assert left == held and aimed(wanted, held).goal == Goal()


def test_a_goal_is_set_once_and_needs_a_disk():
    held = observation(filesystems=[filesystem(1000, 100)])
    wanted = aimed(wanted_from_options(options(high_watermark="80%", low_watermark="50%")), held)
    assert wanted.goal == Goal(450, 0)
    # Half way, below the high mark, it is still what the run is after.
    assert aimed(wanted, observation(filesystems=[filesystem(1000, 500)])) == wanted
    with pytest.raises(BadOption, match="need the disk figures"):
        plan(wanted._replace(goal=None), observation(filesystems=[]))
