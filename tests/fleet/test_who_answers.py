# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers at an address: this host's dockerd, a second one of it, one behind a tunnel or a proxy, or no Docker."""

from __future__ import annotations

from pathlib import Path

import builds
import fleet
import pytest
import scripted

HERE, FAR = fleet.KINDS[0], fleet.KINDS[-1]
KEY = f"{builds.CONTEXT}/key"
RULES = {"rules": [{"max_used_space": "20GB"}]}

# All that may tell two engines of one host apart differs; its cgroup is that of its own unit.
SECOND = """
mkdir -p /etc/second /run/second
echo "{}" >/etc/second/daemon.json
cat >/run/systemd/system/second.service <<'UNIT'
[Service]
Type=notify
ExecStart=/usr/sbin/dockerd --host unix:///run/second/docker.sock --host tcp://127.0.0.1:2399 \
  --data-root /var/lib/docker/second --exec-root /run/second/exec --pidfile /run/second/other.pid \
  --config-file /etc/second/daemon.json --bridge none --iptables=false --ip6tables=false \
  --containerd-namespace second --containerd-plugins-namespace second-plugins
KillMode=process
UNIT
systemctl daemon-reload
systemctl start second
"""
NO_SECOND = """
systemctl stop second
rm -rf /run/systemd/system/second.service /etc/second /run/second /var/lib/docker/second
systemctl daemon-reload
"""

# A user who may use the engine's socket.
MEMBER = """
if ! id member >/dev/null 2>&1; then
    echo 'member:x:1235:1235::/home/member:/bin/sh' >>/etc/passwd
    echo 'member:x:1235:' >>/etc/group
    sed -i '/^docker:/ s/[^:]$/&,/; /^docker:/ s/$/member/' /etc/group
    echo 'member:*:20000:0:99999:7:::' >>/etc/shadow
fi
install -d -o member /home/member /home/member/.ssh
install -o member -m 600 /root/.ssh/authorized_keys /home/member/.ssh/
"""

# The address as it is in the task, and who is seen to listen there.
FORWARDED = {
    "ssh": (
        f"unix://{builds.CONTEXT}/far.sock",
        "ssh (PID ",
        f"setsid -f ssh -N -i {KEY} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
        f"-L {builds.CONTEXT}/far.sock:/run/docker.sock root@FAR >/dev/null 2>&1 </dev/null",
    ),
    "ssh on TCP": (
        "tcp://127.0.0.1:2398",
        "no dockerd of this host",
        f"setsid -f ssh -N -i {KEY} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
        "-L 2398:/run/docker.sock root@FAR >/dev/null 2>&1 </dev/null",
    ),
    "activated proxy": (
        "unix:///run/proxied.sock",
        "no dockerd of this host",
        "systemd-run --quiet --unit proxied --socket-property=ListenStream=/run/proxied.sock "
        "/usr/lib/systemd/systemd-socket-proxyd /run/docker.sock",
    ),
}
END_FORWARDING = f"""
for pid in $(pgrep -x ssh); do ! grep -q {KEY} /proc/$pid/cmdline || kill $pid; done
systemctl stop proxied.socket proxied.service 2>/dev/null || true
rm -f {builds.CONTEXT}/far.sock /run/proxied.sock {KEY}
"""


@pytest.fixture(scope="module")
def forwarded(lab):
    """Sockets on one host behind which the engine is another's, or cannot be shown not to be."""
    known = fleet.hosts()
    key = Path(known[HERE]["ansible_ssh_private_key_file"]).read_text()
    scripts = [script.replace("FAR", known[FAR]["ansible_host"]) for _address, _who, script in FORWARDED.values()]
    fleet.shell(f"umask 077\ncat >{KEY} <<'KEY'\n{key}KEY\n" + "\n".join(scripts) + "\nsleep 2\n", [HERE])
    yield
    fleet.shell(END_FORWARDING, [HERE])


