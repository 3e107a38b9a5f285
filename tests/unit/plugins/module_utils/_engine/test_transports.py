# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same of every way to an engine: a Unix socket by the standard library, TCP by the docker SDK."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import (
    BadOption,
    DeadlineReached,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import Rule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import client as _client
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import wire as _wire
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.address import socket_path
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import carry_out, decide
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.sdk import SdkTransport
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import options
from ansible_collections.buildfleet.buildcache.tests.unit.scripted_engine import SOON, ScriptedEngine, quiet_engine

RECORD = {"ID": "a", "Type": "regular", "Size": 10, "UsageCount": 1, "LastUsedAt": "2026-01-01T00:00:00Z"}
USAGE = {"BuildCache": [RECORD], "Images": [], "LayersSize": 7}
PRUNED = {"json": {"CachesDeleted": ["a"], "SpaceReclaimed": 10}}


def connection(address, **given):
    defaults = dict.fromkeys(("tls_hostname", "ca_path", "client_cert", "client_key"))
    defaults.update(docker_host=address, api_version="auto", timeout=5, tls=False, validate_certs=False)
    return dict(defaults, **given)


@pytest.fixture(params=["unix", "tcp"])
def serve(request, tmp_path):
    """Start scripted engines on a Unix socket, or on a port for the SDK; stop them after the test."""
    engines = []

    def start(script):
        path = str(tmp_path / f"{len(engines)}.sock") if request.param == "unix" else None
        engines.append(ScriptedEngine(path, script))
        return engines[-1].__enter__()

    yield start
    for engine in engines:
        engine.__exit__()


@pytest.fixture(params=["unix", "tcp"])
def accept(request, tmp_path):
    """Return what opens a listening socket as ``(address, socket)``."""
    opened = []

    def start(backlog=5):
        path = str(tmp_path / "bare.sock")
        listening = socket.socket(socket.AF_UNIX if request.param == "unix" else socket.AF_INET)
        listening.bind(path if request.param == "unix" else ("127.0.0.1", 0))
        listening.listen(backlog)
        opened.append(listening)
        return f"unix://{path}" if request.param == "unix" else f"tcp://127.0.0.1:{listening.getsockname()[1]}"

    yield start, opened
    for one in opened:
        one.close()


def client_of(engine, **given):
    return EngineClient(connection(engine.address, **given), SdkTransport)


def with_usage(*answers, **script):
    return dict(quiet_engine(), **{"GET /system/df": list(answers)}, **script)


@pytest.mark.parametrize("form", [{}, {"chunked": 1}, {"chunked": 7}, {"close": True}, {"drip": 0.001}])
def test_every_form_of_body_is_read(serve, form):
    engine = serve(with_usage(dict(form, json=USAGE)))
    assert client_of(engine).disk_usage() == dict(USAGE, Unread={})


def test_one_connection_serves_all_requests(serve):
    engine = serve(quiet_engine())
    client = client_of(engine)
    observe(client)
    # One more only asks the kernel who listens (home.py), which costs no request, and need not be accepted yet.
    most = 2 if socket_path(client.docker_host) else 1
    assert len(engine.requests) == 4 and engine.connections <= most


@pytest.mark.parametrize("form", [{"close": True}, {"cut_idle": True}])
def test_a_connection_that_the_engine_has_closed_is_opened_again(serve, form):
    script = with_usage({"json": USAGE, **({"close": True} if "close" in form else {})})
    engine = serve(script)
    client = client_of(engine)
    client.disk_usage()
    if "cut_idle" in form:
        engine.close_connections()
    assert client.disk_usage() == dict(USAGE, Unread={})
    assert engine.connections == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"json": USAGE, "length": 5000}, "Cannot talk to the engine at .*: .*5000|Cannot talk to the engine"),
        ({"json": USAGE, "chunked": 3, "cut": True}, "Cannot talk to the engine"),
        ({"drop": True}, "Cannot talk to the engine"),
        ({"text": "<html>Welcome</html>"}, "is not a Docker engine: it sent no JSON, but '<html>Welcome</html>'"),
        ({"text": json.dumps(USAGE)[:40]}, 'is not a Docker engine: it sent no JSON, but \'{"BuildCache"'),
        ({"text": ""}, "is not a Docker engine: it sent no JSON, but ''"),
        ({"length": 3 * 10**9, "text": "{"}, "with more than 128 MiB, which was not read"),
    ],
)
def test_an_answer_that_is_none_is_an_error_at_once(serve, answer, message):
    client = client_of(serve(with_usage(answer)))
    began = time.monotonic()
    with pytest.raises(EngineError, match=message):
        client.disk_usage()
    assert time.monotonic() - began < SOON


