# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import (
    SECOND,
    docker_size,
    go_duration,
    human_duration,
    human_size,
    parse_duration,
    parse_size,
    parse_timestamp,
    version_tuple,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("512", 512),
        ("1b", 1),
        ("1k", 1024),
        ("1KB", 1024),
        ("20GB", 20 * 2**30),
        ("20 GiB", 20 * 2**30),
        ("1.5g", 3 * 2**29),
        ("2T", 2 * 2**40),
        ("1p", 2**50),
    ],
)
def test_sizes_are_powers_of_1024_in_every_spelling(text, expected):
    assert parse_size(text, "max_used_space").in_bytes(0) == expected


@pytest.mark.parametrize(("text", "expected"), [("15%", 150), ("100 %", 1000), ("0.5%", 5), ("33%", 330)])
def test_percentages_are_taken_of_the_file_system(text, expected):
    assert parse_size(text, "min_free_space").in_bytes(1000) == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1 2", "1X", "10Q", "0", "0GB", "0.1", "0%", "101%", "five", "1GB2", "1e3", "٣GB"]
)
def test_bad_sizes_are_refused_by_name(text):
    with pytest.raises(BadOption, match="^max_used_space: "):
        parse_size(text, "max_used_space")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("36h", 129600), ("1h30m", 5400), ("14d", 1209600), ("1d12h", 129600), ("90s", 90), ("1.5h", 5400), ("1m30s", 90)],
)
def test_durations_are_those_of_go_plus_days(text, seconds):
    assert parse_duration(text, "unused_for") == seconds * SECOND


def test_durations_go_down_to_nanoseconds():
    assert parse_duration("1ms1us1ns", "unused_for") == 1_001_001


@pytest.mark.parametrize("text", ["", "36", "h", "-1h", "1w", "1h 30m", "0", "0s", "1hour", "unlimited"])
def test_bad_durations_are_refused_by_name(text):
    with pytest.raises(BadOption, match="^unused_for: "):
        parse_duration(text, "unused_for")


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (SECOND, "1s"),
        (129600 * SECOND, "36h"),
        (5400 * SECOND, "1h30m"),
        (3661 * SECOND, "1h1m1s"),
        (1_500_000_000, "1.5s"),
        (61_000_000_001, "1m1.000000001s"),
        (1, "0.000000001s"),
    ],
)
def test_durations_are_spelled_as_every_engine_reads_them(nanoseconds, expected):
    assert go_duration(nanoseconds) == expected
    assert parse_duration(expected, "unused_for") == nanoseconds


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0"), (1, "1B"), (1536, "1536B"), (20 * 2**30, "20GB"), (2**50, "1PB"), (5 * 2**40 + 2**20, "5242881MB")],
)
def test_sizes_are_spelled_exactly(size, expected):
    assert docker_size(size) == expected
    assert not size or parse_size(expected, "size").in_bytes(0) == size


@pytest.mark.parametrize(
    ("version", "expected"),
    [("28.5.2+dfsg4", (28, 5, 2)), ("28.0.0-rc.1", (28, 0, 0)), ("27.5", (27, 5, 0)), ("", (0, 0, 0))],
)
def test_versions_are_compared_by_their_numbers(version, expected):
    assert version_tuple(version) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.000000001Z", SECOND + 1),
        ("2026-01-10T12:00:00.5Z", 1768046400 * SECOND + SECOND // 2),
        ("2026-01-10T13:00:00+01:00", 1768046400 * SECOND),
        ("2026-01-10T06:30:00-05:30", 1768046400 * SECOND),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_timestamps_keep_their_nanoseconds(text, expected):
    assert parse_timestamp(text) == expected


def test_a_timestamp_of_another_form_is_reported():
    with pytest.raises(BuildcacheError, match="yesterday"):
        parse_timestamp("yesterday")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (17, "17B"),
        (1024, "1KB"),
        (1536, "1.5KB"),
        (20 * 2**30, "20GB"),
        (312 * 2**20, "312MB"),
        (-1536, "-1.5KB"),
        (5 * 2**50, "5120TB"),
    ],
)
def test_sizes_for_people(size, text):
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (12, "12s"), (36 * 60, "36m"), (273_600, "3d4h"), (3601, "1h1s")]
)
def test_durations_for_people(seconds, text):
    assert human_duration(seconds * SECOND) == text
