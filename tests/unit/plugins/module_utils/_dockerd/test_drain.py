# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is waited for before a restart. With real requests to real engines: tests/fleet/test_drain.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import drain as _drain
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.drain import (
    UNKNOWN,
    containers_to_end,
    drain,
    unfinished,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.requests import open_requests, waited_for

# As Engine 28.5.2 writes them, shortened.
STACKS = """goroutine 71 [IO wait]:
net/http.(*conn).serve(0x4000)
\t/usr/lib/go/src/net/http/server.go:2092 +0x5d0

goroutine 4021 [select]:
github.com/docker/docker/api/server/router/image.(*imageRouter).{handler}(0xc000, {{0x1, 0xc001}}, 0xc002)
\t/build/api/server/router/image/image_routes.go:280 +0x3f4
net/http.(*conn).serve(0xc0009dc7e0)

goroutine 4022 [chan receive]:
io.copyBuffer({{0x55, 0xc000}})
created by github.com/docker/docker/api/server/router/image.(*imageRouter).postImagesPush in goroutine 4021
"""


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ("getImagesGet", ["a save"]),
        ("postImagesCreate", ["a pull or an import"]),
        ("getImagesJSON", []),
        # A part of a handler in a goroutine of its own.
        ("postImagesLoad.func1", []),
    ],
)
def test_requests_are_known_by_their_handlers(handler, words):
    assert waited_for(STACKS.format(handler=handler)) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("github.com/docker/docker/api/server/router/system.(*systemRouter).getEvents(0xc0)", []),
        ("github.com/docker/docker/api/server/router/container.(*containerRouter).postContainersWait(0xc0)", []),
        ("github.com/docker/docker/api/server/router/build.(*buildRouter).postBuild(0xc0)", ["a build"]),
        ("github.com/moby/moby/v2/daemon/server/router/build.(*buildRouter).postBuild(0xc0)", ["a build"]),
        ("github.com/moby/buildkit/control.(*Controller).Solve(0xc0)", ["a build"]),
        ("github.com/moby/buildkit/control.(*Controller).ListWorkers(0xc0)", []),
    ],
)
def test_what_only_looks_on_is_none_of_it(line, words):
    assert waited_for(f"goroutine 1 [select]:\n{line}\n\tfile.go:1 +0x1\n") == words


def test_a_process_that_is_no_dockerd_is_sent_no_signal():
    # SIGUSR1 would end it.
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert open_requests(process.pid, {}) is None
        process.communicate(b"\n", timeout=10)
        assert process.returncode != -signal.SIGUSR1
    finally:
        process.kill()


def test_a_process_that_is_gone_gives_no_account():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert open_requests(process.pid, {}) is None and open_requests(None, {}) is None


@pytest.fixture
def dockerd(tmp_path):
    """A process that writes its stacks where a dockerd does: dockerd(options) starts one; ``called`` is its name."""
    started = []
    script = (
        "import os, signal, sys, time\n"
        "def write(*_):\n"
        "    open(sys.argv[1] + '/goroutine-stacks-2026-01-10T120000Z.log', 'w').write(sys.argv[2])\n"
        "signal.signal(signal.SIGUSR1, write)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )

    def start(*options, called="dockerd"):
        program = tmp_path / called
        program.symlink_to(sys.executable)
        command = [str(program), "-c", script, str(tmp_path), STACKS.format(handler="getImagesGet"), *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"ready\n"
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("form", ["--exec-root={}", "--exec-root {}", ""])
def test_the_account_is_found_where_dockerd_keeps_it_and_removed(dockerd, tmp_path, form):
    pid = dockerd(*form.format(tmp_path).split())
    assert open_requests(pid, {} if form else {"exec-root": str(tmp_path)}) == ["a save"]
    assert [name for name in os.listdir(tmp_path) if "stacks" in name] == []


def test_a_dockerd_by_another_name_is_asked_too(dockerd, tmp_path):
    assert open_requests(dockerd(called=".dockerd-wrapped"), {"exec-root": str(tmp_path)}) == ["a save"]


def entry(name, state="running", job=None):
    return {"Names": [f"/{name}"], "State": state, "Labels": {"ci.job": job} if job else None}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], []),
        (["all"], ["bare", "other", "paused", "seven"]),
        (["ci.job"], ["other", "paused", "seven"]),
        (["ci.job=7"], ["paused", "seven"]),
        (["ci.job=7", "ci.job=8"], ["other", "paused", "seven"]),
        (["ci"], []),
        (["ci.job="], []),
    ],
)
def test_containers_are_chosen_by_labels(wanted, names):
    containers = [
        entry("seven", job="7"),
        entry("other", job="8"),
        entry("paused", "paused", job="7"),
        entry("ended", "exited", job="7"),
        entry("bare"),
    ]
    assert containers_to_end(containers, wanted) == names


class Client:
    """An engine's build cache: entries, or the status of an error, None for one that does not answer."""

    def __init__(self, cache):
        self.cache = cache

    def build_cache(self):
        if isinstance(self.cache, list):
            return self.cache
        raise EngineError("layer does not exist", status=self.cache)


@pytest.mark.parametrize(
    ("cache", "asked", "expected"),
    [
        ([], [], None),
        ([{"InUse": False}], None, None),
        ([{"InUse": True}, {"InUse": True}], [], ("A build still runs", "it uses 2 build-cache records")),
        ([], ["a save", "a pull or an import"], ("A save and a pull or an import still run", "dockerd answers such")),
        # Where the cache cannot be listed, no request is no build.
        (500, [], None),
        (500, ["a build"], ("A build still runs", "dockerd answers such")),
        (500, None, UNKNOWN),
    ],
)
def test_what_is_unfinished_is_told_or_that_it_cannot_be(cache, asked, expected, monkeypatch):
    monkeypatch.setattr(_drain, "open_requests", lambda pid, config: asked)
    now = SimpleNamespace(client=Client(cache), pid=1, config=SimpleNamespace(data={}))
    said = unfinished(now, [])
    assert said == expected or (said[0] == expected[0] and said[1].startswith(expected[1]))
    if expected is None or expected is UNKNOWN:
        assert drain(now, [], time.monotonic() - 1, "0s") is (expected is None)
    else:
        with pytest.raises(BuildcacheError) as refused:
            drain(now, [], time.monotonic() - 1, "0s")
        assert f"{expected[0]} after 0s (drain_timeout)" in str(refused.value)


def test_an_engine_that_does_not_answer_is_an_error_and_not_idle():
    with pytest.raises(EngineError):
        unfinished(SimpleNamespace(client=Client(None)), [])
