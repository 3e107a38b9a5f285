# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that give up what a full disk can spare, run on a directory."""

from __future__ import annotations

import errno
import json
import os

import pytest
from ansible.module_utils import basic

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import audit_log
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import lock as _lock
from ansible_collections.buildfleet.buildcache.plugins.modules import buildcache_ballast, buildcache_rescue

ID = "ab" * 32


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The engine's directory, with two logs."""
    monkeypatch.setattr(_lock, "LOCK_FILE", str(tmp_path / "lock"))
    monkeypatch.setattr(buildcache_rescue, "listening_dockerd", lambda docker_host: 7)
    found = tmp_path.resolve() / "docker"
    logs = found / "containers" / ID
    logs.mkdir(parents=True)
    for end in ("", ".1"):
        (logs / f"{ID}-json.log{end}").write_bytes(os.urandom(20_000))
    return found


@pytest.fixture
def run(root, monkeypatch, capsys):
    """Run a module; return its result, and in it under ``warned`` what it warned of."""
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda module, text: warned.append(text))

    def run(module, check=False, diff=True, **options):
        name = "root_dir" if module is buildcache_rescue else "data_path"
        given = {name: str(root), **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            module.main()
        said = " ".join(warned)
        warned.clear()
        return {**json.loads(capsys.readouterr().out), "warned": said}

    return run


def test_check_mode_names_what_a_run_then_gives_up(root, run):
    assert run(buildcache_ballast, size="64KB", inodes=3)["changed"]
    options = {"ballast": "default", "container_logs_over": "10KB"}
    preview = run(buildcache_rescue, check=True, **options)
    first, second = (run(buildcache_rescue, **options) for _time in range(2))
    log = f"{root}/containers/{ID}/{ID}-json.log"
    paths = [[f"{root}/buildcache-ballast", f"{root}/buildcache-ballast.inodes"], [log, f"{log}.1"]]
    for result in (preview, first):
        assert [one["paths"] for one in result["steps"]] == paths and result["changed"]
        assert log in result["diff"]["before"] and "none to give up" in result["diff"]["after"]
    assert preview["freed_bytes"] == 0 and not preview["warned"]
    assert first["ballast"] == {"path": paths[0][0], "size_bytes": 65536, "inodes": 3}
    assert "docker logs --tail does not work" in first["warned"]
    assert not second["changed"] and second["ballast"] is None and second["diff"] == {"before": "", "after": ""}
    assert second["short"] == {"before": [], "after": []}
    assert not os.path.exists(f"{log}.1") and os.stat(log).st_size == 0


def test_nothing_goes_where_enough_is_free(root, run):
    run(buildcache_ballast, size="64KB", inodes=3)
    result = run(buildcache_rescue, ballast="default", container_logs_over="10KB", until_free="1KB")
    assert not result["changed"] and [one["planned_bytes"] for one in result["steps"]] == [0, 0]
    assert result["short"] == {"before": [], "after": []}


def test_a_step_that_fails_leaves_the_others_done(root, run, monkeypatch):
    def denied(opened, length):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    run(buildcache_ballast, size="64KB", inodes=0)
    monkeypatch.setattr(os, "ftruncate", denied)
    result = run(buildcache_rescue, ballast="default", container_logs_over="10KB")
    assert result["failed"] and result["changed"]
    assert result["msg"].startswith("container_logs: 1 of 2 failed: ") and "run again" in result["msg"]
    assert [len(one["paths"]) for one in result["steps"]] == [1, 1]


def test_what_went_is_logged_though_a_step_fails_and_nothing_in_check_mode(root, run, monkeypatch):
    def denied(opened, length):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    run(buildcache_ballast, size="64KB", inodes=0)
    monkeypatch.setattr(os, "ftruncate", denied)
    log = root.parent / "audit.jsonl"
    options = {"ballast": "default", "container_logs_over": "10KB", "audit_log": str(log), "run_id": "r1"}
    refused = run(buildcache_rescue, **{**options, "audit_log": str(root / "none" / "log")})
    assert refused["failed"] and "there is no directory" in refused["msg"] and "steps" not in refused
    assert "run_id: it is empty" in run(buildcache_rescue, **{**options, "run_id": " "})["msg"]
    assert "audit" not in run(buildcache_rescue, check=True, **options) and not log.exists()
    result = run(buildcache_rescue, **options)
    assert result["failed"] and result["audit"] == {"path": str(log), "run": "r1", "entries": 2}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["kind"], one["id"]) for one in lines] == [
        ("ballast", f"{root}/buildcache-ballast"),
        ("container_logs", f"{root}/containers/{ID}/{ID}-json.log.1"),
    ]
    assert lines[1]["why"] == {"container_logs_over": "10KB"} and lines[1]["bytes"] >= 20_000


def test_a_log_that_cannot_be_written_is_a_warning(root, run, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    log = root.parent / "audit.jsonl"
    monkeypatch.setattr(audit_log.os, "write", full)
    result = run(buildcache_rescue, container_logs_over="10KB", audit_log=str(log))
    monkeypatch.undo()
    assert not result.get("failed") and len(result["steps"][0]["paths"]) == 2 and result["audit"]["entries"] == 0
    assert f"audit_log: {log}: 2 of 2 entries are not in it. No space left on device." in result["warned"]


def test_a_directory_that_cannot_be_read_is_a_step_that_failed(root, run, monkeypatch):
    os.rename(root / "containers", root / "elsewhere")
    os.symlink(root / "elsewhere", root / "containers")
    result = run(buildcache_rescue, container_logs_over="10KB")
    assert result["failed"] and "container_logs: containers cannot be read: " in result["msg"], result["msg"]
    assert len(os.listdir(root / "elsewhere" / ID)) == 2


def test_a_ballast_is_laid_once_and_shown(root, run):
    path = str(root / "buildcache-ballast")
    preview = run(buildcache_ballast, check=True, size="64KB")
    assert preview["changed"] and not os.path.exists(path)
    assert preview["diff"]["before"] == {} and preview["diff"]["after"]["size"] == 65536
    assert [run(buildcache_ballast, size="64KB", inodes=3)["changed"] for _time in range(2)] == [True, False]
    smaller = run(buildcache_ballast, size="32KB", inodes=2)
    assert smaller["diff"]["before"]["inodes"] == 3 and smaller["size_bytes"] == 32768
    assert [run(buildcache_ballast, state="absent")["changed"] for _time in range(2)] == [True, False]
    assert os.listdir(root) == ["containers"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "state is present but all of the following are missing: size"),
        ({"size": ""}, "is not a size"),
        ({"size": "0"}, "less than a byte"),
        ({"size": "1KB", "leave_free": ""}, "is not a size"),
        ({"size": "1KB", "path": ""}, "no absolute path"),
        ({"size": "1KB", "path": "/nowhere/ballast"}, "there is no directory /nowhere"),
        ({"size": "1KB", "path": "/proc/ballast"}, "on another file system"),
        ({"size": "1KB", "data_path": ""}, "data_path: '' is no directory"),
        ({"size": "1KB", "inodes": -1}, "is no number of files"),
        ({"size": "100%"}, "There is no room"),
    ],
)
def test_a_ballast_that_cannot_be_meant_is_refused(root, run, options, says):
    result = run(buildcache_ballast, **options)
    assert result["failed"] and says in result["msg"], result["msg"]
    assert os.listdir(root) == ["containers"]


def test_without_room_it_is_left_with_a_warning_where_that_is_asked(root, run):
    result = run(buildcache_ballast, size="64KB", leave_free="100%", require_room=False)
    assert not result["changed"] and result["size_bytes"] is None and "There is no room" in result["warned"]
