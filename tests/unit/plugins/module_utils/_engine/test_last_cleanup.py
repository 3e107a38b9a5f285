# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.last_cleanup import (
    failure_kept,
    keep_cleanup,
    last_cleanup,
)

SOCKET = "unix:///var/run/docker.sock"
RESULT = {
    "freed_bytes": 7, "predicted_bytes": 8, "reported_bytes": 9, "msg": "",
    "steps": [{"removed": {"count": 2}}, {"removed": {"count": 3}}], "kept": ["what is long"],
}  # fmt: skip


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The directory of the state."""
    monkeypatch.setattr(
        "ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.state.directory",
        lambda: str(tmp_path / "state"),
    )
    return tmp_path / "state"


def test_the_last_cleanup_of_each_engine_is_known(state):
    assert last_cleanup(SOCKET) is None
    keep_cleanup(SOCKET, RESULT, 1.5)
    keep_cleanup("unix:///other.sock", {**RESULT, "shortfall_bytes": 4, "freed_bytes": None, "msg": "images: no"}, 2.5)
    assert last_cleanup(SOCKET) == {
        "at": 1.5, "freed_bytes": 7, "predicted_bytes": 8, "reported_bytes": 9, "removed": 5, "shortfall_bytes": None,
        "failed": False, "msg": "",
    }  # fmt: skip
    other = last_cleanup("unix:///other.sock")
    assert other["failed"] and other["msg"] == "images: no" and other["shortfall_bytes"] == 4
    assert {file.stat().st_mode & 0o777 for file in state.iterdir()} == {0o600} and len(list(state.iterdir())) == 2


def test_of_one_that_came_to_no_result_it_is_known_why(state):
    keep_cleanup(SOCKET, RESULT, 1.5)
    for check_mode in (True, False):
        with pytest.raises(EngineError), failure_kept(SOCKET, check_mode):
            raise EngineError("it does not answer")
        assert last_cleanup(SOCKET)["failed"] is not check_mode
    told = last_cleanup(SOCKET)
    assert told.pop("at") > 1.5 and told.pop("msg") == "it does not answer" and told.pop("failed")
    assert set(told) == {name for name in RESULT if name.endswith("_bytes")} | {"removed", "shortfall_bytes"}
    assert set(told.values()) == {None}
    with failure_kept(SOCKET, False):
        keep_cleanup(SOCKET, RESULT, 2.5)
    assert last_cleanup(SOCKET)["removed"] == 5


@pytest.mark.parametrize("text", ["{broken", "[]", json.dumps(None)])
def test_what_cannot_be_read_is_not_known(state, text):
    keep_cleanup(SOCKET, RESULT, 1.5)
    (file,) = state.iterdir()
    file.write_text(text)
    assert last_cleanup(SOCKET) is None


def test_what_cannot_be_written_fails_nothing(state):
    state.write_text("no directory")
    keep_cleanup(SOCKET, RESULT, 1.5)
    assert last_cleanup(SOCKET) is None
