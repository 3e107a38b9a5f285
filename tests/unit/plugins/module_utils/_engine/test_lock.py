# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import types

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import lock as _lock
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.lock import locked

HERE = {"docker_host": "unix:///var/run/docker.sock", "lock_timeout": "100ms"}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


@pytest.mark.parametrize(("first", "second", "meet"), [(True, True, True), (True, False, False), (False, True, False)])
def test_those_who_look_share_and_others_are_alone(path, first, second, meet):
    with locked(HERE, shared=first, path=path):
        if meet:
            with locked(HERE, shared=second, path=path):
                pass
        else:
            with pytest.raises(BuildcacheError, match=r"for longer than 100ms \(lock_timeout\)"):
                with locked(HERE, shared=second, path=path):
                    pass
    with locked(HERE, path=path):
        assert os.path.exists(path)


def test_a_failure_lets_go(path):
    with pytest.raises(ZeroDivisionError):
        with locked(HERE, path=path):
            raise ZeroDivisionError
    with locked(HERE, path=path):
        pass


def test_an_engine_elsewhere_has_no_lock_here(path):
    with locked(dict(HERE, docker_host="tcp://build1.example.com:2376"), path=path):
        assert not os.path.exists(path)


def test_what_cannot_be_locked_is_said(path):
    with pytest.raises(BadOption, match="lock_timeout: 'long' is not a duration"):
        with locked(dict(HERE, lock_timeout="long"), path=path):
            pass
    os.symlink("elsewhere", path)
    with pytest.raises(BuildcacheError, match="cannot be opened"):
        with locked(HERE, path=path):
            pass


def test_what_others_have_put_in_its_place_holds_nobody_up(path):
    os.mkfifo(path)
    with pytest.raises(BuildcacheError, match="is no file"):
        with locked(HERE, path=path):
            pass


def test_only_those_who_may_use_the_engine_can_hold_it(tmp_path, monkeypatch):
    path = tmp_path / "buildcache" / "lock"
    given, modes = [0], []
    known = os.fstat

    def fstat(descriptor):
        fields = list(known(descriptor))
        fields[stat.ST_GID] = given[-1]
        return os.stat_result(fields)

    monkeypatch.setattr(_lock.os, "fstat", fstat)
    monkeypatch.setattr(_lock.os, "fchown", lambda _descriptor, _user, group: given.append(group))
    old = os.umask(0o077)
    try:
        # Without a socket, and with one of root's own, root alone can hold it; the first group that has one shares it.
        for group in (None, 0, 990, 990, 0, 991):
            socket = None if group is None else types.SimpleNamespace(st_uid=0, st_gid=group)
            monkeypatch.setattr(_lock, "_socket", lambda _address, found=socket: found)
            with locked(HERE, path=str(path)):
                modes.append([os.stat(str(one)).st_mode & 0o777 for one in (path.parent, path)])
    finally:
        os.umask(old)
    assert modes == [[0o755, 0o600]] * 2 + [[0o755, 0o640]] * 4
    assert given == [0, 990]


def test_where_the_lock_cannot_be_made_nobody_holds_it(path, monkeypatch):
    def forbidden(path, *flags):
        raise FileNotFoundError if len(flags) == 1 else PermissionError

    monkeypatch.setattr(_lock.os, "open", forbidden)
    with locked(HERE, path=path):
        pass


def test_a_rootless_engine_has_the_lock_of_its_user(tmp_path, monkeypatch):
    socket = tmp_path / "docker.sock"
    socket.write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(_lock.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(_lock.os, "stat", lambda path: os.stat_result((0, 0, 0, 0, 1000, 1000, 0, 0, 0, 0)))
    assert _lock._lock_file(f"unix://{socket}") == str(tmp_path / "buildcache" / "lock")
    monkeypatch.setattr(_lock.os, "geteuid", lambda: 1001)
    assert _lock._lock_file(f"unix://{socket}") == _lock.LOCK_FILE
