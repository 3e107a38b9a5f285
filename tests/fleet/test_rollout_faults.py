# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between a new policy in the file and a dockerd that obeys it: the host is as it was before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import builds
import daemon
import fleet
import pytest
from test_playbooks import recap

OLD, NEW = [{"max_used_space": "21GB"}], [{"max_used_space": "33GB"}]
DROP_IN = "/run/systemd/system/docker.service.d"
SERVING = 60  # seconds, after the failure is known

_WITH_NEW = "grep -q 33GB /etc/docker/daemon.json"
_NO_DROP_IN = f"rm -rf {DROP_IN} /run/fault; systemctl daemon-reload\n"


def _drop_in(lines):
    return f"mkdir -p {DROP_IN}; printf '[Service]\\n{lines}\\n' >{DROP_IN}/fault.conf; systemctl daemon-reload"


# Each by a script that runs between the writing and the restart; they hold as long as the new policy is in the file.
FAULTS = {
    "a size that no engine reads": f"sed -i s/33GB/33Q/ {daemon.CONFIG}",
    "invalid JSON": f"echo '}}' >>{daemon.CONFIG}",
    "a file that only a start refuses": f'sed -i \'1,/{{/s|{{|{{ "data-root": "/dev/null/none",|\' {daemon.CONFIG}',
    "a dockerd that dies": _drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW}"'),
    "a start that hangs": _drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || exec sleep 600"'),
}

_FREE = "import fcntl; fcntl.flock(open('/run/lock/buildcache.lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
_PID = "docker inspect --format '{{.State.Pid}}' alive"


@pytest.fixture(scope="module")
def alive(lab):
    """Hosts with the old policy in force, live restore, and a running container: {host: its PID}."""
    builds.empty_engines()
    fleet.shell(daemon.KEEP)
    base = {
        host: json.dumps({"live-restore": True, **json.loads(text or "{}")}) for host, text in daemon.texts().items()
    }
    daemon.put(base)
    daemon.restart()
    fleet.shell(builds.build("alive:1", builds.FROM_SCRATCH))
    fleet.shell("docker run --detach --name alive --network none alive:1 /bin/busybox sleep 100000 >/dev/null")
    for result in _roll_out(OLD, "true"):
        fleet.succeeded(result)
    yield fleet.shell(_PID)
    fleet.shell(f"docker rm --force alive; {_NO_DROP_IN}{daemon.PUT_BACK}")
    daemon.restart()


def _roll_out(rules, script, on=None, **options):
    """Write a policy, run a script, restart: what each of the three gave, {host: result}."""
    restart = {"health_timeout": "15s", "drain_timeout": "20s", **options}
    return fleet.play(
        [
            fleet.task("buildcache_gc_policy", {"rules": rules}),
            {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}},
            fleet.task("buildcache_restart", restart),
        ],
        on,
    )


def _as_before(alive, texts):
    """Assert that every host serves with the old policy, has its old file and container, and is not locked."""
    assert daemon.texts() == texts
    seen = fleet.facts({"lock_timeout": "1s"})
    for host, pid in fleet.shell(f'python3 -c "{_FREE}"\n{_PID}').items():
        assert pid == alive[host], host
        assert seen[host]["gc_policy"]["in_file"]["rules"][0]["max_used_space"] == "21GB", host
        assert seen[host]["engine"]["live_restore"], host


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_is_as_it_was_before_after(alive, fault):
    texts = daemon.texts()
    try:
        started = time.monotonic()
        _written, _broken, results = _roll_out(NEW, FAULTS[fault])
        took = time.monotonic() - started
        _as_before(alive, texts)
    finally:
        fleet.shell(_NO_DROP_IN)
    assert took < SERVING + 15, took
    for host, result in results.items():
        print(host, result["msg"])
        assert result["failed"] and result["rolled_back"], (host, result)
        assert "was put back" in result["msg"] and "Traceback" not in result["msg"], (host, result)
        assert result["restarted"] is ("start" in fault or "dies" in fault), (host, result)
    # What is in force is known again: nothing is to be done for the old policy, and everything for the new one.
    again = fleet.play([fleet.task("buildcache_gc_policy", {"rules": OLD}), fleet.task("buildcache_restart")])
    for host in alive:
        assert not again[0][host]["changed"], host


def test_a_rollout_stops_at_the_first_bad_batch(alive):
    texts = daemon.texts()
    fleet.shell(FAULTS["a dockerd that dies"])
    variables = {"gc_policy_rules": NEW, "gc_policy_health_timeout": "15s", "gc_policy_serial": "1,100%"}
    try:
        status, output = fleet.playbook("gc_policy", "-e", json.dumps(variables))
        _as_before(alive, texts)
    finally:
        fleet.shell(_NO_DROP_IN)
    assert status != 0 and "was put back" in output, output
    assert len(recap(output)) == 1, output


