# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of an audit log: where it may be, whole lines whoever else writes, rotation, and a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import audit_log
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.audit_log import AuditLog, names_of, opened

LINE = "x" * 99


def lines_of(path):
    """All lines of a log, the youngest file first."""
    found = []
    for _name, file in opened(str(path)):
        with file:
            found += file.read().decode().splitlines()
    return found


def test_lines_are_appended_to_a_file_for_its_group_to_read(tmp_path):
    path, before = tmp_path / "audit.jsonl", os.umask(0o077)
    try:
        assert AuditLog(str(path), "1MB").append(["a", "b"]) == (2, "")
    finally:
        os.umask(before)
    assert AuditLog(str(path), "1MB").append(["c"]) == (1, "")
    assert path.read_text() == "a\nb\nc\n" and stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    AuditLog(str(path), "1MB").append(["d"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("path", "size", "says"),
    [
        ("", "1MB", "no absolute path"),
        ("audit.jsonl", "1MB", "no absolute path"),
        ("{0}/none/audit.jsonl", "1MB", "there is no directory {0}/none. Make it"),
        ("{0}/link", "1MB", "symbolic link"),
        ("{0}/dangling", "1MB", "symbolic link"),
        ("{0}/twice", "1MB", "other names too"),
        ("{0}/pipe", "1MB", "no regular file"),
        ("{0}", "1MB", "no regular file"),
        ("{0}/audit.jsonl", "10%", "is a percentage"),
        ("{0}/audit.jsonl", "", "is not a size"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path, path, size, says):
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.link(tmp_path / "elsewhere", tmp_path / "twice")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadOption) as refused:
        AuditLog(path.format(tmp_path), size)
    assert says.format(tmp_path) in str(refused.value)
    assert (tmp_path / "elsewhere").read_text() == ""


def test_a_link_that_comes_later_is_not_followed_either(tmp_path):
    log = AuditLog(str(tmp_path / "log"), "1MB")
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    logged, problem = log.append(["a"])
    assert logged == 0 and problem and not (tmp_path / "elsewhere").exists()
    with pytest.raises(BuildcacheError, match="cannot be read"):
        opened(str(tmp_path / "log"))


def test_a_log_that_grows_too_large_is_rotated_and_a_run_never_divided(tmp_path):
    path = tmp_path / "log"
    for run in range(12):
        assert AuditLog(str(path), "350B").append([f"{run:03} {LINE[:95]}", f"{run:03} {LINE[:95]}"]) == (2, "")
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2", "log.3"]
    # One run has 200 bytes, so that two do not fit.
    assert [line[:3] for line in lines_of(path)] == ["011"] * 2 + ["010"] * 2 + ["009"] * 2 + ["008"] * 2
    assert AuditLog(str(path), "350B").append([LINE] * 40) == (40, "")
    assert len(path.read_text().splitlines()) == 40


def test_who_holds_the_lock_keeps_the_file_from_being_rotated_and_no_line_from_being_written(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "_PATIENCE", 0.1)
    path = tmp_path / "log"
    AuditLog(str(path), "100B").append([LINE])
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert AuditLog(str(path), "100B").append([LINE]) == (1, "")
        assert os.listdir(tmp_path) == ["log"]
    AuditLog(str(path), "100B").append([LINE])
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]


def test_a_log_that_cannot_be_rotated_grows_on_and_says_so(tmp_path, monkeypatch):
    def refuse(*_names):
        raise OSError(errno.EROFS, "Read-only file system")

    log = AuditLog(str(tmp_path / "log"), "100B")
    log.append([LINE])
    monkeypatch.setattr(audit_log.os, "rename", refuse)
    logged, problem = log.append([LINE])
    assert logged == 1 and "could not be rotated: Read-only" in problem


_WRITER = """
import json, sys
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.audit_log import AuditLog

path, number = sys.argv[1:]
sys.stdin.read()
for run in range(40):
    lines = [json.dumps({"who": number, "run": run, "line": line, "text": "x" * 300}) for line in range(7)]
    assert AuditLog(path, "100KB").append(lines) == (7, "")
"""


def test_processes_that_write_side_by_side_tear_no_line_and_lose_none(tmp_path):
    path, environment = str(tmp_path / "log"), dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    commands = [[sys.executable, "-c", _WRITER, path, str(number)] for number in range(3)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) for command in commands]
    for one in writers:
        one.stdin.close()
    assert [one.wait(120) for one in writers] == [0] * 3
    found = [json.loads(line) for line in lines_of(path)]
    seen = {(one["who"], one["run"], one["line"]) for one in found}
    assert len(found) == len(seen) == 3 * 40 * 7
    # Some 300 KB: it was rotated under way.
    assert os.path.exists(f"{path}.1")
    # The lines of a run stand together.
    whos = [(one["who"], one["run"]) for one in found]
    assert sum(before != after for before, after in zip(whos, whos[1:])) == 3 * 40 - 1


def test_a_full_disk_loses_what_does_not_fit_and_the_next_run_begins_a_new_line(tmp_path, monkeypatch):
    path, really = tmp_path / "log", os.write
    AuditLog(str(path), "1MB").append(["first"])
    room = [10]

    def write(descriptor, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fits, room[0] = data[: room[0]], 0
        return really(descriptor, fits)

    monkeypatch.setattr(audit_log.os, "write", write)
    assert AuditLog(str(path), "1MB").append(["second", "third"]) == (1, "No space left on device.")
    assert AuditLog(str(path), "1MB").append(["fourth"]) == (0, "No space left on device.")
    monkeypatch.setattr(audit_log.os, "write", really)
    assert AuditLog(str(path), "1MB").append(["fifth"]) == (1, "")
    assert path.read_text() == "first\nsecond\nthi\nfifth\n"


def test_what_is_no_file_by_the_time_it_is_written_gets_nothing(tmp_path):
    log = AuditLog(str(tmp_path / "log"), "1MB")
    os.mkfifo(tmp_path / "log")
    logged, problem = log.append(["a"])
    assert logged == 0 and "no regular file" in problem


def test_a_file_that_is_rotated_while_the_log_is_opened_is_read_once(tmp_path, monkeypatch):
    path = str(tmp_path / "log")
    AuditLog(path, "1MB").append(["a"])
    really = os.open

    def open_and_rotate(name, *rest):
        found = really(name, *rest)
        if name == path:
            os.rename(path, f"{path}.1")
        return found

    monkeypatch.setattr(audit_log.os, "open", open_and_rotate)
    assert lines_of(path) == ["a"]
    assert lines_of(str(tmp_path / "none")) == [] and names_of("/l") == ["/l", "/l.1", "/l.2", "/l.3"]


def test_a_disk_that_is_really_full_keeps_whole_lines(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.decode().strip()}")
    try:
        log = AuditLog(str(disk / "log"), "1MB")
        logged, problem = log.append([f"{number:03} {LINE[:95]}" for number in range(200)])
        assert problem == "No space left on device." and 0 < logged < 90
        assert log.append(["more"]) == (0, "No space left on device.")
        whole = (disk / "log").read_bytes().split(b"\n")[:-1]
        assert [line[:3] for line in whole] == [b"%03d" % number for number in range(logged)]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
