# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time
from urllib.parse import parse_qs, quote, urlsplit

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
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import host as _host
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import observe as _observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import Home
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import observe, records_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import carry_out, decide
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import options
from ansible_collections.buildfleet.buildcache.tests.unit.scripted_engine import SOON, ScriptedEngine, quiet_engine

RECORD = {"ID": "a", "Type": "regular", "Size": 10, "UsageCount": 1, "LastUsedAt": "2026-01-01T00:00:00Z"}
UNTAGGED = {"Id": "sha256:1", "RepoTags": [], "Size": 10, "SharedSize": 0, "Created": 1}
BUSY = {"status": 409, "json": {"message": "a prune operation is already running"}}
PRUNED = {"json": {"CachesDeleted": ["a"], "SpaceReclaimed": 10}}


def connection(path, **given):
    """Connection options as a module has them."""
    defaults = {
        "docker_host": f"unix://{path}",
        "api_version": "auto",
        "timeout": 5,
        "tls": False,
        "tls_hostname": None,
        "validate_certs": False,
        "ca_path": None,
        "client_cert": None,
        "client_key": None,
    }
    return dict(defaults, **given)


@pytest.fixture(autouse=True)
def settle_quickly(monkeypatch):
    """A scripted engine frees nothing, so there is nothing to wait for."""
    monkeypatch.setattr(_host, "_SETTLE_POLL", 0.0)


@pytest.fixture
def serve(tmp_path):
    """Start scripted engines, and stop them after the test."""
    engines = []

    def start(script):
        engine = ScriptedEngine(str(tmp_path / f"{len(engines)}.sock"), script)
        engine.__enter__()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.__exit__()


def client_of(engine, **given):
    return EngineClient(connection(engine.path, **given))


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


def prune(engine, deadline=20, **given):
    """Carry a prune out; returns what each step did, by name."""
    client = client_of(engine)
    wanted = wanted_from_options(options(**given))
    done, _after = carry_out(wanted, client, decide(wanted, observe(client), client), Deadline(deadline))
    return {one.step: one for one in done}


def image_entry(number, *tags, digests=()):
    """What the engine tells of an image, and the script that answers for it by each of its names."""
    entry = dict(UNTAGGED, Id=f"sha256:{number}", RepoTags=list(tags), RepoDigests=list(digests))
    names = [*tags, *digests] or [entry["Id"]]
    script = {f"GET /images/{quote(name, safe='')}/json": [{"json": entry}] for name in names}
    for name in names:
        answer = [{"Untagged": name}] + [{"Deleted": entry["Id"]}] * (name == names[-1])
        script[f"DELETE /images/{quote(name, safe='')}"] = [{"json": answer}]
    return entry, script


def held(*states, **script):
    """A script whose disk usage passes through these states of (records, images)."""
    usage = [{"json": {"BuildCache": records, "Images": images}} for records, images in states]
    return dict(quiet_engine(), **{"GET /system/df": usage}, **script)


def test_nothing_to_remove_makes_no_request_that_changes_anything(serve):
    engine = serve(held(([dict(RECORD, InUse=True)], [])))
    done = prune(engine)
    assert engine.writes == []
    assert not any(one.ids or one.error for one in done.values())


def test_images_go_before_the_cache_that_they_share(serve):
    shared = dict(RECORD, Shared=True)
    image, script = image_entry(1)
    engine = serve(held(([shared], [image]), ([RECORD], []), ([], []), **script, **{"POST /build/prune": [PRUNED]}))
    done = prune(engine)
    writes = [request.partition("?")[0] for request in engine.writes]
    assert writes == ["DELETE /images/sha256%3A1", "POST /build/prune"]
    assert (done["images"].ids, done["build_cache"].ids) == (("sha256:1",), ("a",))


def test_a_failed_step_hides_neither_earlier_nor_later_ones(serve):
    image, script = image_entry(1)
    other, script_of_other = image_entry(2)
    script["DELETE /images/sha256%3A1"] = [{"status": 500, "json": {"message": "driver failed"}}]
    script.update(script_of_other, **{"POST /build/prune": [PRUNED]})
    engine = serve(held(([RECORD], [image, other]), ([RECORD], [image]), ([], [image]), **script))
    done = prune(engine)
    assert "driver failed" in done["images"].error
    assert done["images"].ids == ("sha256:2",)
    assert done["build_cache"].ids == ("a",)


def test_an_engine_that_dies_leaves_what_was_done(serve):
    image, script = image_entry(1)
    engine = serve(held(([RECORD], [image]), ([RECORD], []), **script, **{"POST /build/prune": [{"drop": True}]}))
    done = prune(engine)
    assert done["images"].ids == ("sha256:1",)
    assert "Cannot talk to the engine" in done["build_cache"].error


