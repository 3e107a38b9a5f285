# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builders beyond the engine's own, pruned each by itself. Real ones: tests/fleet/test_container_builders.py."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    CACHE_MOUNT,
    RUNNING,
    STOPPED,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import prune as _prune
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import Node
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.prune import Others
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import aimed
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, observation, options, record


def node(name, status=RUNNING, **given):
    return Node(name, "docker-container", f"{name}0", "default", status, **given)


class NodeClient:
    """A BuildKit with these records; it fails with ``problem`` when it is to prune."""

    def __init__(self, *records, disk=None, problem=None):
        self.held, self._disk, self._problem = list(records), disk, problem

    def observe(self, with_disk):
        return observation(self.held, filesystems=[self._disk] if with_disk and self._disk else [])

    def records(self):
        return tuple(self.held)

    def prune_build_cache(self, rule, deadline):
        if self._problem:
            raise self._problem
        gone = [one for one in self.held if not one.in_use]
        self.held = [one for one in self.held if one.in_use]
        return {"CachesDeleted": [one.id for one in gone], "SpaceReclaimed": sum(one.size for one in gone)}


class Buildx:
    """buildx with the clients of its builders, {name: NodeClient or an error}; notes what is started and stopped."""

    def __init__(self, clients, stays=False):
        self.clients, self.calls, self._stays = clients, [], stays

    def node_client(self, one):
        client = self.clients[one.builder]
        if isinstance(client, BuildcacheError):
            raise client
        return client

    def is_here(self, one):
        return one.endpoint == "default"

    def start(self, one):
        self.calls.append(("start", one.builder))
        if self._stays:
            raise BuildcacheError("no such image")
        return node(one.builder)

    def stop(self, one):
        self.calls.append(("stop", one.builder))


class Engine:
    """The engine on whose disk the builders are, with volumes {name: bytes}."""

    def __init__(self, volumes=()):
        self.sizes = dict(volumes)

    def volumes(self):
        return [{"Name": name, "UsageData": {"Size": size, "RefCount": 0}} for name, size in self.sizes.items()]


@pytest.fixture
def others(monkeypatch):
    """others(buildx, nodes, engine, filesystems, **options): the Others of a prune."""

    def made(buildx, nodes, engine=None, filesystems=(), **given):
        monkeypatch.setattr(_prune, "nodes_for", lambda options: (buildx, nodes))
        aim = given.pop("aim", None)
        given = {"bootstrap_stopped": False, "remove_orphaned_state": False, **options(**given)}
        wanted = wanted_from_options(given)
        wanted = aimed(wanted, observation(filesystems=[aim])) if aim else wanted
        return Others(given, wanted, engine or Engine(), filesystems)

    return made


def told(pruned):
    """What was done to each: {builder: (ids that went, why not)}."""
    return {one.node.builder: (one.done.ids, one.done.error or one.chosen.skipped) for one in pruned}


def test_the_preview_names_what_goes_and_one_that_fails_leaves_the_others_done(others):
    buildx = Buildx(
        {
            "one": NodeClient(record("a", 10), record("b", 20, in_use=True)),
            "out": BuildcacheError("it cannot be reached"),
            "bad": NodeClient(record("c"), problem=BuildcacheError("no answer")),
            "two": NodeClient(record("d", 40)),
        }
    )
    chosen = others(buildx, [node(name) for name in buildx.clients])
    preview, _orphans = chosen.pretend()
    assert [one.done.planned.ids for one in preview] == [("a",), (), ("c",), ("d",)]
    assert [one.id for one in preview[0].after.records] == ["b"]
    pruned, _orphans = chosen.prune(None)
    assert told(pruned) == {
        "one": (("a",), None),
        "out": ((), "it cannot be reached"),
        "bad": ((), "no answer"),
        "two": (("d",), None),
    }
    assert pruned[3].done.bytes == 40 and [one.id for one in pruned[0].after.records] == ["b"]


