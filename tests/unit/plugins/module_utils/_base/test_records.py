# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    children_by_id,
    container_from_api,
    freed_bytes,
    image_from_api,
    record_from_api,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, record

ENTRY = {
    "ID": "abc",
    "Type": "exec.cachemount",
    "Description": "cached mount",
    "InUse": True,
    "Shared": False,
    "Size": 12,
    "CreatedAt": "2026-01-01T00:00:00Z",
    "LastUsedAt": None,
    "UsageCount": 3,
}


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ({}, ()),
        ({"Parent": "p"}, ("p",)),
        ({"Parent": ""}, ()),
        ({" Parents": ["p", "q"]}, ("p", "q")),
        ({"Parents": ["p", "q"]}, ("p", "q")),
        ({" Parents": None, "Parent": "p"}, ("p",)),
    ],
)
def test_parents_are_read_in_every_spelling(spelling, expected):
    assert record_from_api(dict(ENTRY, **spelling)).parents == expected


def test_a_record_keeps_what_the_engine_says():
    read = record_from_api(ENTRY)
    assert (read.id, read.type, read.size, read.in_use, read.usage_count) == ("abc", "exec.cachemount", 12, True, 3)
    assert read.last_used_at is None


@pytest.mark.parametrize(
    ("tags", "untagged"), [(None, True), ([], True), (["<none>:<none>"], True), (["app:1"], False)]
)
def test_an_image_without_tags_is_untagged_in_every_spelling(tags, untagged):
    image = image_from_api({"Id": "sha256:1", "RepoTags": tags, "Size": 10, "SharedSize": 4, "Created": 1})
    assert image.untagged is untagged
    assert image.unique_size == 6


def test_a_shared_size_that_was_not_measured_is_none():
    assert image_from_api({"Id": "sha256:1", "Size": 10, "SharedSize": -1}).unique_size == 10


@pytest.mark.parametrize(
    ("state", "running"),
    [("running", True), ("paused", True), ("restarting", True), ("exited", False), ("created", False), ("dead", False)],
)
def test_only_what_the_engine_would_prune_counts_as_stopped(state, running):
    assert container_from_api({"Id": "1", "ImageID": "sha256:1", "State": state}).running is running


def test_children_by_id():
    records = [record("a"), record("b", parents=("a",)), record("c", parents=("a", "b"))]
    assert children_by_id(records) == {"a": ["b", "c"], "b": ["c"]}


def test_freed_bytes_are_the_gain_of_the_file_systems():
    assert freed_bytes((filesystem(free=100),), (filesystem(free=350),)) == 250
    assert freed_bytes((), ()) is None
