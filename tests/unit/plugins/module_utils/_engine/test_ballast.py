# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.ballast import (
    found_ballast,
    lay,
    remove_ballast,
)

SIZE = 100_000


@pytest.fixture
def path(tmp_path):
    return str(tmp_path.resolve() / "ballast")


def test_it_is_laid_with_real_blocks_changed_and_removed(path):
    assert found_ballast(path) is None
    for size, inodes in ((SIZE, 3), (2 * SIZE, 5), (SIZE, 2), (SIZE, 0)):
        lay(path, size, inodes)
        assert found_ballast(path).will_do(size, inodes)
    assert not found_ballast(path).will_do(SIZE, 1)
    os.chmod(path, 0o644)
    assert not found_ballast(path).will_do(SIZE, 0)
    lay(path, SIZE, 2)
    assert remove_ballast(path) == ([path, f"{path}.inodes"], [])
    assert os.listdir(os.path.dirname(path)) == []
    assert remove_ballast(path) == ([], [])


def test_a_sparse_file_is_no_ballast_yet(path):
    with open(path, "wb") as file:
        file.truncate(SIZE)
    os.chmod(path, 0o600)
    assert not found_ballast(path).will_do(SIZE, 0)
    lay(path, SIZE, 0)
    assert found_ballast(path).will_do(SIZE, 0)


def test_what_a_killed_run_left_is_removed(path):
    left = os.path.join(os.path.dirname(path), ".ballast.x.buildcache")
    open(left, "wb").close()
    lay(path, SIZE, 0)
    assert not os.path.exists(left)


def test_what_is_left_of_one_counts_as_one(path):
    lay(path, SIZE, 2)
    os.unlink(path)
    assert (found_ballast(path).size, found_ballast(path).inodes) == (0, 2)
    lay(path, SIZE, 2)
    assert found_ballast(path).will_do(SIZE, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkdir, "no regular file"),
        (os.mkfifo, "no regular file"),
        (lambda path: os.symlink("/etc/passwd", path), "symbolic link"),
        (lambda path: _written(path, b"\0" * SIZE + b"x"), "has content"),
        (lambda path: _written(path, b"x" + b"\0" * SIZE), "has content"),
        (lambda path: (_written(path, b""), os.link(path, f"{path}2")), "another name"),
        (
            lambda path: (_written(path, b""), os.mkdir(f"{path}.inodes"), _written(f"{path}.inodes/a", b"")),
            "such as a",
        ),
        (lambda path: (_written(path, b""), os.symlink("/etc", f"{path}.inodes")), "cannot be taken"),
    ],
)
def test_what_is_none_is_refused(path, make, says):
    make(path)
    with pytest.raises(BadOption, match=says):
        found_ballast(path)


def test_a_path_through_a_link_or_dots_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "link" / "ballast", f"{tmp_path}/../ballast", f"{tmp_path}//ballast"):
        with pytest.raises(BadOption, match="through a symbolic link or dots"):
            found_ballast(str(path))


def _written(path, content):
    with open(path, "wb") as file:
        file.write(content)
