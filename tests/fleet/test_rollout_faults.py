# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between a new policy and a dockerd that obeys it: the host is as before, and the rollout ends."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import builds
import daemon
import fleet
import pytest
import rollouts
from variants import variants

pytestmark = pytest.mark.any_engine

_WITH_NEW = f"grep -q 33 {daemon.CONFIG}"


# Each by a script that runs between the writing and the restart; they hold as long as the new policy is in the file.
# With what they end: dockerd was restarted in between, or the file was found to be bad before that. Those that a
# rehearsal finds come to a restart only without one.
FAULTS = {
    "a policy that the engine refuses, past our own check": (f"sed -i s/33GB/33Q/ {daemon.CONFIG}", True),
    "invalid JSON": (f"echo '}}' >>{daemon.CONFIG}", False),
    "a file that only a start refuses": (
        f'sed -i \'1,/{{/s|{{|{{ "exec-opts": ["native.cgroupdriver=none"],|\' {daemon.CONFIG}',
        True,
    ),
    "a dockerd that cannot be run": (rollouts.program("echo no such library >&2; exit 127"), False),
    "a dockerd that dies": (
        rollouts.program(
            f'[[ $* == *--v* ]] || ! {_WITH_NEW} || {{ echo "it died" >&2; exit 1; }}; exec -a "$0" "$0.real" "$@"'
        ),
        True,
    ),
    "a start that hangs": (rollouts.drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || exec sleep 600"'), True),
}
# Before the writing.
FULL_DISK = """
cp -p /etc/docker/daemon.json /run/daemon.json; busybox mount -t tmpfs -o size=8k tmpfs /etc/docker
cp -p /run/daemon.json /etc/docker/; head -c 8192 /dev/zero >/etc/docker/full 2>/dev/null || true
"""


@pytest.fixture(scope="module")
def without_our_check(tmp_path_factory):
    """The environment for a copy of the collection that lets any policy pass."""
    top = tmp_path_factory.mktemp("unchecked")
    copy = top / "ansible_collections" / "buildfleet" / "buildcache"
    copy.mkdir(parents=True)
    shutil.copy(fleet.ROOT / "galaxy.yml", copy)
    for part in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(fleet.ROOT / part, copy / part)
    file = copy / "plugins" / "module_utils" / "_dockerd" / "before.py"
    text = file.read_text()
    assert text.count("    if now.status.in_file is None:\n") == 1
    file.write_text(text.replace("    if now.status.in_file is None:\n", "    if False:\n"))
    return {"ANSIBLE_COLLECTIONS_PATH": str(top)}


@pytest.mark.parametrize("fault", variants(FAULTS, first=1))
def test_a_host_is_as_it_was_before_and_the_rollout_ends_after(alive, rollout, without_our_check, fault):
    script, restarted = FAULTS[fault]
    # A failure that is known is not waited for: docker's unit sets a start no limit, and so has ten minutes.
    options = {"gc_policy_health_timeout": "30s" if "hangs" in fault else "", "gc_policy_rehearse": not restarted}
    texts = daemon.texts()
    try:
        results, undrained = rollout(script, environment=without_our_check if "past our" in fault else None, **options)
        rollouts.as_before(alive, texts)
    finally:
        fleet.shell(rollouts.MENDED)
    assert undrained == sorted(alive)
    ended = results["Restart dockerd so that it obeys the policy, or go back to the file that it obeyed"]
    failed = results["Fail where the policy could not be put in force"]
    for host in alive:
        result = ended[host]
        print(host, result["msg"])
        assert result["failed"] and result["rolled_back"] and failed[host]["msg"] == result["msg"], (host, result)
        assert "was put back" in result["msg"] and "Traceback" not in result["msg"], (host, result)
        assert result["restarted"] is restarted, (host, result)


def test_what_a_rehearsal_finds_comes_to_no_restart(alive, rollout):
    script, _restarted = FAULTS["a file that only a start refuses"]
    texts, processes = daemon.texts(), fleet.shell(daemon.PROCESS)
    log = "/run/rollout.jsonl"
    try:
        results, undrained = rollout(script, gc_policy_audit_log=log)
        rollouts.as_before(alive, texts)
    finally:
        fleet.shell(rollouts.MENDED)
    assert undrained == sorted(alive) and fleet.shell(daemon.PROCESS) == processes
    for host, text in fleet.shell(f"cat {log}; rm {log}").items():
        written, put_back = map(json.loads, text.splitlines())
        assert "rolled_back" not in written["why"] and put_back["why"]["rolled_back"] is True, (host, text)
        assert [written["old"], written["new"]] == [put_back["new"], put_back["old"]], (host, text)
    for host, result in results["Fail where the policy could not be put in force"].items():
        assert "One started beside it said: failed to start daemon: native.cgroupdriver option" in result["msg"], (
            host,
            result,
        )


_HANGS = f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || exec sleep 600"'
_DIES = f'ExecStartPre=/bin/sh -c "! {_WITH_NEW}"'
STARTS = {
    "given up by its unit": (f"TimeoutStartSec=3s\\n{_HANGS}", False),
    "slow": ("ExecStartPre=/bin/sleep 65", True),
    "slow, and slow in going back": (f"{_DIES}\\nExecStartPre=/bin/sleep 65", False),
}


@pytest.mark.parametrize("start", variants(STARTS, first=1))
def test_a_start_that_goes_on_is_left_alone(alive, start):
    lines, comes_back = STARTS[start]
    texts = daemon.texts()
    try:
        ended = rollouts.roll_out(rollouts.NEW, rollouts.drop_in(lines))[2]
        for host, result in ended.items():
            assert result["restarted"] and result["failed"] is not comes_back, (host, result)
            assert result["rolled_back"] is not comes_back, (host, result)
    finally:
        fleet.shell(rollouts.MENDED)
    if comes_back:
        fleet.succeeded(rollouts.roll_out(rollouts.OLD, "true")[2])
    rollouts.as_before(alive, texts)


def test_a_full_disk_leaves_the_file_and_ends_the_rollout(alive, rollout):
    texts, processes = daemon.texts(), fleet.shell(daemon.PROCESS)
    fleet.shell(FULL_DISK)
    try:
        results, undrained = rollout("true", gc_policy_backup=False)
        assert daemon.texts() == texts
        assert fleet.shell(f"busybox umount /etc/docker; {daemon.PROCESS}") == processes
        rollouts.as_before(alive, texts)
    finally:
        fleet.shell(rollouts.MENDED)
    assert undrained == []
    failed = results["Fail where the policy could not be put in force"]
    for host in alive:
        assert "no space left" in failed[host]["msg"], failed[host]


# All connections of the host but the one that this comes by, at their other end.
_AWAIT_RESTART = "for _ in $(seq 600); do [ -e /run/fault ] && break; sleep 0.1; done; [ -e /run/fault ] || exit 1\n"
_CUT = """
mine=" $(systemctl show --property MainPID --value ssh) "
pid=$$
while [ "$pid" -gt 1 ]; do
    mine="$mine$pid "
    pid=$(awk '/^PPid:/ {print $2}' /proc/$pid/status)
done
for pid in $(pgrep '^sshd'); do
    case "$mine" in *" $pid "*) ;; *) kill -KILL "$pid" && echo cut ;; esac
done
"""


def test_a_cut_connection_leaves_the_host_to_finish_alone(alive, rollout):
    texts = daemon.texts()
    hang = f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || {{ touch /run/fault; exec sleep 600; }}"'
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rollout, rollouts.drop_in(hang), gc_policy_backup=False, gc_policy_health_timeout="20s")
        try:
            for host, printed in fleet.shell(_AWAIT_RESTART + _CUT).items():
                assert "cut" in printed, host
            results, _undrained = running.result()
            for host, result in results["Stop where the connection was lost"].items():
                assert "What was begun on the host goes on there" in result["msg"], (host, result)
            give_up = time.monotonic() + fleet.TIME_LIMIT
            while daemon.texts() != texts or not all(_serves(host) for host in alive):
                assert time.monotonic() < give_up
                time.sleep(1)
            rollouts.as_before(alive, texts)
        finally:
            fleet.shell(rollouts.MENDED)
    for rules in (rollouts.NEW, rollouts.OLD):
        for result in rollouts.roll_out(rules, "true"):
            fleet.succeeded(result)
    assert fleet.shell(rollouts.PID) == alive


