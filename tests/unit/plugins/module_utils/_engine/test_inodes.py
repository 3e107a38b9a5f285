# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.layers import Store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import inodes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.inodes import with_inodes
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import observation

STORE = Store({"layer": 1, "blob": 1, "elsewhere": 1}, {}, {}, {}, {})


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A store with a layer of five inodes, one of them by two names, and a blob."""
    (tmp_path / "layer" / "diff" / "directory").mkdir(parents=True)
    (tmp_path / "layer" / "diff" / "file").write_text("")
    os.link(tmp_path / "layer" / "diff" / "file", tmp_path / "layer" / "diff" / "twin")
    (tmp_path / "layer" / "link").symlink_to(tmp_path)
    (tmp_path / "blob").write_text("")
    monkeypatch.setattr(inodes, "objects", lambda seen: {name: str(tmp_path / name) for name in ("layer", "blob")})
    return observation()._replace(store=STORE)


def test_every_file_of_an_object_is_counted_once(held):
    assert with_inodes(held, Deadline(60)).store.inodes == {"layer": 5, "blob": 1}


@pytest.mark.parametrize("how", ["driver", "deadline", "store", "unreadable"])
def test_what_cannot_be_counted_ends_the_run_before_it_begins(held, monkeypatch, how):
    deadline = Deadline(60)
    if how == "driver":
        held = held._replace(engine=held.engine._replace(storage_driver="btrfs"))
    elif how == "deadline":
        monkeypatch.setattr(inodes, "_LOOK_AT_CLOCK", 1)
        deadline = Deadline(-1)
    elif how == "store":
        held = held._replace(store=None)
    else:
        monkeypatch.setattr(inodes, "objects", lambda seen: {}["layer"])
    with pytest.raises(
        BadOption, match="high_inodes: the files of the layers cannot be counted: .*Nothing was removed"
    ):
        with_inodes(held, deadline)
