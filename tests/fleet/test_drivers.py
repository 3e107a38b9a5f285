# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other storage drivers, and another namespace of containerd: a second dockerd beside the host's own."""

from __future__ import annotations

import builds
import fleet
import lived_in
import pytest
from engine import MB

SOCKET = "unix:///run/second.sock"
ROOT = "/srv/second"

# With --bridge none it would take the other one's bridge away; the namespaces keep its containers from the other, which
# would take them for leftovers of its own.
_START = f"""
mkdir -p {ROOT} && /bin/busybox mount -t tmpfs -o size=1g tmpfs {ROOT}
echo '{{config}}' >{ROOT}/daemon.json
ip link add second0 type bridge && ip address add 10.99.0.1/24 dev second0
systemd-run --quiet --unit second-docker --collect dockerd --config-file {ROOT}/daemon.json --data-root {ROOT}/docker \\
    --exec-root /run/second --pidfile /run/second.pid --host {SOCKET} --bridge second0 --iptables=false \\
    --containerd-namespace second --containerd-plugins-namespace second-plugins
for _tenth in $(seq 200); do docker --host {SOCKET} info >/dev/null 2>&1 && exit 0; sleep 0.1; done
journalctl --unit second-docker --lines 20 >&2
exit 1
"""
_EMPTY = f"""
export DOCKER_HOST={SOCKET}
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
docker images --all --quiet | xargs --no-run-if-empty docker rmi --force >/dev/null
docker builder prune --all --force >/dev/null
"""
_STOP = f"systemctl stop second-docker; /bin/busybox umount {ROOT}; ip link delete second0"


_SECOND = {
    "vfs": ("graphdriver", '{"storage-driver": "vfs"}', "not exact with the storage driver vfs"),
    "a namespace": ("containerd", '{"features": {"containerd-snapshotter": true}}', ""),
}
"""On hosts of which store it runs, with which configuration, and what is said of its previews."""


@pytest.fixture(params=_SECOND)
def second(lab, request):
    """The hosts that have a second dockerd, and what is said of its previews."""
    store, config, says = _SECOND[request.param]
    hosts = fleet.of_store(store)
    fleet.shell(_START.replace("{config}", config), hosts)
    yield hosts, says
    fleet.shell(f"{_EMPTY}{_STOP}", hosts)


def test_what_is_foreseen_comes_back_and_what_is_not_exact_is_said(second):
    hosts, says = second
    fleet.shell(
        f"export DOCKER_HOST={SOCKET}\n{lived_in.classic('a:1', [1, 2])}{lived_in.commit('a:1', 'b:1', 1)}"
        + builds.build("c:1", builds.FROM_SCRATCH + builds.write("/a", 5) + builds.write("/b", 3))
        + "docker run --network none c:1 /bin/busybox true\n",
        hosts,
    )
    for options in (
        {"images": "dangling"},
        {"images": "unused", "all": True},
        {"containers": "stopped", "images": "unused", "all": True},
    ):
        options["docker_host"] = SOCKET
        preview, done = fleet.play(
            [fleet.task("buildcache_prune", options, check=True), fleet.task("buildcache_prune", options)], hosts
        )
        for host in hosts:
            foreseen, result = preview[host], fleet.succeeded(done)[host]
            assert foreseen["predicted_bytes"] == pytest.approx(result["freed_bytes"], rel=0.05, abs=MB), host
            print(f"{host}, {options['images']}: {foreseen['predicted_bytes']} foreseen, {result['freed_bytes']} freed")
            planned = [step["planned"]["ids"] for step in foreseen["steps"]]
            assert planned == [step["planned"]["ids"] for step in result["steps"]], host
            told = str(foreseen.get("warnings", ""))
            assert (says in told) if any(planned) and says else not told, (host, told)
