# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is remembered of a disk from one look to the next."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import BUILD_CACHE
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.looks import disk_growth
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import DAY, NOW, filesystem, observation, record

SOCKET = "unix:///var/run/docker.sock"
AT = NOW // SECOND


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
