# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import (
    BadOption,
    DeadlineReached,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import Image
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import Rule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import observe as _observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import Home
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import observe, records_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import decide
from ansible_collections.buildfleet.buildcache.tests.unit.clients import (
    BUSY,
    PRUNED,
    RECORD,
    UNTAGGED,
    client_of,
    connection,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import options
from ansible_collections.buildfleet.buildcache.tests.unit.scripted_engine import SOON, quiet_engine


def query(request):
    """The query of a logged request, with its filters decoded."""
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(request.split(" ", 1)[1]).query).items()}
    parameters["filters"] = json.loads(parameters.get("filters", "{}"))
    return parameters


@pytest.mark.parametrize(
    ("api", "least", "expected"),
    [("1.40", "1.12", (1, 40)), ("1.51", "1.24", (1, 51)), ("1.55", "1.40", (1, 55)), ("1.99", "1.44", (1, 55))],
)
def test_the_newest_api_that_both_sides_know_is_spoken(serve, api, least, expected):
    engine = serve(quiet_engine(api=api, min_api=least))
    assert client_of(engine).api_version == expected
    assert engine.requests == ["GET /version"]


@pytest.mark.parametrize(
    ("script", "given", "message"),
    [
        (quiet_engine(version="18.09.1", api="1.39", min_api="1.12"), {}, "19.03 with API 1.40 is the oldest"),
        (quiet_engine(version="35.0", api="1.90", min_api="1.70"), {}, "Upgrade the collection"),
        (quiet_engine(), {"api_version": "1.52"}, "speaks 1.40 to 1.51, not 1.52"),
        (quiet_engine(), {"api_version": "newest"}, "is not an API version"),
        ({"GET /version": [{"json": {"hello": "world"}}]}, {}, "is not a Docker engine"),
        ({"GET /version": [{"text": "<html>"}]}, {}, "is not a Docker engine"),
        ({"GET /version": [{"status": 500, "json": {"message": "broken"}}]}, {}, "500: broken"),
        ({"GET /version": [{"drop": True}]}, {}, "Cannot talk to the engine"),
        ({"GET /version": [{"delay": 2}]}, {"timeout": 1}, "did not answer GET /version within 1 s"),
    ],
)
def test_engines_that_cannot_be_used_are_told_apart(serve, script, given, message):
    with pytest.raises((EngineError, BadOption)) as refusal:
        client_of(serve(script), **given)
    assert message in str(refusal.value)


def test_a_missing_socket_and_a_dead_one_are_told_apart(tmp_path, serve):
    with pytest.raises(EngineError, match="There is no socket"):
        EngineClient(connection(tmp_path / "none.sock"))
    engine = serve(quiet_engine())
    engine.stop_listening()
    with pytest.raises(EngineError, match="Nothing listens"):
        client_of(engine)


@pytest.mark.parametrize(
    ("usage", "count"),
    [
        ({"BuildCache": [RECORD], "Images": [UNTAGGED], "LayersSize": 7}, 1),
        ({"BuildCache": None, "Images": None}, 0),
        ({"BuildCacheUsage": {"Items": [RECORD]}, "ImageUsage": {"Items": [UNTAGGED]}}, 1),
        ({}, 0),
    ],
)
def test_disk_usage_is_read_in_every_shape(serve, usage, count):
    client = client_of(serve(dict(quiet_engine(), **{"GET /system/df": [{"json": usage}]})))
    assert len(client.disk_usage()["BuildCache"]) == len(client.disk_usage()["Images"]) == count


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 404, "json": {"message": "snapshot sha256:1 does not exist: not found"}},
        {"status": 404, "json": {"message": "snapshot does not exist: not found"}},
        {"status": 500, "json": {"message": "parent snapshot sha256:2 does not exist: not found"}},
        {"status": 404, "json": {"message": "content digest sha256:3: not found"}},
        {"status": 500, "json": {"message": "a disk usage operation is already running"}},
    ],
)
def test_troubles_that_pass_are_waited_for(serve, trouble):
    usage = {"json": {"BuildCache": [RECORD]}}
    engine = serve(dict(quiet_engine(), **{"GET /system/df": [trouble, trouble, usage]}))
    assert [record.id for record in records_of(client_of(engine).disk_usage())] == ["a"]


@pytest.mark.parametrize(
    "odd",
    [
        {"GET /info": [{"json": {}}]},
        {"GET /info": [{"json": None}]},
        {"GET /system/df": [{"json": {"BuildCache": [{"Size": 1}]}}]},
        {"GET /system/df": [{"json": {"Images": "none"}}]},
        {"GET /containers/json": [{"json": {"a": 1}}]},
    ],
)
def test_an_answer_of_another_shape_is_reported(serve, odd):
    with pytest.raises(EngineError, match="a shape that is not known"):
        observe(client_of(serve(dict(quiet_engine(), **odd))))


