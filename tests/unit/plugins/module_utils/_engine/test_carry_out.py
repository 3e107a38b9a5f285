# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the steps of a prune ask of an engine, and what they make of its answers."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import host as _host
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import (
    observe,
    observe_to_decide,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import carry_out, decide
from ansible_collections.buildfleet.buildcache.tests.unit.clients import (
    PRUNED,
    RECORD,
    UNTAGGED,
    client_of,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import options
from ansible_collections.buildfleet.buildcache.tests.unit.scripted_engine import quiet_engine


@pytest.fixture(autouse=True)
def settle_quickly(monkeypatch):
    """A scripted engine frees nothing, so there is nothing to wait for."""
    monkeypatch.setattr(_host, "_SETTLE_POLL", 0.0)


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


MOUNT = dict(RECORD, Type="exec.cachemount")
LOOKED_AT = dict(MOUNT, LastUsedAt="2026-01-02T00:00:00Z", UsageCount=2)


@pytest.mark.parametrize(
    ("api", "records", "uses"), [("1.51", [MOUNT], 2), ("1.41", [MOUNT], 1), ("1.51", [RECORD], 1), ("1.51", [], None)]
)
def test_who_decides_by_last_uses_looks_again_where_a_look_is_one(serve, api, records, uses):
    script = held((records, []), ([LOOKED_AT], []), **{"GET /version": quiet_engine(api=api)["GET /version"]})
    engine = serve(script)
    seen = observe_to_decide(client_of(engine), False, Deadline(5))
    assert [record.usage_count for record in seen.records] == ([uses] if uses else [])
    looks = [request for request in engine.requests if "/system/df" in request]
    assert len(looks) == (2 if uses == 2 else 1)
    assert [record.usage_count for record in observe(client_of(serve(script))).records] == [1] * len(records)


def test_records_that_cannot_be_read_again_are_those_of_the_first_look(serve):
    script = held(([MOUNT], []))
    script["GET /system/df"].append({"status": 500, "json": {"message": "broken"}})
    seen = observe_to_decide(client_of(serve(script)), False, Deadline(5))
    assert [record.usage_count for record in seen.records] == [1]
