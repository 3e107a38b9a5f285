# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of builders that nobody has: which of it may go. With real containers: tests/fleet/test_builders.py."""

from __future__ import annotations

import json
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuilderError, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import Orphan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, format_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import observe as _observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import orphans as _orphans
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.clear import plan_orphans, remove_orphans
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.orphans import find_orphans, orphans

HOUR = 3600 * SECOND
DAY = 24 * HOUR
PREFIX = "buildx_buildkit_"
NEVER = "0001-01-01T00:00:00Z"


def ago(hours):
    return format_timestamp(time.time_ns() - int(hours * HOUR))


class Host:
    """An engine and its docker command. ``states`` are the State of each container by node, ``builds`` the records of
    its BuildKit or an error, ``volumes`` the bytes and age in hours of each state volume by node."""

    def __init__(self, states=(), builds=(), volumes=(), refused=()):
        self.states, self.builds, self.sizes = dict(states), dict(builds), dict(volumes)
        self.refused, self.gone = refused, []

    def volumes(self):
        return [
            {
                "Name": f"buildx_buildkit_{node}_state",
                "CreatedAt": ago(hours),
                "UsageData": {"Size": size, "RefCount": int(node in self.states)},
            }
            for node, (size, hours) in self.sizes.items()
        ]

    def containers(self):
        return [{"Names": [f"/buildx_buildkit_{node}"]} for node in self.states]

    def container(self, name):
        return {"Created": ago(1), "State": self.states[name[len(PREFIX) :]]}

    def remove_container(self, name, deadline, force):
        self._remove(name)

    def remove_volume(self, name, deadline):
        self._remove(name)

    def _remove(self, name):
        if name in self.refused:
            raise self.refused[name]
        self.gone.append(name)

    def run(self, *arguments):
        found = self.builds[arguments[1][len(PREFIX) :]]
        if isinstance(found, Exception):
            raise found
        return json.dumps(found)


@pytest.fixture
def host(monkeypatch):
    """host(...): a Host, whose docker command is what the orphans are asked by; its users have the node known0."""

    def made(*given, **named):
        one = Host(*given, **named)
        monkeypatch.setattr(_orphans, "DockerCommand", lambda options, config: one)
        monkeypatch.setattr(_orphans, "known_nodes", lambda config: {"known0"})
        return one

    return made


OPTIONS = {"buildx_config": None}
RUNS = {"Running": True, "StartedAt": ago(100)}
STATES = {
    "idle0": RUNS,
    "young0": RUNS,
    "busy0": RUNS,
    "mute0": RUNS,
    "new0": {"Running": True, "StartedAt": ago(1)},
    "stopped0": {"Running": False, "FinishedAt": ago(50), "StartedAt": ago(80)},
    "never0": {"Running": False, "FinishedAt": NEVER, "StartedAt": NEVER},
    "known0": RUNS,
}
BUILDS = {
    "idle0": [{"id": "a", "lastUsedAt": ago(48)}, {"id": "b"}],
    "young0": [{"id": "a", "lastUsedAt": ago(2)}],
    "busy0": [{"id": "a", "lastUsedAt": ago(48), "inUse": True}],
    "mute0": BuilderError("no buildctl"),
    "new0": None,
}


def test_only_what_has_been_idle_for_long_goes_with_container_and_volume(host):
    volumes = {"idle0": (5, 100), "busy0": (7, 100), "old0": (9, 30), "fresh0": (11, 1), "known0": (13, 100)}
    one = host(STATES, BUILDS, volumes)
    planned = plan_orphans(OPTIONS, one, DAY)
    assert planned.planned.ids == (
        "buildx_buildkit_idle0",
        "buildx_buildkit_idle0_state",
        "buildx_buildkit_old0_state",
        "buildx_buildkit_stopped0",
    )
    assert planned.planned.bytes == 14
    assert {(orphan.node, orphan.busy.partition(" (")[0]) for orphan in planned.left} == {
        ("busy0", "a build runs"),
        ("mute0", "it runs, and cannot be asked whether a build does"),
        *((node, "") for node in ("young0", "new0", "never0", "fresh0")),
    }
    done = remove_orphans(OPTIONS, one, planned, None)
    assert one.gone == list(done.ids) == list(planned.planned.ids)
    assert done.bytes == 14 and not done.error