@pytest.mark.parametrize("case", FORWARDED)
def test_an_engine_behind_another_process_is_not_taken_for_this_hosts(forwarded, case):
    address, who, _script = FORWARDED[case]
    there = {"docker_host": address}
    before = fleet.shell("cat /run/docker.pid; cat /etc/docker/daemon.json 2>/dev/null || true", [HERE])
    facts, prune, policy, restart = fleet.play(
        [
            fleet.task("buildcache_facts", there),
            fleet.task("buildcache_prune", there),
            fleet.task("buildcache_gc_policy", {**there, **RULES}),
            fleet.task("buildcache_restart", {**there, "planned": True}),
        ],
        [HERE],
    )
    seen = fleet.succeeded(facts)[HERE]["ansible_facts"]["buildcache"]
    assert seen["filesystems"] == [] and seen["engine"]["started_at"] is None
    assert seen["gc_policy"]["in_file"] is None
    (finding,) = [one for one in seen["findings"] if one["code"] == "engine_not_here"]
    assert finding["message"].startswith(f"The engine at {address} cannot be shown to be one of this host: {who}")
    assert fleet.succeeded(prune)[HERE]["freed_bytes"] is None
    assert any(finding["message"] in warning for warning in prune[HERE]["warnings"])
    for result, what in ((policy, "the file that would be written"), (restart, "the dockerd that would be restarted")):
        assert result[HERE]["failed"] and not result[HERE]["changed"]
        assert finding["message"] in result[HERE]["msg"] and what in result[HERE]["msg"]
    assert before == fleet.shell("cat /run/docker.pid; cat /etc/docker/daemon.json 2>/dev/null || true", [HERE])


@pytest.fixture(scope="module")
def second(lab):
    """A second dockerd on one host, whose every path differs."""
    fleet.shell(SECOND, [HERE])
    yield "unix:///run/second/docker.sock"
    fleet.shell(NO_SECOND, [HERE])


def test_a_second_dockerd_has_its_own_file_process_and_service(second):
    there = {"docker_host": second}
    policy, explicit, wrong, right, on_tcp, first = fleet.play(
        [
            fleet.task("buildcache_gc_policy", {**there, **RULES}),
            fleet.task("buildcache_gc_policy", {**there, **RULES, "config_file": "/etc/docker/daemon.json"}),
            fleet.task("buildcache_restart", there),
            fleet.task("buildcache_restart", {**there, "service": "second"}),
            fleet.task("buildcache_facts", {"docker_host": "tcp://127.0.0.1:2399"}),
            fleet.task("buildcache_facts"),
        ],
        [HERE],
    )
    assert fleet.succeeded(policy)[HERE]["config_file"] == "/etc/second/daemon.json"
    assert policy[HERE]["changed"] and policy[HERE]["restart_required"]
    assert "dockerd does not read /etc/docker/daemon.json, but /etc/second/daemon.json" in explicit[HERE]["msg"]
    assert wrong[HERE]["failed"] and "is run by second.service, not by docker" in wrong[HERE]["msg"]
    assert fleet.succeeded(right)[HERE]["restarted"] and not right[HERE]["restart_required"]
    seen = fleet.succeeded(on_tcp)[HERE]["ansible_facts"]["buildcache"]
    assert seen["engine"]["root_dir"] == "/var/lib/docker/second" and seen["filesystems"]
    assert seen["gc_policy"]["in_file"]["rules"][0]["max_used_space"] == "20GB"
    assert seen["gc_policy"]["restart_required"] is False
    own = fleet.succeeded(first)[HERE]["ansible_facts"]["buildcache"]
    assert own["engine"]["root_dir"] == "/var/lib/docker"
    assert own["engine"]["started_at"] < seen["engine"]["started_at"]
    assert own["gc_policy"]["in_file"]["rules"] is None


def test_every_hosts_own_engine_is_shown_to_be_its_own(lab):
    # To a user who may use the socket and look at nothing of root's as well.
    fleet.shell(MEMBER)
    for variables in ({}, {"ansible_user": "member"}):
        for host, seen in fleet.facts(variables=variables).items():
            assert seen["filesystems"] and seen["engine"]["started_at"], (host, variables)
            assert "engine_not_here" not in {finding["code"] for finding in seen["findings"]}, (host, variables)


@pytest.mark.parametrize(
    ("components", "name"),
    [
        (["Podman Engine", "Conmon"], "Podman Engine, not Docker Engine"),
        (["containerd"], "containerd, not Docker Engine"),
        ([], "no engine that gives its name, not Docker Engine"),
    ],
)
def test_other_engines_are_refused_before_anything_is_asked_of_them(lab, components, name):
    script = scripted.quiet_engine()
    script["GET /version"][0]["json"]["Components"] = [{"Name": one} for one in components]
    with scripted.engine("other", script) as docker_host:
        there = {"docker_host": docker_host}
        results = fleet.play(
            [
                fleet.task("buildcache_facts", there),
                fleet.task("buildcache_prune", there),
                fleet.task("buildcache_gc_policy", {**there, **RULES}),
                fleet.task("buildcache_restart", there),
            ]
        )
        assert scripted.requests("other") == dict.fromkeys(fleet.hosts(), ["GET /version"] * 4)
    for result in results:
        for host, one in result.items():
            assert one["failed"] and not one["changed"] and name in one["msg"], (host, one["msg"])