_HOLDER = """
for pid in $(ls /proc | grep '^[0-9]'); do
    if ls -l /proc/$pid/fd 2>/dev/null | grep -q ' /run/buildcache/lock$'; then kill -KILL $pid; echo killed; fi
done
"""
_AGENT = "[Unit]\nRequires=docker.service\nAfter=docker.service\n[Service]\nExecStart=/bin/sleep 100000"


def test_a_run_that_is_killed_in_its_restart_is_brought_to_an_end_by_the_next(alive, rollout):
    texts = daemon.texts()
    agent = "/run/systemd/system/agent.service"
    hang = f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || {{ touch /run/fault; sleep 3; exit 1; }}"'
    fleet.shell(f"cat >{agent} <<'END'\n{_AGENT}\nEND\nsystemctl daemon-reload; systemctl start agent")
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(rollout, rollouts.drop_in(hang), gc_policy_backup=False)
            for host, printed in fleet.shell(_AWAIT_RESTART + _HOLDER).items():
                assert "killed" in printed, host
            running.result()
        fleet.shell("until [ $(systemctl is-active docker) = failed ]; do sleep 0.5; done")
        results, _undrained = rollout("true")
        for host, result in results["Fail where the policy could not be put in force"].items():
            assert "was put back, and dockerd serves with it again" in result["msg"], (host, result)
        assert set(fleet.shell("systemctl is-active agent").values()) == {"active\n"}
        rollouts.as_before(alive, texts)
    finally:
        fleet.shell(f"systemctl stop agent; rm -f {agent}; {rollouts.MENDED}")


