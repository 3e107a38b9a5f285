# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import same as _same
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.running import NotHealthy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.same import held, require_same


class Engine:
    """An engine with these containers, {name: what inspect tells of each}; those without a state are gone."""

    def __init__(self, containers, **info):
        self.known = containers
        self.details = {"DockerRootDir": "/var/lib/docker", "Driver": "overlay2", "Images": 3, **info}

    def info(self):
        return self.details

    def containers(self):
        return [
            {
                "Id": name,
                "Names": [f"/{name}"],
                "State": "running" if one["State"].get("Running") else "exited",
                "Labels": one.get("Labels", {}),
            }
            for name, one in self.known.items()
            if one
        ]

    def container(self, name):
        return self.known.get(name, {})


def running(pid=7, policy="no", **more):
    return {"State": {"Running": True, "Pid": pid}, "HostConfig": {"RestartPolicy": {"Name": policy}}, **more}


def ended(code):
    return {"State": {"Running": False, "Pid": 0, "ExitCode": code}}


@pytest.fixture(autouse=True)
def processes(monkeypatch):
    """The processes that live: {PID: when it started}."""
    found = {7: 70, 9: 90}
    monkeypatch.setattr(_same, "start_of", found.get)
    monkeypatch.setattr(_same, "_POLL", 0.001)
    return found


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ({"DockerRootDir": "/srv"}, "its root directory is /srv, and was /var/lib/docker"),
        ({"Driver": "vfs"}, "its storage driver is vfs, and was overlay2"),
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, "its image store is containerd"),
        ({"Images": 2}, "it has 2 images, and had 3"),
    ],
)
def test_another_store_is_a_difference(after, says):
    with pytest.raises(NotHealthy, match=f"not as it was: {says}"):
        require_same(held(Engine({})), Engine({}, **after), True, 0)
    require_same(held(Engine({})), Engine({}, Images=4), True, 0)


@pytest.mark.parametrize(
    ("after", "lives", "says"),
    [
        (running(), True, ""),
        (running(pid=9), False, "one was started anew"),
        # Ended by itself, and started again for that.
        (running(pid=9, RestartCount=1), False, ""),
        (ended(0), False, ""),
        (ended(1), False, ""),
        (ended(137), False, "one was ended"),
        (ended(255), False, "one was ended"),
        # Removed when it had ended, as docker run --rm does.
        ({}, False, ""),
        ({}, True, "one runs, and dockerd does not know it"),
        (ended(255), True, "one runs, and dockerd does not know it"),
    ],
)
def test_containers_outlive_a_restart_with_live_restore(processes, after, lives, says):
    before = held(Engine({"one": running()}))
    if not lives:
        del processes[7]
    if says:
        with pytest.raises(NotHealthy, match=f"not as it was: {says}"):
            require_same(before, Engine({"one": after}), True, 0)
    else:
        require_same(before, Engine({"one": after}), True, 0)


def test_without_it_those_with_a_restart_policy_run_again():
    task = {"Labels": {"com.docker.swarm.task.id": "x"}}
    before = Engine({"job": running(), "served": running(9, "always"), "task": running(9, "always", **task)})
    again = Engine({"job": ended(137), "served": ended(137), "task": ended(137)})
    with pytest.raises(NotHealthy, match="not as it was: served does not run"):
        require_same(held(before), again, False, 0.01)
    again.known["served"] = running(11, "always")
    require_same(held(before), again, False, 0.01)


def test_of_many_a_few_are_named():
    before = Engine({f"c{number}": running() for number in range(8)})
    with pytest.raises(NotHealthy, match="c4 was started anew and 3 more"):
        require_same(held(before), Engine({name: running(9) for name in before.known}), True, 0)
