# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real sockets, held by this process; real engines, tunnels and users are in tests/fleet/test_who_answers.py."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import home as _home
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import Home, home_of


def ours():
    """The PID of this process: not a constant, since each test may be run in a process of its own."""
    return os.getpid()


@pytest.fixture
def named(monkeypatch):
    """Have this process be known by another name."""
    known = _home._name

    def name(text):
        monkeypatch.setattr(_home, "_name", lambda pid: text if str(pid) == str(ours()) else known(pid))

    return name


@pytest.fixture(params=["unix", "tcp"])
def address(request, tmp_path):
    """The address of a socket that this process listens on."""
    kind = socket.AF_UNIX if request.param == "unix" else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "a b.sock") if request.param == "unix" else ("127.0.0.1", 0))
        listener.listen()
        yield (
            f"unix://{tmp_path}/a b.sock" if request.param == "unix" else f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        )


@pytest.mark.parametrize("called", ["dockerd", "dockerd-current", ".dockerd-wrappe", "balenad"])
def test_a_dockerd_that_listens_is_the_engine(called, address, named, tmp_path):
    named(called)
    assert home_of(address, {"DockerRootDir": str(tmp_path)}) == Home(ours(), True)
    assert _home.listening_dockerd(address) == ours()


def test_a_service_manager_listens_for_the_dockerd_that_holds_the_same_socket(address, named, tmp_path, monkeypatch):
    named("systemd")
    monkeypatch.setattr(_home, "_dockerds", lambda: [ours()])
    assert home_of(address, {"DockerRootDir": str(tmp_path)}) == Home(ours(), True)
    monkeypatch.setattr(_home, "_dockerds", lambda: [os.getppid()])
    found = home_of(address, {"DockerRootDir": str(tmp_path)})
    assert found[:2] == (None, False) and "no dockerd of this host can be seen to listen there" in found.doubt


def test_another_process_in_its_place_is_named(address, named, tmp_path):
    named("ssh")
    found = home_of(address, {"DockerRootDir": str(tmp_path)})
    assert found[:2] == (None, False)
    assert found.doubt.startswith(f"The engine at {address} cannot be shown to be one of this host: ")
    assert (f"ssh (PID {ours()}) listens there" if address.startswith("unix") else "no dockerd") in found.doubt
    assert _home.listening_dockerd(address) is None


def test_an_engine_that_sees_another_directory_is_not_here(address, named, tmp_path):
    named("dockerd")
    found = home_of(address, {"DockerRootDir": f"{tmp_path}/none"})
    assert found[:2] == (ours(), False) and f"has another {tmp_path}/none than this host" in found.doubt


@pytest.mark.parametrize(
    "elsewhere", ["tcp://10.1.2.3:2376", "ssh://root@build1", "https://engine.example", "tcp://localhost.example:2375"]
)
def test_an_engine_with_another_hosts_address_is_there_without_doubt(elsewhere):
    assert home_of(elsewhere, {}) == Home()
    assert _home.listening_dockerd(elsewhere) is None


@pytest.mark.parametrize("nothing", ["unix:///nonexistent.sock", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "/none"])
def test_where_nothing_listens_nobody_is_found(nothing):
    assert home_of(nothing, {})[:2] == (None, False)


@pytest.mark.parametrize(("name", "is_its"), [(os.uname().nodename, True), ("another", False)], ids=["its", "another"])
def test_a_user_who_may_not_look_goes_by_the_name_of_the_host(named, tmp_path, monkeypatch, name, is_its):
    def denied(_pid):
        raise PermissionError

    named("systemd")
    monkeypatch.setattr(_home, "_dockerds", lambda: [ours()])
    monkeypatch.setattr(_home, "_sockets", denied)
    monkeypatch.setattr(_home, "owner_of", lambda _pid: 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        found = home_of(f"unix://{tmp_path}/s", {"DockerRootDir": str(tmp_path), "Name": name})
    assert (found.pid, found.here) == (ours() if is_its else None, is_its)
