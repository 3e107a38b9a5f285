# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Walking the engine's directories; with real engines: tests/fleet/test_disk.py."""

from __future__ import annotations

import os

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.disk import (
    ELSEWHERE,
    ENGINE,
    LEFTOVERS,
    VOLUMES,
    disk,
    unaccounted,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import measure
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.boltdb import Unreadable
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import observation

LONG_AGO = 10**9


@pytest.fixture
def root(tmp_path):
    """A directory with a volume of two names for one file, an old and a young directory that nobody names."""
    for name in ("volumes/v", "layers/old", "layers/young"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "volumes/v/file", tmp_path / "volumes/v/twin")
    os.utime(tmp_path / "layers/old", (LONG_AGO, LONG_AGO))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    return tmp_path


def walked(root, deadline=None):
    sizes = {}
    owners = {str(root / "volumes"): (VOLUMES, ""), str(root / "volumes/v"): (VOLUMES, "v")}
    whole = measure._walk(str(root), owners, {str(root / "layers")}, sizes, deadline or Deadline(60))
    return whole, sizes


def blocks(*paths):
    return sum(os.lstat(path).st_blocks * 512 for path in paths)


def test_each_file_counts_once_for_who_holds_it(root):
    whole, sizes = walked(root)
    assert whole
    assert sizes[VOLUMES, "v"] == (blocks(root / "volumes/v", root / "volumes/v/file"), 2)
    assert sizes[LEFTOVERS, str(root / "layers/old")] == (blocks(root / "layers/old", root / "layers/old/file"), 2)
    young = (root / "layers", root / "layers/young", root / "layers/young/file", root / "gone")
    assert sizes[ENGINE, ""] == (blocks(*young), 4)


def test_it_ends_at_the_deadline_with_what_it_has(root, monkeypatch):
    monkeypatch.setattr(measure, "_LOOK_AT_CLOCK", 2)
    whole, sizes = walked(root, Deadline(-1))
    assert not whole
    assert 0 < sum(inodes for _bytes, inodes in sizes.values()) < 3


def test_a_disk_that_cannot_be_read_is_said(root, monkeypatch):
    def fails(directory):
        raise OSError(5, "Input/output error", directory)

    seen = observation()
    engine = seen.engine._replace(data_dirs=(str(root),), storage_driver="overlay2", image_store="graphdriver")
    monkeypatch.setattr(measure, "with_store", lambda observation: observation)
    monkeypatch.setattr(measure, "places", lambda observation: ({}, set()))
    monkeypatch.setattr(measure.os, "scandir", fails)
    with pytest.raises(Unreadable, match="cannot be read: .*Input/output error"):
        measure.measured(seen._replace(engine=engine), Deadline(60))


def test_where_files_do_not_tell_who_holds_them_nothing_is_measured():
    seen = observation()
    seen = seen._replace(engine=seen.engine._replace(storage_driver="btrfs", image_store="graphdriver"))
    with pytest.raises(Unreadable, match="storage driver btrfs"):
        measure.measured(seen, Deadline(60))


def test_an_engine_elsewhere_is_not_measured():
    seen = observation()
    seen = seen._replace(engine=seen.engine._replace(data_dirs=(), doubt=""))
    with pytest.raises(Unreadable, match="on another host"):
        measure.measured(seen, Deadline(60))


def test_parts_add_up_to_what_is_used():
    sizes = {(VOLUMES, "a"): (10, 1), (VOLUMES, "b"): (30, 2), (VOLUMES, ""): (1, 1), (ENGINE, ""): (4, 1)}
    seen = disk("/data", 1000, 100, 20, sizes, True)
    assert [(part.holder, part.bytes, part.inodes) for part in seen.parts] == [
        (ELSEWHERE, 55, 15),
        (VOLUMES, 41, 4),
        (ENGINE, 4, 1),
    ]
    assert seen.parts[1].largest == (("b", 30), ("a", 10))


def test_what_is_neither_image_nor_cache_is_added_up_and_the_largest_says_what_helps():
    sizes = {(VOLUMES, "a"): (30, 1), (LEFTOVERS, "/x"): (10, 1), (ENGINE, ""): (9, 1)}
    few = disk("/data", 10_000, 100, 20, sizes, True)
    found = unaccounted([few])
    assert (found.code, found.severity, found.bytes) == ("unaccounted_bytes", "info", 40)
    assert "30B in volumes (most in a: 30B), 10B in layers and content that nobody names" in found.message
    assert found.remedy.startswith("docker volume prune")
    assert unaccounted([few._replace(total_bytes=800)]).severity == "warning"
    assert unaccounted([disk("/data", 1000, 100, 20, {(ENGINE, ""): (9, 1)}, True)]) is None
