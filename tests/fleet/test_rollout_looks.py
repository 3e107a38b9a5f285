# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be known before dockerd is touched is found before anything is written, in check mode too."""

from __future__ import annotations

import json

import daemon
import fleet
import pytest
import rollouts
from variants import variants

pytestmark = pytest.mark.any_engine

UNIT = "/run/systemd/system/docker.service.d"
LOOK = "Refuse a restart that would harm the host before anything is written"


def _unit(*sections):
    """Return a script that gives dockerd's unit a drop-in and has systemd read it."""
    lines = "\\n".join(sections)
    return f"mkdir -p {UNIT}; printf '{lines}\\n' >{UNIT}/look.conf; systemctl daemon-reload"


_MASK = "ln -s /dev/null /etc/systemd/system/{}; systemctl daemon-reload"
_KEPT = "/run/daemon.json.look"
# Live restore and a swarm go together only where the first is switched on by a reload.
_SWARM = f"""
sed -i 's/"live-restore": true/"live-restore": false/' {daemon.CONFIG}; systemctl reload docker; sleep 2
docker swarm init --advertise-addr 127.0.0.1 >/dev/null
"""

# The masked units stand where systemd looks first, so that the packages' own are not moved.
MEND = f"""
rm -rf {UNIT} /etc/systemd/system/docker.service /etc/systemd/system/docker.socket; systemctl daemon-reload
rm -rf /srv/docker2 /run/docker2; docker swarm leave --force >/dev/null 2>&1 || true
[ ! -e {_KEPT} ] || {{ cp -p {_KEPT} {daemon.CONFIG}; rm -f {_KEPT}; systemctl reload docker; sleep 1; }}
"""

# What is broken, and what must be said of it.
UNITS = {
    "a second ExecStart": (_unit("[Service]", "ExecStart=/usr/bin/true"), "bad-setting"),
    "no ExecStart": (_unit("[Service]", "ExecStart="), "could not load it"),
    "a masked unit": (_MASK.format("docker.service"), "it is masked"),
    "no program": (_unit("[Service]", "ExecStart=", "ExecStart=/opt/dockerd -H fd://"), "/opt/dockerd is not there"),
    "a condition": (_unit("[Unit]", "ConditionPathExists=/run/never"), "does not hold: ConditionPathExists=/run/never"),
    "no program before it": (_unit("[Service]", "ExecStartPre=/opt/prepare"), "/opt/prepare is not there"),
    "no environment file": (_unit("[Service]", "EnvironmentFile=/etc/docker.env"), "/etc/docker.env is not there"),
    "no working directory": (_unit("[Service]", "WorkingDirectory=/srv/none"), "/srv/none is not there"),
    "an assertion": (_unit("[Unit]", "AssertPathExists=/run/never"), "does not hold: AssertPathExists=/run/never"),
    "not by hand": (_unit("[Unit]", "RefuseManualStop=yes"), "refuses to be started or stopped by hand"),
    "no such requirement": (_unit("[Unit]", "Requires=no.service"), "requires no.service, which is not-found"),
}


def _waits(key, value):
    """Return a script that puts a key into the configuration file and leaves dockerd as it runs."""
    edit = f"d = json.load(open(f)); d[{key!r}] = {value!r}; json.dump(d, open(f, 'w'))"
    return f"cp -p {daemon.CONFIG} {_KEPT}; python3 -c \"import json; f = '{daemon.CONFIG}'; {edit}\""


