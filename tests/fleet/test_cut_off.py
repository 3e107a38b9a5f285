# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection that is cut in the middle of a prune: the prune goes on, and the next one tells what it did."""

from __future__ import annotations

import json

import builds
import daemon
import engine
import fleet
import pytest
from variants import variants

pytestmark = pytest.mark.any_engine

LOG = f"{builds.CONTEXT}/cut.log"
STATE = "/var/lib/buildcache/unheard-*.json"

# Waits for the entry that a prune makes before it removes anything, holds dockerd, so that the prune cannot end, and
# ends the SSH session that the prune runs in, or with "module" the prune itself. Then lets dockerd go on.
_CUT = f"""
rm -f {STATE} {LOG}
cat >{builds.CONTEXT}/cut <<'SCRIPT'
until ls {STATE} >/dev/null 2>&1; do sleep 0.01; done
dockerd=$(cat /run/docker.pid)
kill -STOP "$dockerd"
for process in /proc/[0-9]*; do
    ls -l $process/fd 2>/dev/null | grep -q ' /run/buildcache/lock$' && module=$(basename "$process")
done
above=$module
until grep -q sshd "/proc/$above/comm"; do above=$(ps -o ppid= -p "$above" | tr -d ' '); done
if [ "$1" = module ]; then kill -KILL "$module"; else kill -KILL "$above"; fi
sleep 1
kill -0 "$module" 2>/dev/null && echo goes on || echo ended
kill -CONT "$dockerd"
while kill -0 "$module" 2>/dev/null; do sleep 0.1; done
echo done
SCRIPT
setsid -f sh {builds.CONTEXT}/cut WHAT >{LOG} 2>&1 </dev/null
"""

_CUT_OFF = f"""
for _ in $(seq 300); do grep -q done {LOG} && break; sleep 0.1; done
cat {LOG}; stat -c %a {STATE}
"""


@pytest.fixture
def filled():
    """Hosts with a build cache that no image holds."""
    builds.prepare()
    before = builds.empty_engines()
    fleet.shell(builds.generations("cut", 3, 4) + "docker images -q | xargs docker rmi --force")
    yield before
    fleet.shell(f"rm -f {STATE}")


@pytest.mark.parametrize("pipelining", variants(("true", "false"), first=1))
def test_a_prune_goes_on_when_its_connection_is_cut_and_the_next_one_tells(filled, pipelining):
    fleet.shell(_CUT.replace("WHAT", "session"))
    cut_off({"ANSIBLE_PIPELINING": pipelining})
    assert fleet.shell(_CUT_OFF) == dict.fromkeys(fleet.hosts(), "goes on\ndone\n600\n")
    for host, state in engine.look().items():
        assert not state.records, host
    previews = fleet.prune(check=True)
    first, second = (fleet.prune() for _time in range(2))
    for host in fleet.hosts():
        (run,) = first[host]["previous"]
        assert not first[host]["changed"] and run["changed"], host
        cache = run["steps"][-1]
        assert cache["step"] == "build_cache" and "error" not in cache, host
        assert 0 < cache["removed"]["count"] == cache["planned"]["count"], host
        assert run["started_at"] < run["ended_at"] and run["msg"] == "" and run["freed_bytes"] > 0, host
        # Check mode tells it as well, and leaves it to be told.
        assert previews[host]["previous"] == [run] and "previous" not in second[host], host


def test_a_prune_that_was_killed_is_told_without_a_result(filled):
    fleet.shell(_CUT.replace("WHAT", "module"))
    cut_off({})
    assert fleet.shell(_CUT_OFF) == dict.fromkeys(fleet.hosts(), "ended\ndone\n600\n")
    first, second = (fleet.prune() for _time in range(2))
    for host in fleet.hosts():
        (run,) = first[host]["previous"]
        assert set(run) == {"started_at", "ended_at"} and run["ended_at"] is None, host
        assert "previous" not in second[host], host
    # The engine can count a record as in use from then on whose removal was cut off (28.5.2 with the containerd store:
    # "failed to delete lease … context canceled"), until it starts anew.
    daemon.restart()


def cut_off(environment):
    """Run buildcache_prune on all hosts, on none of which it is heard of again."""
    environment = {"ANSIBLE_SSH_RETRIES": "0", **environment}
    _status, output = fleet.ansible(
        "ansible",
        "-i",
        str(fleet.INVENTORY),
        "all",
        "-m",
        "buildfleet.buildcache.buildcache_prune",
        "-a",
        json.dumps({"all": True}),
        environment=environment,
    )
    assert '"steps"' not in output, output