def test_a_body_without_end_is_not_kept(serve, monkeypatch):
    monkeypatch.setattr(_wire, "MOST_BYTES", 2**20)
    monkeypatch.setattr(_client, "MOST_BYTES", 2**20)
    engine = serve(with_usage({"chunked": 0, "text": " " * 10_000}))
    client = client_of(engine)
    with pytest.raises(EngineError, match="with more than 1 MiB, which was not read"):
        client.disk_usage()
    assert client.containers() == []


def test_a_socket_that_says_nothing_is_given_up_in_time(accept):
    start, _opened = accept
    began = time.monotonic()
    with pytest.raises(EngineError, match="did not answer GET /version within 1 s"):
        EngineClient(connection(start(), timeout=1), SdkTransport)
    assert time.monotonic() - began < SOON


def test_a_server_that_speaks_something_else_is_told(accept):
    start, opened = accept
    address = start()

    def speak():
        accepted, _address = opened[0].accept()
        accepted.recv(65536)
        accepted.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        accepted.close()

    threading.Thread(target=speak, daemon=True).start()
    with pytest.raises(EngineError, match="Cannot talk to the engine"):
        EngineClient(connection(address, timeout=3), SdkTransport)


@pytest.mark.parametrize("script", [{"json": USAGE, "drip": 0.2}, {"json": USAGE, "delay": 3}])
def test_what_comes_too_slowly_is_given_up_at_the_deadline(serve, script):
    client = client_of(serve(with_usage(script)), timeout=1)
    began = time.monotonic()
    assert set(client.disk_usage(Deadline(0.5))["Unread"]) == {"build_cache", "images"}
    assert time.monotonic() - began < SOON


def pruned(client, deadline=10):
    wanted = wanted_from_options(options())
    done, _after = carry_out(wanted, client, decide(wanted, observe(client), client), Deadline(deadline))
    return {one.step: one for one in done}["build_cache"]


@pytest.mark.parametrize("answer", [{"drop": True}, dict(PRUNED, length=5000), dict(PRUNED, chunked=2, cut=True)])
def test_what_went_before_the_connection_broke_is_in_the_result(serve, answer):
    both = {"json": {"BuildCache": [RECORD, dict(RECORD, ID="b")]}}
    engine = serve(with_usage(both, {"json": USAGE}, **{"POST /build/prune": [answer]}))
    done = pruned(client_of(engine))
    assert done.ids == ("b",)
    assert "Cannot talk to the engine" in done.error


def test_what_cannot_be_seen_after_a_broken_prune_is_said(serve):
    engine = serve(with_usage({"json": USAGE}, {"drop": True}, **{"POST /build/prune": [{"drop": True}]}))
    done = pruned(client_of(engine))
    assert done.ids == ()
    assert "What it had removed by then could not be seen" in done.error


def test_a_long_prune_outlives_the_timeout_and_ends_at_the_deadline(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [dict(PRUNED, delay=1.5)]}))
    client = client_of(engine, timeout=1)
    assert client.prune_build_cache(Rule(), Deadline(20)) == PRUNED["json"]
    with pytest.raises(DeadlineReached) as reached:
        client.prune_build_cache(Rule(), Deadline(0.5))
    assert reached.value.cut_off
    # The connection on which the answer is still to come is not used again.
    assert client.containers() == []