FILES = {
    "a swarm": (f"cp -p {daemon.CONFIG} {_KEPT}; {_SWARM}", "The engine is a swarm node (active)"),
    "another root": (_waits("data-root", "/srv/docker2"), "data-root (/var/lib/docker now, then /srv/docker2)"),
    "hosts among the flags": (_waits("hosts", ["unix:///run/docker.sock"]), "as well: hosts (-H)"),
    "another driver": (_waits("storage-driver", "vfs"), "storage-driver (overlay"),
    "another user": (_waits("userns-remap", "default"), "userns-remap (False now, then True)"),
    "another directory of state": (_waits("exec-root", "/run/docker2"), "exec-root (/var/run/docker now"),
    "containers of another namespace": (_waits("containerd-namespace", "other"), "containerd-namespace (moby now"),
    "containerd among the flags": (_waits("containerd", "/run/other.sock"), "as well: containerd (--containerd)"),
}


@pytest.fixture
def refused(alive, rollout):
    """refused(script, says, **variables): run a script on each host; in check mode and for real the playbook must
    refuse with these words at the look, and leave the host as it was."""

    def refused(script, says, **variables):
        processes = fleet.shell(daemon.PROCESS)
        fleet.shell(script)
        texts = daemon.texts()
        for check in (True, False):
            results, undrained = rollout("true", check=check, **variables)
            for host in alive:
                result = results[LOOK][host]
                print(host, result["msg"])
                assert result["failed"] and says in result["msg"], (host, result)
            assert "Write the policy into daemon.json" not in results and not undrained
        assert daemon.texts() == texts and fleet.shell(daemon.PROCESS) == processes
        assert fleet.shell(rollouts.PID) == alive

    return refused


def test_a_unit_that_cannot_be_started_again_is_not_stopped(alive, refused):
    texts = daemon.texts()
    try:
        refused(*UNITS["a second ExecStart"])
        audit = ("audit", "-e", json.dumps({"gc_policy_rules": rollouts.OLD}))
        status, output = fleet.playbook(*audit)
        assert status == 0 and output.count("as it should be; findings: dockerd_cannot_start") == len(alive), output
        assert fleet.playbook(*audit, "-e", "audit_fail_on=critical")[0] != 0
    finally:
        fleet.shell(MEND)
    rollouts.as_before(alive, texts)


def are_found(cases, **options):
    """Assert that after each {name: (script, says)} a restart is refused with these words, and that facts have them in
    a critical finding. Each is mended after it."""
    tasks = []
    for script, _says in cases.values():
        tasks += [_shell(MEND + script), fleet.task("buildcache_restart", {"planned": True, **options}, check=True)]
        tasks.append(fleet.task("buildcache_facts", {"look_ahead": True}))
    results = fleet.play([*tasks, _shell(MEND)])
    for (kind, (_script, says)), refused, facts in zip(cases.items(), results[1::3], results[2::3], strict=True):
        for host, result in refused.items():
            print(kind, host, result.get("msg"))
            assert result["failed"] and says in result["msg"], (kind, host, result)
            found = fleet.succeeded(facts)[host]["ansible_facts"]["buildcache"]["findings"]
            critical = [one["message"] for one in found if one["severity"] == "critical"]
            # What only an option of the restart would do, facts cannot know.
            assert "would switch on" in result["msg"] or any(says in one for one in critical), (kind, host, critical)


def _some(cases, first):
    """Return the cases as parameters of a test: the first so many in one go, the others marked as deep."""
    names = list(cases)
    return variants([{name: cases[name] for name in some} for some in (names[:first], names[first:])], first=1)


def _shell(script):
    return {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}}


@pytest.mark.parametrize("cases", _some(UNITS, first=6), ids=["some", "others"])
def test_whatever_keeps_a_unit_from_starting_is_found(alive, cases):
    processes = fleet.shell(daemon.PROCESS)
    are_found(cases)
    assert fleet.shell(daemon.PROCESS) == processes


@pytest.mark.parametrize("cases", _some(FILES, first=4), ids=["some", "others"])
def test_whatever_waits_in_the_file_is_found(alive, cases):
    processes = fleet.shell(daemon.PROCESS)
    are_found(cases, live_restore=True)
    assert fleet.shell(daemon.PROCESS) == processes and fleet.shell(rollouts.PID) == alive
