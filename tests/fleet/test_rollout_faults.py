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

OLD, NEW = [{"max_used_space": "21GB"}], [{"max_used_space": "33GB"}]
DROP_IN = "/run/systemd/system/docker.service.d"
SERVING = 60  # seconds, after the failure is known
HEALTH = 15  # seconds; the default of 60 is waited for once

_WITH_NEW = f"grep -q 33 {daemon.CONFIG}"
_MENDED = f"""
rm -rf {DROP_IN} /run/fault; systemctl daemon-reload
dockerd=$(command -v dockerd); [ ! -e $dockerd.real ] || mv $dockerd.real $dockerd
! mountpoint -q /etc/docker || busybox umount /etc/docker
"""


def _drop_in(lines):
    return f"mkdir -p {DROP_IN}; printf '[Service]\\n{lines}\\n' >{DROP_IN}/fault.conf; systemctl daemon-reload"


def _program(lines):
    return (
        "dockerd=$(command -v dockerd); mv $dockerd $dockerd.real\n"
        f"cat >$dockerd <<'END'\n#!/bin/bash\n{lines}\nEND\nchmod +x $dockerd\n"
    )


# Each by a script that runs between the writing and the restart; they hold as long as the new policy is in the file.
# With what they end: dockerd was restarted in between, or the file was found to be bad before that.
FAULTS = {
    "a policy that the engine refuses, past our own check": (f"sed -i s/33GB/33Q/ {daemon.CONFIG}", True),
    "invalid JSON": (f"echo '}}' >>{daemon.CONFIG}", False),
    "a file that only a start refuses": (
        f'sed -i \'1,/{{/s|{{|{{ "data-root": "/dev/null/none",|\' {daemon.CONFIG}',
        True,
    ),
    "a dockerd that cannot be run": (_program("echo no such library >&2; exit 127"), False),
    "a dockerd that dies": (
        _program(
            f'[[ $* == *--v* ]] || ! {_WITH_NEW} || {{ echo "it died" >&2; exit 1; }}; exec -a "$0" "$0.real" "$@"'
        ),
        True,
    ),
    "a start that hangs": (_drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || exec sleep 600"'), True),
}
# Before the writing.
FULL_DISK = """
cp -p /etc/docker/daemon.json /run/daemon.json; busybox mount -t tmpfs -o size=8k tmpfs /etc/docker
cp -p /run/daemon.json /etc/docker/; head -c 8192 /dev/zero >/etc/docker/full 2>/dev/null || true
"""

_FREE = "import fcntl; fcntl.flock(open('/run/buildcache/lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
_PID = "docker inspect --format '{{.State.Pid}}' alive"


@pytest.fixture(scope="module")
def alive(lab):
    """Hosts with the old policy in force, live restore, and a running container: {host: its PID}."""
    builds.empty_engines()
    fleet.shell(f"{daemon.KEEP}rm -f /etc/docker/daemon.json.*~")
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
    fleet.shell(f"docker rm --force alive; {_MENDED}{daemon.PUT_BACK}")
    daemon.restart()


@pytest.fixture
def rollout(alive, tmp_path):
    """Run the playbook on all hosts at once, and on one more after them: rollout(fault, **variables).

    ``fault`` is a script that each host runs while it is drained. Returns the results {task: {host: result}} and the
    hosts that were undrained. The one more, an alias, must not be reached.
    """
    rest = dict(next(iter(fleet.hosts().values())))
    (tmp_path / "rest.yml").write_text(json.dumps({"build_hosts": {"hosts": {"rest": rest}}}))
    undrained = tmp_path / "undrained"
    note = {"cmd": f"echo {{{{ inventory_hostname }}}} >>{undrained}"}
    away = {"delegate_to": "localhost", "become": False}

    def rollout(fault, environment=None, **variables):
        drain = [{"name": "Break", "ansible.builtin.shell": {"cmd": fault, "executable": "/bin/bash"}}]
        (tmp_path / "drain.yml").write_text(json.dumps(drain))
        (tmp_path / "undrain.yml").write_text(json.dumps([{"name": "Note", "ansible.builtin.shell": note, **away}]))
        undrained.unlink(missing_ok=True)
        given = {
            "buildcache_hosts": ",".join([*alive, "rest"]), "gc_policy_serial": f"{len(alive)},100%",
            "gc_policy_rules": NEW, "gc_policy_backup": True, "gc_policy_health_timeout": f"{HEALTH}s",
            **{f"gc_policy_{word}_tasks": str(tmp_path / f"{word}.yml") for word in ("drain", "undrain")}, **variables,
        }  # fmt: skip
        results = fleet.playbook_results(
            "gc_policy", "-i", str(tmp_path / "rest.yml"), "-e", json.dumps(given), environment=environment
        )
        assert "rest" not in {host for by_host in results.values() for host in by_host}
        return results, sorted(undrained.read_text().split()) if undrained.exists() else []

    return rollout


def _roll_out(rules, script, on=None, **options):
    """Write a policy, run a script, restart: what each of the three gave, {host: result}."""
    restart = {"health_timeout": f"{HEALTH}s", "drain_timeout": "20s", **options}
    return fleet.play(
        [
            fleet.task("buildcache_gc_policy", {"rules": rules}),
            {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}},
            fleet.task("buildcache_restart", restart),
        ],
        on,
    )


