# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a disk grows, by what earlier looks saw."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.growth import (
    HOUR,
    MOST_LOOKS,
    Look,
    growth,
    looks_to_keep,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import DAY, NOW

AT = NOW // SECOND


def looks(*used, every=HOUR * 8):
    """Looks that saw these bytes used, the last of them now."""
    first = AT - (len(used) - 1) * every
    return [Look(first + number * every, size, size // 2) for number, size in enumerate(used)]


def test_the_trend_is_that_of_most_looks_whatever_single_ones_saw():
    steady = [10**9 + number * 10**6 for number in range(20)]
    assert growth(looks(*steady)) == {
        "bytes_per_day": 3 * 10**6,
        "build_cache_bytes_per_day": 3 * 10**6 // 2,
        "since": float(AT - 19 * 8 * HOUR),
        "looks": 20,
    }
    bent = [*steady[:7], 9 * 10**9, *steady[8:13], 0, *steady[14:]]
    assert abs(growth(looks(*bent))["bytes_per_day"] - 3 * 10**6) < 3 * 10**5
    assert growth(looks(*reversed(steady)))["bytes_per_day"] == -3 * 10**6


def test_what_was_not_known_of_the_build_cache_has_no_trend():
    unknown = [one._replace(build_cache=None) for one in looks(1, 2, 3)]
    assert growth(unknown)["build_cache_bytes_per_day"] is None and growth(unknown)["bytes_per_day"] == 3


@pytest.mark.parametrize("few", [looks(), looks(1), looks(1, 2), looks(1, 2, 3, every=2 * HOUR)])
def test_few_looks_or_a_short_time_tell_nothing(few):
    assert growth(few) is None


def test_looks_are_kept_one_an_hour_and_not_for_ever():
    now = Look(AT, 5, 5)
    at = [one.at for one in looks_to_keep([Look(AT - HOUR // 2, 1, 1), Look(AT - 61 * DAY, 1, 1)], now)]
    assert at == [AT - HOUR // 2]
    assert [one.at for one in looks_to_keep([Look(AT - HOUR, 1, 1)], now)] == [AT - HOUR, AT]
    many = looks(*range(MOST_LOOKS + 10), every=HOUR)
    assert looks_to_keep(many[:-1], many[-1]) == many[10:]


def test_looks_of_a_time_to_come_are_forgotten():
    assert looks_to_keep([Look(AT + 5, 1, 1), Look(AT - DAY, 2, 2)], Look(AT, 3, 3)) == [
        Look(AT - DAY, 2, 2),
        Look(AT, 3, 3),
    ]
