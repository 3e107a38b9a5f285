# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import Filesystem
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import Size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.plan import (
    TRUNCATE,
    Item,
    beyond,
    chosen,
    enough,
    wanted_from_options,
    without,
)

FULL = Filesystem("/d", 1, 1000, 10, 0, 200, 0)
LOGS = (Item("/d/a", 30, TRUNCATE), Item("/d/b", 70), Item("/d/c", 50))
NOTHING = dict.fromkeys(("ballast", "container_logs_over", "journal_over", "until_free"), None)
NOTHING["package_caches"] = False


@pytest.mark.parametrize(
    ("available", "inodes", "until_free", "expected"),
    [
        (100, 20, Size(10, percent=True), True),
        (99, 20, Size(10, percent=True), False),
        (100, 19, Size(10, percent=True), False),
        (100, 2, Size(100), True),
        (100, 1, Size(100), False),
        (1000, 200, None, False),
    ],
)
def test_enough_is_so_many_bytes_and_inodes(available, inodes, until_free, expected):
    assert enough(FULL._replace(available=available, inodes_available=inodes), until_free) is expected


def test_a_file_system_without_a_number_of_inodes_lacks_none():
    assert enough(FULL._replace(available=100, inodes_total=0), Size(10, percent=True))


@pytest.mark.parametrize(
    ("until_free", "expected"), [(None, "bca"), (Size(60), "b"), (Size(71), "bc"), (Size(999), "bca")]
)
def test_the_largest_go_until_enough_is_free(until_free, expected):
    disk = FULL._replace(inodes_available=200)
    assert "".join(one.path[-1] for one in chosen(LOGS, disk, until_free)) == expected


def test_what_goes_by_one_command_goes_whole_or_not_at_all():
    assert chosen(LOGS, FULL, Size(60), together=True) == LOGS
    assert chosen(LOGS, FULL._replace(available=60, inodes_available=9), Size(60), together=True) == ()


def test_a_file_that_is_emptied_keeps_its_inode():
    after = without(FULL, (*LOGS, Item("/d/ballast.inodes", 8, inodes=5)))
    assert (after.free, after.available, after.inodes_available) == (168, 158, 7)


def test_a_vacuum_removes_the_oldest_archives_beyond_a_limit():
    files = [("live", 50, 0, False), ("third", 30, 3, True), ("first", 20, 1, True), ("second", 25, 2, True)]
    assert [one.path for one in beyond(files, 90)] == ["first", "second"]
    assert [one.path for one in beyond(files, 125)] == []
    assert [one.path for one in beyond(files, 1)] == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Nothing was named"),
        ({"until_free": "5%"}, "Nothing was named"),
        ({"ballast": ""}, "no absolute path"),
        ({"ballast": "ballast"}, "no absolute path"),
        ({"container_logs_over": "0"}, "less than a byte"),
        ({"container_logs_over": "5%"}, "is a percentage"),
        ({"journal_over": ""}, "is not a size"),
        ({"ballast": "default", "until_free": "101%"}, "not a percentage between"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, says):
    with pytest.raises(BadOption, match=says):
        wanted_from_options({**NOTHING, **options})
