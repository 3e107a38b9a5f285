# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rollouts that something happens to at a random moment: what comes after finds a host that serves, with the old policy
or the new one, and says which."""

from __future__ import annotations

import json
import os
import random
import time

import daemon
import fleet
import pytest
import rollouts
from trials import SEED

pytestmark = pytest.mark.deep

ROLLOUTS = int(os.environ.get("ROLLOUTS", "3"))
"""How many on each host."""

_EVENTS = ("a kill", "a kill", "a kill of dockerd", "a start that fails", "a start that fails, and a kill", "nothing")
_POWER_CUTS = ("a power cut", "a start that fails, and a power cut")

_PLACE = "/root/rollouts"
_DROP_IN = "/etc/systemd/system/docker.service.d"
_AGENT = "/etc/systemd/system/agent.service"
_AGENT_TEXT = """[Unit]
Requires=docker.service
After=docker.service
[Service]
ExecStart=/bin/sleep 100000
[Install]
WantedBy=multi-user.target"""

_MODULES = f"""
import glob, json, os, random, signal, subprocess, sys, time

def module(name):
    (path,) = glob.glob("{_PLACE}/%s/*/AnsiballZ_*.py" % name)
    return "%s %s" % (sys.executable, path)

def rollout():
    # The writing and the restart, so that one moment is in either.
    write = "new" if "21GB" in open("{daemon.CONFIG}").read() else "old"
    steps = "%s && exec %s" % (module(write), module("restart"))
    return subprocess.Popen(["sh", "-c", steps], stdout=open("{_PLACE}/said", "w"), start_new_session=True)
"""

_ROLLOUT = f"""{_MODULES}
chance, event = random.Random(SEED), EVENT
at = float(open("{_PLACE}/lasts").read()) * chance.uniform(0, 1.2)
to = 33 if "21GB" in open("{daemon.CONFIG}").read() else 21
if event.startswith("a start that fails"):
    os.makedirs("{_DROP_IN}", exist_ok=True)
    with open("{_DROP_IN}/fault.conf", "w") as file:
        file.write('[Service]\\nExecStartPre=/bin/sh -c "! grep -q %sGB {daemon.CONFIG}"\\n' % to)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
run = rollout()
if event != "nothing":
    time.sleep(at)
if event.endswith("a kill") and run.poll() is None:
    os.killpg(run.pid, signal.SIGKILL)
if event == "a kill of dockerd":
    subprocess.run(["pkill", "-KILL", "-x", "dockerd"])
run.wait()
print(json.dumps([event, round(at, 2), run.returncode, open("{_PLACE}/said").read()[-300:]]))
"""

# The next run brings to its end what is left; then the fault is gone, and one more has nothing to say.
_NEXT = f"""{_MODULES}
said = []
for _run in range(2):
    run = subprocess.run(module("restart"), shell=True, stdout=subprocess.PIPE, text=True)
    said.append(json.loads(run.stdout))
    subprocess.run("rm -rf {_DROP_IN}; systemctl daemon-reload", shell=True, check=True)
text = open("{daemon.CONFIG}").read()
end = time.monotonic() + 60
while subprocess.run(["timeout", "5", "docker", "version"], stdout=subprocess.DEVNULL).returncode:
    assert time.monotonic() < end, said
    time.sleep(0.5)
print(json.dumps([*said, "21GB" if "21GB" in text else "33GB" if "33GB" in text else text]))
"""

_LEFT = """
find /etc/docker -name 'daemon.json.*' -o -name '.daemon.json.*'
find /var/lib/docker -maxdepth 1 -name '.buildcache*'
grep -v '^{}$' /var/lib/buildcache/restarts.json 2>/dev/null || true
pgrep -cx dockerd
systemctl is-active agent
"""

_TIMED = f"""{_MODULES}
started = time.monotonic()
assert rollout().wait() == 0, open("{_PLACE}/said").read()
open("{_PLACE}/lasts", "w").write(str(time.monotonic() - started))
"""


@pytest.fixture(scope="module")
def ready(alive):
    """Hosts that have the modules, an agent that follows dockerd, and word of how long a rollout takes."""
    fleet.shell(f"rm -rf {_PLACE}; mkdir -p {_PLACE}")
    fleet.shell(f"cat >{_AGENT} <<'END'\n{_AGENT_TEXT}\nEND\nsystemctl daemon-reload; systemctl enable --now agent")
    for name, module, options in (
        ("new", "buildcache_gc_policy", {"rules": rollouts.NEW}),
        ("old", "buildcache_gc_policy", {"rules": rollouts.OLD}),
        ("restart", "buildcache_restart", {"drain_timeout": "20s"}),
    ):
        status, output = fleet.ansible(
            "ansible",
            *("-i", str(fleet.INVENTORY), "build_hosts", "-m", f"buildfleet.buildcache.{module}"),
            *("-a", json.dumps(options), "-e", f"ansible_remote_tmp={_PLACE}/{name}"),
            environment={"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"},
        )
        assert status == 0, output
    fleet.shell(_TIMED, interpreter="python3 -")
    yield alive
    fleet.shell(f"systemctl disable --now agent; rm -rf {_AGENT} {_PLACE} {_DROP_IN}; {rollouts.MENDED}")


@pytest.mark.parametrize("number", range(ROLLOUTS))
def test_what_comes_after_finds_a_host_that_serves(ready, number):
    chance = random.Random(f"{SEED} rollouts {number}")
    cut = number % 3 == 2
    scripts = {}
    for host in ready:
        event = chance.choice(_POWER_CUTS if cut else _EVENTS)
        seed = f"{SEED} {number} {host}"
        scripts[host] = _ROLLOUT.replace("SEED", repr(seed)).replace("EVENT", repr(event))
    print(f"SEED={SEED}, rollout {number}")
    if cut:
        fleet.shell(
            {host: f"setsid -f python3 - >/dev/null 2>&1 <<'END'\n{text}END\n" for host, text in scripts.items()}
        )
        time.sleep(chance.uniform(0, 8))
        fleet.cut_power(ready)
    else:
        for host, told in fleet.shell(scripts, interpreter="python3 -").items():
            print(host, told)
    for host, told in fleet.shell(_NEXT, interpreter="python3 -").items():
        first, second, policy = json.loads(told)
        print(host, policy, first, second)
        assert policy in ("21GB", "33GB"), (host, policy)
        assert not first.get("failed") or "dockerd serves" in first["msg"], (host, first)
        assert not second.get("failed") and second["restart_required"] is False, (host, second)
        assert second["in_effect"]["rules"][0]["max_used_space"] == policy, (host, second)
    if cut:
        fleet.shell("docker start alive")
        ready.update(fleet.shell(rollouts.PID))
    assert fleet.shell(rollouts.PID) == ready
    fleet.shell(_TIMED, interpreter="python3 -")
    assert fleet.shell(_LEFT) == dict.fromkeys(ready, "1\nactive\n")
    assert fleet.shell(rollouts.PID) == ready
