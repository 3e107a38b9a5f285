# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.boltdb import Unreadable, read
from ansible_collections.buildfleet.buildcache.tests.unit import bolt_writer


@pytest.mark.parametrize("count", [0, 1, 8, 9, 60])
def test_a_database_is_read_as_it_was_written(tmp_path, count):
    tree = {
        b"bucket%03d" % number: {b"key%d" % inner: b"v" * inner for inner in range(number)} for number in range(count)
    }
    tree[b"long"] = b"x" * 9000
    bolt_writer.write(tmp_path / "db", tree)
    assert read(str(tmp_path / "db")) == tree


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 8192, b"\xff" * 8192])
def test_what_is_no_database_is_unreadable(tmp_path, content):
    (tmp_path / "db").write_bytes(content)
    with pytest.raises(Unreadable, match="db cannot be read"):
        read(str(tmp_path / "db"))
    with pytest.raises(Unreadable, match="none cannot be read"):
        read(str(tmp_path / "none"))
