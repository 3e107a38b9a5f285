# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of a build cache builds work with."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, format_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.working_set import (
    WITHIN,
    made_per_day,
    used_within,
    working_set,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import NOW, record

HOUR = 3600


def ago(hours):
    """The timestamp of so many hours ago."""
    return format_timestamp(NOW - int(hours * HOUR) * SECOND)


def made(name, size, used=None, created=None, **given):
    """A record that was used, and made, so many hours ago, None for what is not known."""
    times = {"used": None if used is None else ago(used), "created_at": None if created is None else ago(created)}
    return record(name, size, **times, **given)


HELD = [
    made("new", 1, used=0.5, created=0.5),
    made("busy", 2, used=2000, created=2000, in_use=True),
    made("of an hour", 4, used=1, created=100, usage_count=3),
    made("never used", 8, created=30),
    made("shared", 16, used=100, created=2000, shared=True, usage_count=2),
    made("old", 32, used=2000, created=2000),
    made("of no time", 64),
]


def test_what_was_used_is_told_for_each_time_and_with_the_shorter_ones():
    told = working_set(HELD, NOW)
    used = told["used_within"]
    assert tuple(used) == WITHIN
    assert used["1h"] == {"bytes": 7, "records": 3, "private_bytes": 7}
    assert used["1d"] == used["6h"] == used["1h"]
    assert used["3d"] == {"bytes": 15, "records": 4, "private_bytes": 15}
    assert used["7d"] == used["60d"] == {"bytes": 31, "records": 5, "private_bytes": 15}
    assert told["reused"] == {"bytes": 20, "records": 2}
    assert told["growth"] is None


def test_a_time_to_come_is_now():
    assert [one.id for one in used_within([made("later", 1, used=-5)], NOW, HOUR * SECOND)] == ["later"]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([made("of no time", 5)], None),
        # A cache of less than a day has had one.
        ([made("a", 10, created=0.1), made("b", 20, created=2)], 30),
        ([made("a", 10, created=1), made("b", 20, created=48)], 15),
        # Older than a week does not count, but tells that there was one.
        ([made("a", 70, created=1), made("b", 20, created=2000)], 10),
        ([made("b", 20, created=2000)], 0),
    ],
)
def test_a_day_makes_what_the_last_week_or_the_time_since_the_oldest_record_tells(records, expected):
    assert made_per_day(records, NOW) == expected
