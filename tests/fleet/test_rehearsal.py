# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only a start finds out is found by a dockerd that is started beside the one that runs."""

from __future__ import annotations

import json

import daemon
import fleet
import pytest
import rollouts
from variants import variants

pytestmark = pytest.mark.any_engine

WAITING = {
    "log-opts": ({"nope": "1"}, "unknown log opt 'nope'"),
    "bridge": ("br9", "bridge device with non default name br9 must be created manually"),
    "seccomp-profile": ("/nope", "opening seccomp profile (/nope) failed"),
    "exec-opts": (["native.cgroupdriver=nope"], "native.cgroupdriver option nope not supported"),
    "registry-mirrors": (["ftp://mirror"], "invalid mirror: unsupported scheme"),
    "default-runtime": ("nope", "default runtime 'nope' does not exist"),
    "metrics-addr": ("nonsense", "missing port in address"),
    "cgroup-parent": ("/nope", "cgroup-parent for systemd cgroup should be a valid slice"),
    "default-address-pools": ([{"base": "10.0.0.0/8", "size": 40}], "One started beside it said"),
}
"""Values that no `dockerd --validate` of these engines refuses, and what must be said of each (20.10 has none)."""

_LEFT = """
find /var/lib/docker -maxdepth 1 -name '.buildcache*'
pgrep --full --count '^\\S*(dockerd|containerd)( |$)'
grep -c . /proc/self/mounts
ls /sys/class/net | grep -vc veth
"""


@pytest.fixture
def first_contact(alive):
    """Hosts of which this collection knows nothing; in the end as they were."""
    state = "/var/lib/buildcache/in_force.json"
    fleet.shell(f"cp -p {daemon.CONFIG} /run/rehearsal.json; mv {state} /run/in_force.json")
    yield
    fleet.shell(
        f"cp -p /run/rehearsal.json {daemon.CONFIG}; cp -p /run/in_force.json {state}; rm -f {daemon.BACKUPS}\n"
        "systemctl reload docker; rm -rf /run/blocker.pid"
    )


def wait_in_file(key, value):
    """Return a task that puts a key into each configuration file and leaves dockerd as it runs."""
    edit = f"d = json.load(open(f)); d[{key!r}] = {value!r}; json.dump(d, open(f, 'w'))"
    script = f"cp -p /run/rehearsal.json {daemon.CONFIG}; python3 -c \"import json; f = '{daemon.CONFIG}'; {edit}\""
    return {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}}


@pytest.mark.parametrize("keys", variants([list(WAITING)[:3], list(WAITING)[3:]], first=1), ids=["some", "others"])
def test_what_waits_in_the_file_is_found_and_nothing_is_left_of_the_trial(alive, first_contact, keys):
    processes, left = fleet.shell(daemon.PROCESS), fleet.shell(_LEFT)
    tasks = []
    for key in keys:
        tasks += [wait_in_file(key, WAITING[key][0]), fleet.task("buildcache_restart", {"planned": True}, check=True)]
    for key, refused in zip(keys, fleet.play(tasks)[1::2], strict=True):
        for host, result in refused.items():
            assert result["failed"] and not result["changed"], (key, host, result)
            assert WAITING[key][1] in result["msg"] and "said: " in result["msg"], (key, host, result["msg"])
    assert fleet.shell(_LEFT) == left
    assert fleet.shell(daemon.PROCESS) == processes and fleet.shell(rollouts.PID) == alive


def test_what_nobody_knows_is_put_in_force_where_it_starts(alive, first_contact):
    results = fleet.play(
        [
            wait_in_file("labels", ["rehearsed=yes"]),
            fleet.task("buildcache_gc_policy", {"rules": rollouts.NEW}),
            fleet.task("buildcache_restart", {"drain_timeout": "1m"}),
        ]
    )
    for result in fleet.succeeded(results[2]).values():
        assert result["rehearsed"] and result["restarted"], result
    assert fleet.shell("docker info --format '{{.Labels}}'") == dict.fromkeys(alive, "[rehearsed=yes]\n")
    assert fleet.shell(rollouts.PID) == alive
    for result in rollouts.roll_out(rollouts.OLD, "cp -p /run/rehearsal.json " + daemon.CONFIG):
        fleet.succeeded(result)


def test_a_start_that_fails_all_the_same_ends_with_a_dockerd_that_serves(alive, first_contact):
    """Another process has the port of the metrics, which a network of its own does not show."""
    blocker = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 9323)); "
        "open('/run/blocker.pid', 'w').write('x'); time.sleep(600)"
    )
    fleet.shell(f'setsid python3 -c "{blocker}" >/dev/null 2>&1 & until [ -e /run/blocker.pid ]; do sleep 0.1; done')
    try:
        results = fleet.play(
            [
                wait_in_file("metrics-addr", "127.0.0.1:9323"),
                fleet.task("buildcache_gc_policy", {"rules": rollouts.NEW}),
                fleet.task("buildcache_restart", {"drain_timeout": "1m"}),
            ]
        )
    finally:
        fleet.shell("pkill -f create_server")
    for host, result in results[2].items():
        assert result["failed"] and result["rehearsed"] and result["restarted"], (host, result)
        assert not result["rolled_back"] and "address already in use" in result["msg"], (host, result["msg"])
        assert "It serves with what the one that ran told of itself" in result["msg"], (host, result["msg"])
        assert json.loads(daemon.texts([host])[host])["live-restore"] is True
    kept = fleet.shell(f"cat {daemon.BACKUPS}")
    assert all(json.loads(text)["metrics-addr"] == "127.0.0.1:9323" for text in kept.values()), kept
    assert fleet.shell(rollouts.PID) == alive
    for result in rollouts.roll_out(rollouts.OLD, "true"):
        fleet.succeeded(result)