class LookedAt(NodeClient):
    """One whose cache mount was used by the first look."""

    def records(self):
        return (record("m", used="2026-01-10T12:00:00Z", type=CACHE_MOUNT),)


def test_what_the_look_itself_has_used_is_not_planned(others):
    buildx = Buildx({"ci": LookedAt(record("m", used="2026-01-09T12:00:00Z", type=CACHE_MOUNT))})
    (preview,), _orphans = others(buildx, [node("ci")], unused_for="1h").pretend()
    assert preview.done.planned.ids == ()


def test_one_that_is_stopped_is_passed_over_or_started_and_stopped_again(others):
    buildx, nodes = Buildx({"ci": NodeClient(record("a"))}), [node("ci", STOPPED), node("new", "inactive")]
    engine = Engine({"buildx_buildkit_ci0_state": 77})
    pruned, _orphans = others(buildx, nodes, engine).prune(None)
    assert told(pruned)["ci"] == ((), "It is stopped; bootstrap_stopped: true starts it, prunes it and stops it again.")
    assert "does not exist yet" in told(pruned)["new"][1] and not buildx.calls
    assert pruned[0].chosen.state_bytes == 77

    preview, _orphans = others(buildx, nodes, engine, bootstrap_stopped=True).pretend()
    assert "only once a run without check mode has started it" in told(preview)["ci"][1] and not buildx.calls
    pruned, _orphans = others(buildx, nodes, engine, bootstrap_stopped=True).prune(None)
    assert told(pruned)["ci"] == (("a",), None) and buildx.calls == [("start", "ci"), ("stop", "ci")]
    assert pruned[0].node.status == STOPPED


def test_one_that_was_started_and_is_used_meanwhile_is_not_stopped(others):
    buildx = Buildx({"ci": NodeClient(record("a"), record("b", in_use=True))})
    pruned, _orphans = others(buildx, [node("ci", STOPPED)], bootstrap_stopped=True).prune(None)
    assert buildx.calls == [("start", "ci")]
    assert told(pruned)["ci"] == (
        ("a",),
        "It was started to be pruned, and still runs: a build has begun to use it.",
    )


def test_one_that_cannot_be_started_is_said(others):
    buildx = Buildx({"ci": NodeClient(record("a"))}, stays=True)
    pruned, _orphans = others(buildx, [node("ci", STOPPED)], bootstrap_stopped=True).prune(None)
    assert told(pruned)["ci"] == ((), "It could not be started: no such image")


def test_what_one_frees_on_the_engines_disk_counts_for_the_next(others):
    disk = filesystem(total=1000, free=500)
    buildx = Buildx(
        {"one": NodeClient(record("a", 150), disk=disk), "two": NodeClient(record("b", 150), disk=disk)},
    )
    chosen = others(buildx, [node("one"), node("two")], filesystems=[disk], min_free_space="600B")
    preview, _orphans = chosen.pretend()
    assert [one.done.planned.ids for one in preview] == [("a",), ()]


def marked(others, disks, stages=None):
    """Two builders on the engine's disk, or beside it, that is to have 300 bytes available and has 100 of 1000."""
    disk = filesystem(1000, 200)
    buildx = Buildx({name: NodeClient(record(name, 120), disk=one) for name, one in zip(("one", "two"), disks)})
    chosen = others(
        buildx,
        [node(name) for name in buildx.clients],
        filesystems=[disk],
        high_watermark="101",
        low_watermark="300",
        stages=stages,
        aim=disk,
    )
    return [one.done.planned.ids for one in chosen.pretend()[0]]


def test_marks_are_the_engines_disks_and_what_one_frees_counts_for_the_next(others):
    disk = filesystem(1000, 200)
    assert marked(others, [disk, disk]) == [("one",), ("two",)]
    assert marked(others, [disk, disk], stages=[{"unused_for": "9d"}, {}]) == [("one",), ("two",)]
    # One with a disk of its own has its own marks to reach, and that one is below them.
    assert marked(others, [filesystem(5000, 4000), disk]) == [(), ("two",)]