def test_idleness_is_since_the_last_build_or_the_start_or_the_end(host):
    found = {orphan.node: orphan.used_at for orphan in find_orphans(OPTIONS, host(STATES, BUILDS), [])}
    hours = {node: used and round((time.time_ns() - used) / HOUR) for node, used in found.items()}
    assert hours == {
        "idle0": 48, "young0": 2, "busy0": 48, "mute0": None, "new0": 1, "stopped0": 50, "never0": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("use", "busy"), [({"inUse": True}, "a build runs"), ({"lastUsedAt": ago(0)}, "")])
def test_a_build_that_begins_or_ends_meanwhile_keeps_it(host, use, busy):
    one = host({"idle0": RUNS}, {"idle0": []}, {"idle0": (5, 100)})
    planned = plan_orphans(OPTIONS, one, DAY)
    one.builds["idle0"] = [{"id": "a", **use}]
    done = remove_orphans(OPTIONS, one, planned, None)
    assert (done.ids, done.error, one.gone) == ((), None, [])
    assert [(orphan.node, orphan.busy) for orphan in done.left] == [("idle0", busy)]


def test_the_volumes_are_asked_for_once(host, monkeypatch):
    one, asked = host(STATES, BUILDS), []
    monkeypatch.setattr(one, "volumes", lambda: asked.append(1) or [])
    monkeypatch.setattr(_observe, "nodes_for", lambda options: (None, ()))
    seen = _observe.observe_builders({"builders": ["all"], **OPTIONS}, one)
    assert len(seen.orphans) == 7 and len(asked) == 1


@pytest.mark.parametrize(("status", "says"), [(409, "in use"), (404, None)])
def test_one_that_is_refused_leaves_the_others_done_and_one_that_is_gone_is_no_failure(host, status, says):
    refused = {"buildx_buildkit_a0_state": EngineError("in use", status=status)}
    one = host(volumes={"a0": (5, 100), "b0": (7, 100)}, refused=refused)
    planned = plan_orphans(OPTIONS, one, DAY)
    done = remove_orphans(OPTIONS, one, planned, None)
    assert (done.ids, done.bytes, done.error) == (("buildx_buildkit_b0_state",), 7, says)


def test_what_nobody_knows_and_nobody_else_mounts_is_an_orphan():
    volumes = [
        {
            "Name": "buildx_buildkit_gone0_state",
            "UsageData": {"Size": 5, "RefCount": 0},
            "CreatedAt": "1970-01-02T00:00:00Z",
        },
        {"Name": "buildx_buildkit_mounted0_state", "UsageData": {"Size": 5, "RefCount": 1}},
        {"Name": "buildx_buildkit_known0_state", "UsageData": {"Size": 5, "RefCount": 0}},
        {"Name": "buildx_buildkit_unmeasured0_state"},
        {"Name": "buildx_buildkit_job0_state", "UsageData": {"Size": 7, "RefCount": 1}},
        {"Name": "data", "UsageData": {"Size": 5, "RefCount": 0}},
    ]
    containers = [
        {"Names": ["/buildx_buildkit_job0"]},
        {"Names": ["/buildx_buildkit_known0"]},
        {"Names": ["/buildx_buildkit_bare0"]},
        {"Names": ["/web"]},
        {"Names": None},
    ]
    assert orphans(volumes, containers, {"known0"}) == (
        Orphan("bare0", "buildx_buildkit_bare0", "", 0),
        Orphan("gone0", "", "buildx_buildkit_gone0_state", 5, 86400 * 10**9),
        Orphan("job0", "buildx_buildkit_job0", "buildx_buildkit_job0_state", 7),
    )
