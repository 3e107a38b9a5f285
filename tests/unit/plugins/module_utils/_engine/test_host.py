# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import host as _host


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "/var/lib/containerd"),
        ('version = 2\nroot = "/big/containerd"\n[plugins]\nroot = "/other"\n', "/big/containerd"),
        ("version = 2\n[plugins]\nroot = '/other'\n", "/var/lib/containerd"),
        ("# root = '/old'\n", "/var/lib/containerd"),
    ],
)
def test_the_root_of_the_systems_containerd_is_in_its_configuration(tmp_path, monkeypatch, config, expected):
    path = tmp_path / "config.toml"
    if config is not None:
        path.write_text(config)
    monkeypatch.setattr(_host, "CONTAINERD_CONFIG", str(path))
    assert _host.containerd_root("/var/lib/docker", "/run/containerd/containerd.sock") == expected


def test_an_engines_own_containerd_lives_below_its_root():
    socket = "/var/run/docker/containerd/containerd.sock"
    assert _host.containerd_root("/data", socket) == "/data/containerd/daemon"


def test_each_file_system_is_named_once_and_missing_directories_are_passed_over(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    found = _host.filesystems([str(tmp_path / "none"), str(tmp_path), str(inside)])
    assert [filesystem.path for filesystem in found] == [str(tmp_path)]
    figures = os.statvfs(str(tmp_path))
    assert found[0].total == figures.f_blocks * figures.f_frsize


def test_settling_ends_at_once_when_enough_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(_host.time, "sleep", lambda seconds: pytest.fail("It waited."))
    _host.settled_filesystems([str(tmp_path)], lambda seen: True)


def test_settling_ends_when_nothing_moves(monkeypatch):
    frees = iter([10, 20, 30] + [30] * 50)
    monkeypatch.setattr(_host, "filesystems", lambda paths: (_Disk(next(frees)),))
    monkeypatch.setattr(_host.time, "sleep", lambda seconds: None)
    assert _host.settled_filesystems(["x"], lambda seen: False)[0].free == 30
    assert len(list(frees)) == 45


class _Disk:
    def __init__(self, free):
        self.free = free


def test_a_process_start_is_read_from_its_pid_file(tmp_path):
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(os.getpid()))
    assert 0 < time.time() - _host.start_of(_host.pid_in(str(pid_file))) < 7200
    pid_file.write_text("nonsense")
    assert _host.start_of(_host.pid_in(str(pid_file))) is None
    assert _host.start_of(_host.pid_in(str(tmp_path / "none"))) is None
