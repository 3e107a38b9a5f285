# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of runs that nobody heard. Connections that are cut are in tests/fleet/test_cut_off.py."""

from __future__ import annotations

import os

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import state as _state
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import unheard as _unheard
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.unheard import Unheard

STEP = {"step": "build_cache", "builder": "default", "planned": {"count": 1, "bytes": 5, "ids": ["a"], "uncertain": []}}
STEP["removed"] = {"count": 1, "bytes": 5, "ids": ["a"]}
RESULT = {"changed": True, "steps": [STEP], "predicted_bytes": 5, "reported_bytes": 5, "freed_bytes": None, "msg": ""}
ENGINE = "unix:///s"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A directory for the state."""
    monkeypatch.setattr(_state, "directory", lambda: str(tmp_path / "state"))
    return tmp_path / "state"


def run(heard, monkeypatch, forget_them=True, result=None):
    """A run that removes something, and is heard or not."""
    one = Unheard(ENGINE)
    one.begin()
    one.end(result or RESULT)
    leave(one, heard, monkeypatch, forget_them)
    return one


def leave(one, heard, monkeypatch, forget_them=True):
    """End as a module does."""
    monkeypatch.setattr(_unheard, "_hung_up", lambda: not heard)
    with pytest.raises(SystemExit), one.told(forget_them):
        raise SystemExit(0)


def test_a_run_that_was_not_heard_is_told_until_one_is_heard(state, monkeypatch):
    run(False, monkeypatch)
    (kept,) = os.listdir(str(state))
    assert os.stat(str(state / kept)).st_mode & 0o777 == 0o600
    (told,) = Unheard(ENGINE).previous
    assert told.pop("started_at") <= told.pop("ended_at")
    few = {"count": 1, "bytes": 5}
    assert told == {**RESULT, "steps": [{"step": "build_cache", "builder": "default", "planned": few, "removed": few}]}
    assert Unheard("unix:///other").previous == []
    leave(Unheard(ENGINE), True, monkeypatch, forget_them=False)
    assert len(Unheard(ENGINE).previous) == 1
    leave(Unheard(ENGINE), True, monkeypatch)
    assert Unheard(ENGINE).previous == [] and os.listdir(str(state)) == []


def test_a_run_that_was_killed_leaves_its_entry(monkeypatch):
    Unheard(ENGINE).begin()
    assert [one["ended_at"] for one in Unheard(ENGINE).previous] == [None]
    assert run(True, monkeypatch).previous and Unheard(ENGINE).previous == []


def test_no_more_than_the_youngest_runs_are_kept(monkeypatch):
    for number in range(12):
        run(False, monkeypatch, result=dict(RESULT, predicted_bytes=number))
    assert [one["predicted_bytes"] for one in Unheard(ENGINE).previous] == list(range(2, 12))


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "null"])
def test_what_cannot_be_read_is_nothing(state, monkeypatch, text):
    run(False, monkeypatch)
    (kept,) = os.listdir(str(state))
    (state / kept).write_text(text)
    assert Unheard(ENGINE).previous == []


def test_a_run_that_cannot_keep_anything_goes_on(state, monkeypatch):
    state.write_text("a file where a directory belongs")
    assert run(False, monkeypatch).previous == []


def test_a_closed_pipe_is_noticed(monkeypatch):
    reader, writer = os.pipe()
    before = os.dup(1)
    os.dup2(writer, 1)
    try:
        assert not _unheard._hung_up()
        os.close(reader)
        assert _unheard._hung_up()
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(writer)