def test_what_went_before_the_deadline_is_found_by_looking_again(serve):
    other = dict(RECORD, ID="b")
    engine = serve(held(([RECORD, other], []), ([other], []), **{"POST /build/prune": [dict(PRUNED, delay=1.5)]}))
    done = prune(engine, deadline=0.5)["build_cache"]
    assert done.ids == ("a",)
    assert "deadline" in done.error


def test_an_engine_that_claims_much_and_removes_nothing_does_not_keep_us(serve):
    engine = serve(held(([RECORD], []), **{"POST /build/prune": [PRUNED]}))
    prune(engine)
    assert len(engine.writes) == 1


def test_unused_images_go_by_all_their_names_and_one_that_came_into_use_stays(serve):
    pinned, script = image_entry(2, "a/b:1", "c:2", digests=["a/b@sha256:0"])
    taken, script_of_taken = image_entry(3, "d:1")
    script.update(script_of_taken)
    script["DELETE /images/d%3A1"] = [{"status": 409, "json": {"message": "it is used by a running container"}}]
    engine = serve(held(([], [pinned, taken]), ([], [taken]), **script))
    done = prune(engine, images="unused")["images"]
    assert (done.ids, done.bytes, done.error) == (("sha256:2",), 0, None)
    assert [request.rpartition("/")[2] for request in engine.writes] == [
        "a%2Fb%3A1",
        "c%3A2",
        "a%2Fb%40sha256%3A0",
        "d%3A1",
    ]


def test_a_name_that_is_another_images_by_now_is_left_alone(serve):
    moved, script = image_entry(1, "a:1")
    tagged_since, script_of_tagged = image_entry(2)
    script.update(script_of_tagged)
    script["GET /images/a%3A1/json"] = [{"json": image_entry(3, "a:1")[0]}]
    script["GET /images/sha256%3A2/json"] = [{"json": dict(tagged_since, RepoTags=["new:1"])}]
    engine = serve(held(([], [moved, tagged_since]), **script))
    assert prune(engine, images="unused")["images"].ids == ()
    assert engine.writes == []


FULL = {"status": 500, "json": {"message": "write /var/lib/docker/.tmp-repositories.json1: no space left on device"}}


def test_what_fails_on_a_full_disk_is_tried_again_once_something_has_gone(serve):
    """The engine has taken the name away though it could not write so: the image is left under its id."""
    tagged, script = image_entry(1, "a:1")
    nameless, more = image_entry(2)
    script.update(more)
    script["DELETE /images/a%3A1"] = [FULL]
    script["GET /images/a%3A1/json"] = [script["GET /images/a%3A1/json"][0], {"status": 404, "json": {"message": "no"}}]
    script["GET /images/sha256%3A1/json"] = [{"json": dict(tagged, RepoTags=[])}]
    script["DELETE /images/sha256%3A1"] = [{"json": [{"Deleted": "sha256:1"}]}]
    engine = serve(held(([], [tagged, nameless]), ([], []), **script))
    done = prune(engine, images="unused")["images"]
    assert (set(done.ids), done.error) == ({"sha256:1", "sha256:2"}, None)
    assert len([request for request in engine.writes if "a%3A1" in request]) == 1


def test_a_step_that_failed_on_a_full_disk_is_done_again_after_a_later_one_has_freed_some(serve):
    tagged, script = image_entry(1, "a:1")
    script["DELETE /images/a%3A1"] = [FULL, script["DELETE /images/a%3A1"][0]]
    script["POST /build/prune"] = [{"json": {"CachesDeleted": ["a"], "SpaceReclaimed": 100}}]
    engine = serve(held(([RECORD], [tagged]), ([RECORD], [tagged]), ([], [tagged]), ([], [tagged]), ([], []), **script))
    done = prune(engine, images="unused")
    assert [(one.step, one.ids, one.error) for one in done.values()] == [
        ("containers", (), None),
        ("images", ("sha256:1",), None),
        ("build_cache", ("a",), None),
    ]


def test_a_disk_that_stays_full_ends_it(serve):
    tagged, script = image_entry(1, "a:1")
    script["DELETE /images/a%3A1"] = [FULL]
    engine = serve(held(([], [tagged]), **script))
    done = prune(engine, images="unused")["images"]
    assert "no space left on device" in done.error and done.ids == ()
    assert len(engine.writes) == 1


def test_a_container_that_the_engines_prune_leaves_says_why(serve):
    script = {
        "GET /containers/json": [{"json": [{"Id": "c", "ImageID": "i", "State": "exited", "SizeRw": 5}]}],
        "POST /containers/prune": [{"json": {"ContainersDeleted": [], "SpaceReclaimed": 0}}],
        "DELETE /containers/c": [{"status": 500, "json": {"message": "the driver failed"}}],
    }
    engine = serve(held(([], []), **script))
    assert "the driver failed" in prune(engine, containers="stopped")["containers"].error
