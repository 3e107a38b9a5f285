# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other storage drivers: a second dockerd beside the host's own, with a file system to itself."""

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
echo '{{}}' >{ROOT}/daemon.json
ip link add second0 type bridge && ip address add 10.99.0.1/24 dev second0
systemd-run --quiet --unit second-docker --collect dockerd --config-file {ROOT}/daemon.json --data-root {ROOT}/docker \\
    --exec-root /run/second --pidfile /run/second.pid --host {SOCKET} --bridge second0 --iptables=false \\
    --storage-driver vfs --containerd-namespace second --containerd-plugins-namespace second-plugins
for _tenth in $(seq 200); do docker --host {SOCKET} info >/dev/null 2>&1 && exit 0; sleep 0.1; done
journalctl --unit second-docker --lines 20 >&2
exit 1
"""
_STOP = f"systemctl stop second-docker; /bin/busybox umount {ROOT}; ip link delete second0"


@pytest.fixture
def vfs(lab):
    """The hosts that have a second dockerd with the storage driver vfs."""
    hosts = fleet.of_store("graphdriver")
    fleet.shell(_START, hosts)
    yield hosts
    fleet.shell(_STOP, hosts)


def test_with_vfs_the_copies_are_counted_and_what_is_not_exact_is_said(vfs):
    fleet.shell(
        f"export DOCKER_HOST={SOCKET}\n{lived_in.classic('a:1', [1, 2])}{lived_in.commit('a:1', 'b:1', 1)}"
        + builds.build("c:1", builds.FROM_SCRATCH + builds.write("/a", 5) + builds.write("/b", 3))
        + "docker run --network none c:1 /bin/busybox true\n",
        vfs,
    )
    for options in (
        {"images": "dangling"},
        {"images": "unused", "all": True},
        {"containers": "stopped", "images": "unused", "all": True},
    ):
        options["docker_host"] = SOCKET
        preview, done = fleet.play(
            [fleet.task("buildcache_prune", options, check=True), fleet.task("buildcache_prune", options)], vfs
        )
        for host in vfs:
            foreseen, result = preview[host], fleet.succeeded(done)[host]
            assert foreseen["predicted_bytes"] == pytest.approx(result["freed_bytes"], rel=0.05, abs=MB), host
            planned = [step["planned"]["ids"] for step in foreseen["steps"]]
            assert planned == [step["planned"]["ids"] for step in result["steps"]], host
            if any(planned):
                assert "not exact with the storage driver vfs" in str(foreseen["warnings"]), host