def test_a_cut_connection_leaves_the_host_to_finish_alone(alive):
    texts = daemon.texts()
    fleet.shell(_drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || {{ touch /run/fault; exec sleep 600; }}"'))
    tasks = [
        {"buildfleet.buildcache.buildcache_gc_policy": {"rules": NEW}},
        {"buildfleet.buildcache.buildcache_restart": {"health_timeout": "15s"}},
    ]
    book = fleet.ROOT / ".lab" / "cut.yml"
    book.write_text(json.dumps([{"hosts": list(alive), "gather_facts": False, "tasks": tasks}]))
    controller = subprocess.Popen(
        [fleet.COMMANDS / "ansible-playbook", "-i", fleet.INVENTORY, book],
        cwd=fleet.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"},
    )  # fmt: skip
    fleet.shell("for _ in $(seq 300); do [ -e /run/fault ] && exit; sleep 0.1; done; exit 1")
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    cut_at = time.monotonic()
    try:
        while daemon.texts() != texts or not all(_serves(host) for host in alive):
            assert time.monotonic() - cut_at < SERVING + 15
            time.sleep(1)
        _as_before(alive, texts)
    finally:
        fleet.shell(_NO_DROP_IN)
        book.unlink()
    for result in _roll_out(NEW, "true"):
        fleet.succeeded(result)
    for result in _roll_out(OLD, "true"):
        fleet.succeeded(result)
    assert fleet.shell(_PID) == alive


def _serves(host):
    return fleet.shell("timeout 3 docker version >/dev/null 2>&1 && echo yes || true", [host])[host] == "yes\n"


def test_a_build_that_runs_is_waited_for_and_one_that_does_not_end_is_not_cut(alive):
    slow = f"{builds.FROM_SCRATCH}{builds.do('/bin/busybox sleep 20')}"
    fleet.shell(builds.start("slow:1", slow) + "sleep 2")
    refused = _roll_out(NEW, "true", drain_timeout="3s")[2]
    texts = daemon.texts()
    done = _roll_out(NEW, "true", drain_timeout="60s")[2]
    for result in refused.values():
        assert result["failed"] and not result["restarted"] and "A build still runs after 3 s" in result["msg"], result
    fleet.succeeded(done)
    for host, ended in fleet.shell(f"sleep 1; {builds.ENDED}").items():
        assert ended.strip() == "0", (host, "the build did not end well", ended)
        assert done[host]["restarted"], host
    assert daemon.texts() == texts
    assert fleet.shell(_PID) == alive
    for result in _roll_out(OLD, "true"):
        fleet.succeeded(result)


def test_containers_are_not_stopped_unless_that_is_allowed(alive):
    texts = daemon.texts()
    dead = {host: json.dumps({**json.loads(text), "live-restore": False}) for host, text in texts.items()}
    daemon.put(dead)
    fleet.shell("systemctl reload docker; sleep 1")
    preview = fleet.run("buildcache_restart", {"planned": True}, check=True)
    _written, _nothing, refused = _roll_out(NEW, "true")
    for host in alive:
        for result in (preview[host], refused[host]):
            assert result["failed"] and "would stop 1 running containers (alive)" in result["msg"], result
        assert not refused[host]["restarted"], host
    switched = _roll_out(NEW, "true", live_restore=True)[2]
    for host, result in fleet.succeeded(switched).items():
        assert result["restarted"] and result["containers"] == ["alive"], (host, result)
    assert fleet.shell(_PID) == alive
    assert all(json.loads(text)["live-restore"] is True for text in daemon.texts().values())
    daemon.put(texts)
    for result in _roll_out(OLD, "true"):
        fleet.succeeded(result)


def test_tasks_on_one_host_take_turns(alive):
    hold = "import fcntl, time; lock = open('/run/lock/buildcache.lock'); fcntl.flock(lock, fcntl.{}); time.sleep(12)"
    in_background = 'setsid -f python3 -c "{}" >/dev/null 2>&1 </dev/null; sleep 1'
    fleet.shell(in_background.format(hold.format("LOCK_EX")))
    facts, prune = fleet.play(
        [fleet.task("buildcache_facts", {"lock_timeout": "1s"}), fleet.task("buildcache_prune", {"lock_timeout": "1s"})]
    )
    queued = fleet.run("buildcache_prune")
    fleet.shell(in_background.format(hold.format("LOCK_SH")))
    looked, policy = fleet.play(
        [
            fleet.task("buildcache_facts", {"lock_timeout": "1s"}),
            fleet.task("buildcache_gc_policy", {"rules": NEW, "lock_timeout": "1s"}),
        ]
    )
    for host in alive:
        for result in (facts[host], prune[host], policy[host]):
            assert result["failed"] and "for longer than 1s (lock_timeout)" in result["msg"], (host, result)
        assert not queued[host]["failed"] and not looked[host]["failed"], host