def _serves(host):
    return fleet.shell("timeout 3 docker version >/dev/null 2>&1 && echo yes || true", [host])[host] == "yes\n"


def test_a_build_that_runs_is_waited_for_and_one_that_does_not_end_is_not_cut(alive):
    fleet.shell(builds.start_slow("slow:1"))
    refused = rollouts.roll_out(rollouts.NEW, "true", drain_timeout="3s")[2]
    texts = daemon.texts()
    let_go = f'(setsid bash -c "sleep 4; {builds.LET_GO}") </dev/null >/dev/null 2>&1 &'
    done = rollouts.roll_out(rollouts.NEW, let_go, drain_timeout="120s")[2]
    for result in refused.values():
        assert result["failed"] and not result["restarted"], result
        assert "A build still runs after 3s (drain_timeout)" in result["msg"], result
    fleet.succeeded(done)
    for host, ended in fleet.shell(f"sleep 1; {builds.ENDED}").items():
        assert ended.strip() == "0", (host, "the build did not end well", ended)
        assert done[host]["restarted"], host
    assert daemon.texts() == texts
    assert fleet.shell(rollouts.PID) == alive
    for result in rollouts.roll_out(rollouts.OLD, "true"):
        fleet.succeeded(result)


_LIVE = "{{.LiveRestoreEnabled}}"


def test_containers_are_not_stopped_unless_that_is_allowed(alive):
    texts = daemon.texts()
    dead = {host: json.dumps({**json.loads(text), "live-restore": False}) for host, text in texts.items()}
    daemon.put(dead)
    fleet.shell(f"systemctl reload docker; until [ \"$(docker info -f '{_LIVE}')\" = false ]; do sleep 0.2; done")
    preview = fleet.run("buildcache_restart", {"planned": True}, check=True)
    _written, _nothing, refused = rollouts.roll_out(rollouts.NEW, "true")
    for host in alive:
        for result in (preview[host], refused[host]):
            assert result["failed"] and "would stop 1 running containers (alive)" in result["msg"], result
        assert not refused[host]["restarted"], host
    switched = rollouts.roll_out(rollouts.NEW, "true", live_restore=True)[2]
    for host, result in fleet.succeeded(switched).items():
        assert result["restarted"] and result["containers"] == ["alive"], (host, result)
    assert fleet.shell(rollouts.PID) == alive
    assert all(json.loads(text)["live-restore"] is True for text in daemon.texts().values())
    daemon.put(texts)
    for result in rollouts.roll_out(rollouts.OLD, "true"):
        fleet.succeeded(result)


def test_tasks_on_one_host_take_turns(alive):
    hold = "import fcntl, time; lock = open('/run/buildcache/lock'); fcntl.flock(lock, fcntl.{}); time.sleep(12)"
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
            fleet.task("buildcache_gc_policy", {"rules": rollouts.NEW, "lock_timeout": "1s"}),
        ]
    )
    for host in alive:
        for result in (facts[host], prune[host], policy[host]):
            assert result["failed"] and "for longer than 1s (lock_timeout)" in result["msg"], (host, result)
        assert not queued[host]["failed"] and not looked[host]["failed"], host
