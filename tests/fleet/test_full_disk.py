# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk without a byte, or without an inode: engines cannot write that a name is gone, and all goes that is to go."""

from __future__ import annotations

import builds
import engine
import fleet
import pytest

FILL = {
    # The second file takes what is less than a block of the first one's.
    "bytes": """
cat /dev/zero >/var/lib/docker/fleet-fill 2>/dev/null || true
while head -c 4096 /dev/zero >>/var/lib/docker/fleet-rest 2>/dev/null; do :; done
test $(df --output=avail /var/lib/docker | tail -n 1) = 0
""",
    "inodes": """
mkdir -p /var/lib/docker/fleet-fill
python3 - <<'END'
import os
number = 0
try:
    while True:
        os.close(os.open(f"/var/lib/docker/fleet-fill/{number}", os.O_CREAT))
        number += 1
except OSError:
    pass
END
test $(df --output=iavail /var/lib/docker | tail -n 1) = 0
""",
}
EMPTY = "rm -rf /var/lib/docker/fleet-fill /var/lib/docker/fleet-rest\n"


@pytest.mark.parametrize("of", ["bytes", pytest.param("inodes", marks=pytest.mark.deep)])
def test_a_full_disk_is_cleaned_as_previewed(lab, empty, of):
    fleet.shell(
        "".join(builds.build(f"tagged{n}:1", builds.FROM_SCRATCH + builds.write(f"/t{n}", 2)) for n in range(2))
        + "docker tag tagged0:1 other:0\n"
        + builds.generations("app:latest", 2, 2)
        + "docker run --name ended --network none app:latest /bin/busybox true\n"
    )
    fleet.shell(FILL[of])
    options = {"images": "unused", "containers": "stopped", "all": True}
    try:
        preview, done, again = fleet.play(
            [fleet.task("buildcache_prune", options, check=check) for check in (True, False, False)]
        )
    finally:
        fleet.shell(EMPTY)
    for host, result in fleet.succeeded(done).items():
        for planned, removed in zip(preview[host]["steps"], result["steps"], strict=True):
            assert set(planned["planned"]["ids"]) == set(removed["removed"]["ids"]), (host, removed)
        assert not again[host]["changed"], (host, again[host]["steps"])
    for host, state in engine.look().items():
        assert not state.ids, (host, state.ids)