def test_a_timeout_of_nothing_is_refused(tmp_path):
    with pytest.raises(BadOption, match="timeout: 0"):
        EngineClient(connection(tmp_path / "none.sock", timeout=0))


@pytest.fixture
def here(monkeypatch):
    """Have every engine be one of this host."""
    monkeypatch.setattr(_observe, "home_of", lambda docker_host, info: Home(os.getpid(), True))
    monkeypatch.setattr(_observe, "sees", lambda pid, path: True)


def test_observing_takes_four_requests(serve, here):
    engine = serve(quiet_engine(records=[RECORD], images=[UNTAGGED]))
    seen = observe(client_of(engine))
    assert engine.requests == [
        "GET /version",
        "GET /info",
        "GET /system/df?type=build-cache&type=image",
        "GET /containers/json?all=1&size=0",
    ]
    assert (len(seen.records), len(seen.images), seen.engine.image_store) == (1, 1, "graphdriver")
    assert [filesystem.path for filesystem in seen.filesystems] == ["/"]


def test_an_engine_that_is_not_shown_to_be_here_is_not_measured(serve):
    seen = observe(client_of(serve(quiet_engine())))
    assert (seen.engine.data_dirs, seen.engine.pid, seen.engine.started_at, seen.filesystems) == ((), None, None, ())
    assert "cannot be shown to be one of this host" in decide_doubt(seen) and seen.engine.doubt in decide_doubt(seen)


def decide_doubt(seen):
    """Why a plan that removes something is not exact."""
    seen = seen._replace(images=(Image("sha256:1", (), 10, 10, 1),))
    return decide(wanted_from_options(options()), seen, None).doubt


def test_the_containerd_store_is_known_by_its_driver_type(serve, here):
    script = quiet_engine()
    script["GET /info"][0]["json"].update(
        DriverStatus=[["driver-type", "io.containerd.snapshotter.v1"]],
        Containerd={"Address": "/var/run/docker/containerd/containerd.sock"},
        DockerRootDir="/data",
    )
    engine = observe(client_of(serve(script))).engine
    assert engine.image_store == "containerd"
    assert engine.data_dirs == ("/data/containerd/daemon", "/data")


@pytest.mark.parametrize(
    ("api", "name"), [("1.41", "keep-storage"), ("1.47", "keep-storage"), ("1.48", "reserved-space")]
)
def test_the_cap_goes_by_the_name_that_the_api_knows(serve, api, name):
    engine = serve(dict(quiet_engine(api=api), **{"POST /build/prune": [PRUNED]}))
    client_of(engine).prune_build_cache(Rule(all=True, keep_bytes=5), Deadline(5))
    assert query(engine.writes[0]) == {"all": "true", name: "5", "filters": {}}


def test_a_rule_becomes_filters(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [PRUNED]}))
    rule = Rule(unused_for=90 * SECOND, type="regular", id="abc", description='say "hi", twice', shared=False)
    client_of(engine).prune_build_cache(rule, Deadline(5))
    assert query(engine.writes[0])["filters"] == {
        "until": ["1m30s"],
        "type": ["regular"],
        "id": ["abc"],
        "description": ['"say \\"hi\\", twice"'],
        "private": [],
    }


def test_a_busy_engine_is_waited_for(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [BUSY, BUSY, PRUNED]}))
    assert client_of(engine).prune_build_cache(Rule(), Deadline(10)) == PRUNED["json"]
    assert len(engine.writes) == 3


def test_waiting_for_a_busy_engine_ends_at_the_deadline(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [BUSY]}))
    began = time.monotonic()
    with pytest.raises(DeadlineReached, match="already running") as reached:
        client_of(engine).prune_build_cache(Rule(), Deadline(1))
    assert time.monotonic() - began < SOON
    assert not reached.value.cut_off


def test_a_long_prune_is_not_cut_by_the_timeout(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [dict(PRUNED, delay=1.3)]}))
    assert client_of(engine, timeout=1).prune_build_cache(Rule(), Deadline(30)) == PRUNED["json"]


def test_a_long_prune_ends_at_the_deadline(serve):
    engine = serve(dict(quiet_engine(), **{"POST /build/prune": [dict(PRUNED, delay=1.5)]}))
    with pytest.raises(DeadlineReached) as reached:
        client_of(engine, timeout=5).prune_build_cache(Rule(), Deadline(0.5))
    assert reached.value.cut_off