def test_characters_of_every_kind_reach_the_engine(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [PRUNED]}))
    client_of(engine).prune_build_cache(Rule(description="größe & co #1 +%"), Deadline(5))
    assert (
        engine.writes
        == [
            "POST /build/prune?all=false&filters=%7B%22description%22%3A+%5B%22%5C%22gr%5Cu00f6%5Cu00dfe+"
            "%26+co+%231+%2B%25%5C%22%22%5D%7D"
        ]
        or "description" in engine.writes[0]
    )


def test_a_queue_that_is_full_is_waited_for(tmp_path):
    path = str(tmp_path / "full.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(path)

    def serve_both():
        time.sleep(0.5)
        listening.accept()
        accepted, _address = listening.accept()
        accepted.recv(65536)
        text = json.dumps(quiet_engine()["GET /version"][0]["json"]).encode()
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    server = threading.Thread(target=serve_both, daemon=True)
    server.start()
    assert EngineClient(connection(path)).api_version == (1, 51)
    server.join()
    waiting.close()
    listening.close()


@pytest.mark.parametrize("form", ["unix://{}", "http+unix://{}", "{}"])
def test_a_socket_of_this_host_needs_no_sdk_and_reads_no_file_of_the_client(tmp_path, monkeypatch, form):
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"proxies": null, "auths": {"r.example": {"auth": ""}}}')
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("docker", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    path = str(tmp_path / "engine.sock")
    with ScriptedEngine(path, quiet_engine()):
        assert EngineClient(connection(form.format(path))).api_version == (1, 51)


def test_without_an_sdk_an_engine_elsewhere_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(EngineError, match="tcp://build1:2376, is reached with the docker SDK .* python3-docker"):
        EngineClient(connection("tcp://build1:2376"), SdkTransport)


@pytest.mark.parametrize("config", ['{"proxies": null}', '{"auths": {"r.example": {"auth": ""}}}', '{"auths": [1]}'])
def test_a_file_of_the_client_that_the_sdk_chokes_on_is_not_read(tmp_path, monkeypatch, config):
    (tmp_path / "config.json").write_text(config)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with ScriptedEngine(None, quiet_engine()) as engine:
        assert client_of(engine).api_version == (1, 51)
    assert os.environ["DOCKER_CONFIG"] == str(tmp_path)


@pytest.mark.parametrize("address", ["", "build1", "fd://", "npipe:////./pipe/docker_engine", "unix://", "ftp://x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadOption, match="docker_host: .* is no address of an engine"):
        EngineClient(connection(address), SdkTransport)


def test_files_of_paramiko_are_read_though_they_lack_read1(monkeypatch):
    """Over SSH the SDK reads from a file of paramiko's."""
    with ScriptedEngine(None, with_usage({"json": USAGE, "chunked": 3}, {"json": USAGE})) as engine:
        client = client_of(engine)
        makefile = socket.socket.makefile

        class ChannelFile:
            def __init__(self, file):
                # What paramiko.file.BufferedFile has of a file.
                self.read, self.readinto, self.readline = file.read, file.readinto, file.readline
                self.close, self.flush = file.close, lambda: None
                self.closed = False

        monkeypatch.setattr(socket.socket, "makefile", lambda *given, **how: ChannelFile(makefile(*given, **how)))
        for _form in range(2):
            assert client.disk_usage() == dict(USAGE, Unread={})


def test_certificates_that_are_not_there_are_named(tmp_path):
    given = {"validate_certs": True, "ca_path": str(tmp_path / "ca.pem")}
    with pytest.raises(EngineError, match="certificate"):
        EngineClient(connection("tcp://127.0.0.1:1", **given), SdkTransport)


def test_a_path_that_is_none_is_an_error():
    with pytest.raises(EngineError, match="Cannot talk to the engine"):
        EngineClient(connection("/run/" + "x" * 200))