def _as_before(alive, texts):
    """Assert that every host serves with the old policy, has its old file and container, and is neither locked nor
    drained; and that there is nothing to do for the old policy."""
    assert daemon.texts() == texts
    seen = fleet.facts({"lock_timeout": "1s"})
    left = "find /etc/docker -name '.gc_policy_drained' -o -name 'daemon.json.*~'"
    for host, printed in fleet.shell(f'python3 -c "{_FREE}"\n{_PID}\n{left}').items():
        assert printed == alive[host], (host, printed)
        policy = seen[host]["gc_policy"]
        assert policy["in_file"]["rules"][0]["max_used_space"] == "21GB", host
        assert policy["restart_required"] is False, (host, policy)
        assert seen[host]["engine"]["live_restore"], host


@pytest.fixture(scope="module")
def without_our_check(tmp_path_factory):
    """The environment for a copy of the collection that lets any policy pass."""
    top = tmp_path_factory.mktemp("unchecked")
    copy = top / "ansible_collections" / "buildfleet" / "buildcache"
    copy.mkdir(parents=True)
    shutil.copy(fleet.ROOT / "galaxy.yml", copy)
    for part in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(fleet.ROOT / part, copy / part)
    file = copy / "plugins" / "module_utils" / "_restart.py"
    text = file.read_text()
    assert text.count("    if now.status.in_file is None:\n") == 1
    file.write_text(text.replace("    if now.status.in_file is None:\n", "    if False:\n"))
    return {"ANSIBLE_COLLECTIONS_PATH": str(top)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_is_as_it_was_before_and_the_rollout_ends_after(alive, rollout, without_our_check, fault):
    script, restarted = FAULTS[fault]
    health = {"gc_policy_health_timeout": ""} if "hangs" in fault else {}
    texts = daemon.texts()
    try:
        started = time.monotonic()
        results, undrained = rollout(script, without_our_check if "past our" in fault else None, **health)
        took = time.monotonic() - started
        _as_before(alive, texts)
    finally:
        fleet.shell(_MENDED)
    # The whole rollout, and 60 s more where those were waited for before the failure was known.
    assert took < SERVING + (60 if health else HEALTH), took
    assert undrained == sorted(alive)
    ended = results["Restart dockerd so that it obeys the policy, or go back to the file that it obeyed"]
    failed = results["Fail where the policy could not be put in force"]
    for host in alive:
        result = ended[host]
        print(host, round(took), result["msg"])
        assert result["failed"] and result["rolled_back"] and failed[host]["msg"] == result["msg"], (host, result)
        assert "was put back" in result["msg"] and "Traceback" not in result["msg"], (host, result)
        assert result["restarted"] is restarted, (host, result)


def test_a_full_disk_leaves_the_file_and_ends_the_rollout(alive, rollout):
    texts, processes = daemon.texts(), fleet.shell("systemctl show --property MainPID --value docker")
    fleet.shell(FULL_DISK)
    try:
        results, undrained = rollout("true", gc_policy_backup=False)
        assert daemon.texts() == texts
        assert fleet.shell("busybox umount /etc/docker; systemctl show --property MainPID --value docker") == processes
        _as_before(alive, texts)
    finally:
        fleet.shell(_MENDED)
    assert undrained == []
    failed = results["Fail where the policy could not be put in force"]
    for host in alive:
        assert "no space left" in failed[host]["msg"], failed[host]


# All connections of the host but the one that this comes by, at their other end.
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
    await_restart = "for _ in $(seq 600); do [ -e /run/fault ] && break; sleep 0.1; done; [ -e /run/fault ] || exit 1\n"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rollout, _drop_in(hang), gc_policy_backup=False)
        try:
            for host, printed in fleet.shell(await_restart + _CUT).items():
                assert "cut" in printed, host
            cut_at = time.monotonic()
            results, _undrained = running.result()
            for host, result in results["Stop where the connection was lost"].items():
                assert "What was begun on the host goes on there" in result["msg"], (host, result)
            while daemon.texts() != texts or not all(_serves(host) for host in alive):
                assert time.monotonic() - cut_at < HEALTH + SERVING
                time.sleep(1)
            _as_before(alive, texts)
        finally:
            fleet.shell(_MENDED)
    for rules in (NEW, OLD):
        for result in _roll_out(rules, "true"):
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
        assert result["failed"] and not result["restarted"], result
        assert "A build still runs after 3s (drain_timeout)" in result["msg"], result
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
            fleet.task("buildcache_gc_policy", {"rules": NEW, "lock_timeout": "1s"}),
        ]
    )
    for host in alive:
        for result in (facts[host], prune[host], policy[host]):
            assert result["failed"] and "for longer than 1s (lock_timeout)" in result["msg"], (host, result)
        assert not queued[host]["failed"] and not looked[host]["failed"], host
