# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of a build cache builds work with, and how the disk below it grows."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    BUILD_CACHE,
    EMBEDDED,
    Builders,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, format_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.growth import (
    HOUR,
    MOST_LOOKS,
    Look,
    growth,
    looks_to_keep,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.working_set import (
    WITHIN,
    made_per_day,
    used_within,
    working_set,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.looks import disk_growth
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.working_sets import with_working_sets
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import DAY, NOW, filesystem, observation, record

SOCKET = "unix:///var/run/docker.sock"
AT = NOW // SECOND


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


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The directory of the state."""
    monkeypatch.setattr(
        "ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.state.directory", lambda: str(tmp_path)
    )
    return tmp_path


def look(used, days=0, total=1000, remember=True, **unread):
    """Look at a disk with so many bytes used, so many days from now; return its growth."""
    seen = observation([record("a", 7)], filesystems=[filesystem(total, total - used)])
    seen = seen._replace(engine=seen.engine._replace(now=NOW + int(days * DAY) * SECOND), **unread)
    return disk_growth(SOCKET, seen, remember)


def kept(state):
    """The looks that are kept."""
    (file,) = state.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and file.name.startswith("looks-")
    return json.loads(file.read_text())["looks"]


def test_each_look_is_remembered_for_the_next_ones(state):
    assert look(100) is None and look(110, days=1) is None
    assert look(120, days=2)["bytes_per_day"] == 10
    assert kept(state) == [[AT, 100, 7], [AT + DAY, 110, 7], [AT + 2 * DAY, 120, 7]]
    # Within the hour, or where nothing is to be written, it counts and is not kept.
    assert look(120, days=2.01)["looks"] == look(130, days=3, remember=False)["looks"] == 4
    assert len(kept(state)) == 3
    assert disk_growth("unix:///other.sock", observation(), remember=False) is None


def test_another_disk_and_a_clock_that_goes_backwards_begin_anew(state):
    assert look(100) is None and look(110, days=1) is None
    assert look(10, days=2, total=2000) is None
    assert kept(state) == [[AT + 2 * DAY, 10, 7]]
    assert look(20, days=-1, total=2000) is None
    assert kept(state) == [[AT - DAY, 20, 7]]


def test_without_a_disk_or_a_list_there_is_less_to_tell(state):
    assert disk_growth(SOCKET, observation(filesystems=[])) is None and not list(state.iterdir())
    look(100, unread=((BUILD_CACHE, "broken"),))
    assert kept(state) == [[AT, 100, None]]


@pytest.mark.parametrize(
    "text",
    [
        "[broken",
        "[]",
        '{"path": "/var/lib/docker", "total_bytes": 1000}',
        '{"path": "/var/lib/docker", "total_bytes": 1000, "looks": [[1], "x", ["a", 1, 2], [1, 2, []]]}',
    ],
)
def test_what_cannot_be_read_is_not_known(state, text):
    look(100)
    (file,) = state.iterdir()
    file.write_text(text)
    assert look(110, days=1) is None
    assert kept(state) == [[AT + DAY, 110, 7]]


def test_what_cannot_be_written_is_not_remembered(state):
    look(100)
    (file,) = state.iterdir()
    file.unlink()
    file.mkdir()
    assert look(110, days=1) is None
    assert list(state.iterdir()) == [file]


def test_facts_tell_it_of_each_builder_that_was_asked():
    seen = observation(HELD)
    told = with_working_sets(facts(seen, Daemon({})), seen, None, {"looks": 3})
    assert [one["name"] for one in told["builders"]] == [EMBEDDED]
    assert told["builders"][0]["working_set"]["growth"] == {"looks": 3}
    assert told["builders"][0]["working_set"]["used_within"]["3d"]["bytes"] == 15
    unread = seen._replace(unread=((BUILD_CACHE, "broken"),), records=())
    assert with_working_sets(facts(unread, Daemon({})), unread, Builders(), None)["builders"][0]["working_set"] is None
