# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users have under way when dockerd is to be restarted: it is waited for, and ends well."""

from __future__ import annotations

import builds
import daemon
import fleet
import pytest
from variants import variants

pytestmark = pytest.mark.any_engine

OLD, NEW = [{"max_used_space": "21GB"}], [{"max_used_space": "33GB"}]
WORK = "/run/fleet-drain"
LABEL = "ci.job"

# Each goes on until it is let go: what is read or written at its other end waits, and so does a step of a build.
_WAIT = f"until [ -e {WORK}/go ]; do sleep 0.2; done"
_LET_GO = f"touch {WORK}/go; docker ps -q | xargs -r docker kill --signal USR1 >/dev/null"
_CLASSIC = f"""
cat >{WORK}/Dockerfile <<'DOCKERFILE'
{builds.FROM_SCRATCH}{builds.do("trap 'exit 0' USR1; while :; do /bin/busybox sleep 0.2; done")}DOCKERFILE
DOCKER_BUILDKIT=0 docker build --network none --file {WORK}/Dockerfile {builds.CONTEXT}/context
"""
REQUESTS = {
    "A build": _CLASSIC,
    "A save": f"docker save drain:1 | ({_WAIT}; cat >/dev/null)",
    "A load": f"({_WAIT}; cat {WORK}/image.tar) | docker load",
    "An export": f"docker export drain-stopped | ({_WAIT}; cat >/dev/null)",
    "A copy from a container": f"docker cp drain-stopped:/bin/busybox - | ({_WAIT}; cat >/dev/null)",
}


def _start(script):
    return f"rm -f {WORK}/ended {WORK}/go; cat >{WORK}/run <<'END'\nset -o pipefail\n{script}\nEND\n" + (
        f"(setsid bash {WORK}/run >{WORK}/log 2>&1; echo $? >{WORK}/ended) </dev/null >/dev/null 2>&1 &\nsleep 3\n"
    )


def _let_go_soon(script):
    """Run a script on every host once the restart that follows has begun to wait."""
    fleet.shell(f"(setsid bash -c 'sleep 5; {script}') </dev/null >/dev/null 2>&1 &")


_ENDED = f"for _each in $(seq 80); do [ ! -e {WORK}/ended ] || break; sleep 0.5; done; cat {WORK}/ended {WORK}/log"
_MADE = f"""
mkdir -p {WORK}
docker rm -f drain-stopped >/dev/null 2>&1 || true
{builds.build("drain:1", builds.FROM_SCRATCH + builds.write("/big", 12))}
docker save -o {WORK}/image.tar drain:1
docker create --name drain-stopped --network none drain:1 /bin/busybox true >/dev/null
"""


@pytest.fixture(scope="module", autouse=True)
def ready(lab):
    builds.prepare()
    fleet.shell(daemon.KEEP + _MADE)
    fleet.succeeded(fleet.run("buildcache_gc_policy", {"rules": OLD}))
    fleet.succeeded(fleet.run("buildcache_restart", {"allow_container_stop": True}))
    yield
    fleet.shell(f"docker ps -aq --filter name=drain- | xargs -r docker rm -f; rm -rf {WORK}\n{daemon.PUT_BACK}")
    daemon.restart()


def _restart(rules, **options):
    fleet.succeeded(fleet.run("buildcache_gc_policy", {"rules": rules}))
    return fleet.run("buildcache_restart", options)


@pytest.mark.parametrize("said", variants(REQUESTS, first=1))
def test_what_dockerd_is_asked_for_is_waited_for_and_not_cut(said):
    fleet.shell(_start(REQUESTS[said]))
    # A step of a classic build is a running container like any other.
    allowed = {"allow_container_stop": said == "A build"}
    refused = _restart(NEW, drain_timeout="1s", **allowed)
    _let_go_soon(_LET_GO)
    done = fleet.run("buildcache_restart", {"drain_timeout": "60s", **allowed})
    for host, result in refused.items():
        assert result["failed"] and not result["restarted"], (host, result)
        assert f"{said} still runs after 1s (drain_timeout)" in result["msg"], (host, result)
    fleet.succeeded(done)
    for host, printed in fleet.shell(_ENDED).items():
        assert printed.startswith("0\n"), (host, printed)
        assert done[host]["restarted"], host
    fleet.succeeded(_restart(OLD))
    for host, left in fleet.shell("ls /run/docker").items():
        assert "goroutine-stacks" not in left, (host, left)


def test_what_only_looks_on_is_not_waited_for():
    fleet.shell(_start("docker events"))
    for host, result in fleet.succeeded(_restart(NEW, drain_timeout="1s")).items():
        assert result["restarted"], host
    fleet.succeeded(_restart(OLD))


@pytest.mark.parametrize("wanted", variants([[f"{LABEL}=7"], ["all"], [LABEL]], first=1))
def test_containers_are_waited_for_where_that_is_asked_for(wanted):
    run = f"docker run -d --rm --name drain-job --label {LABEL}=7 --network none drain:1 /bin/busybox sleep 10000"
    fleet.shell(run)
    others = _restart(NEW, drain_containers=[f"{LABEL}=8"])
    refused = fleet.run("buildcache_restart", {"drain_containers": wanted, "drain_timeout": "1s"})
    _let_go_soon("docker kill drain-job")
    done = fleet.run("buildcache_restart", {"drain_containers": wanted, "drain_timeout": "60s"})
    for host in refused:
        assert "would stop 1 running containers (drain-job)" in others[host]["msg"], (host, others[host])
        assert "1 of the containers to wait for still run after 1s (drain_timeout): drain-job" in refused[host]["msg"]
        assert not refused[host]["restarted"], host
    for host, result in fleet.succeeded(done).items():
        assert result["restarted"] and result["containers"] == [], (host, result)
    fleet.succeeded(_restart(OLD))
