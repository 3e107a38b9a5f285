# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds what on the disk, held against what du and the file system say."""

from __future__ import annotations

import builds
import engine
import fleet
import pytest
from engine import MB

LEFTOVERS = {
    "graphdriver": "/var/lib/docker/overlay2/0123456789abcdef-removing",
    "containerd": "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}
"""What a crash leaves of a layer: a directory that was being removed, and content that no database has."""

_USE = """
docker volume create --label fleet=disk data >/dev/null
head -c 7000000 /dev/urandom >/var/lib/docker/volumes/data/_data/file
docker run --detach --name talks --network none held:1 /bin/busybox sh -c '
    /bin/busybox head -c 3000000 /dev/urandom >/written
    /bin/busybox head -c 1200000 /dev/zero | /bin/busybox od -v
    echo done >/dev/null
    exec /bin/busybox sleep 98765' >/dev/null
while [ "$(docker logs --tail 1 talks)" != 4447600 ]; do sleep 0.1; done
"""
_LEAVE = """
case {path} in
*-removing) mkdir -p {path}/diff && head -c 5000000 /dev/urandom >{path}/diff/file ;;
*) head -c 5000000 /dev/urandom >{path} ;;
esac
touch --date yesterday {path}
sync
"""
_SIZES = """
du --summarize --block-size=1 /var/lib/docker/volumes/data /var/lib/docker/containers/*/*-json.log {path} | cut -f 1
stat --file-system --format '%S %b %f' /var/lib/docker
"""
_CLEAN = """
docker rm --force talks >/dev/null 2>&1 || true
docker volume rm data >/dev/null 2>&1 || true
rm -rf {path}
"""


@pytest.fixture(scope="module")
def paths(lab):
    """Hosts with builds, a volume, a container that talks and writes, and what a crash left: {host: its path}."""
    by_host = {host: path for store, path in LEFTOVERS.items() for host in fleet.of_store(store)}
    builds.empty_engines()
    fleet.shell(
        builds.build("held:1", f"{builds.FROM_SCRATCH}{builds.write('/image', 9)}")
        + builds.build("stages:1", builds.stages({"stage": 6}))
        + _USE
    )
    fleet.shell({host: _LEAVE.format(path=path) for host, path in by_host.items()})
    yield by_host
    fleet.shell({host: _CLEAN.format(path=path) for host, path in by_host.items()})


def parts(disk):
    return {part["holder"]: part for part in disk["parts"]}


def test_the_disk_is_shown_by_who_holds_what(paths):
    sizes = {
        host: [[int(word) for word in line.split()] for line in text.splitlines()]
        for host, text in fleet.shell({host: _SIZES.format(path=path) for host, path in paths.items()}).items()
    }
    found = fleet.facts({"measure": True})
    state = engine.look()
    for host, path in paths.items():
        (volume,), (log,), (leftover,), (block, blocks, free) = sizes[host]
        (disk,) = found[host]["disks"]
        held = parts(disk)
        assert disk["complete"], host
        assert held["volumes"]["largest"] == [{"name": "data", "bytes": volume}], (host, volume, held)
        assert held["container_logs"]["largest"] == [{"name": "talks", "bytes": log}], (host, log, held)
        assert held["leftovers"]["largest"] == [{"name": path, "bytes": leftover}], (host, leftover, held)
        assert [one["name"] for one in held["container_layers"]["largest"]] == ["talks"], (host, held)
        assert 2_900_000 < held["container_layers"]["bytes"] < 3_300_000, (host, held)
        # By image and cache alike, by the cache alone: the layers that the engine accounts for.
        layers = sum(part["bytes"] for name, part in held.items() if "image" in name or "cache" in name)
        records = sum(one["Size"] for one in state[host].records.values())
        assert layers > records, (host, layers, records, held)
        assert held["images_and_build_cache"]["bytes"] > 9 * MB, (host, held)
        assert held["build_cache"]["bytes"] > 6 * MB, (host, held)
        used = block * (blocks - free)
        measured = sum(part["bytes"] for name, part in held.items() if name != "elsewhere")
        assert abs(used - measured) < 0.02 * used, (host, used, measured, held)
        assert abs(disk["used_bytes"] - used) < 0.02 * used and disk["total_bytes"] == block * blocks, (host, disk)


def test_what_the_engine_does_not_account_for_is_a_finding(paths):
    without = fleet.facts()
    found = fleet.facts({"measure": True})
    for host in paths:
        assert without[host]["disks"] == [], host
        assert "unaccounted_bytes" not in {one["code"] for one in without[host]["findings"]}, host
        (finding,) = [one for one in found[host]["findings"] if one["code"] == "unaccounted_bytes"]
        assert finding["bytes"] > 19 * MB, (host, finding)
        for words in ("in volumes (most in data: ", "in containers' logs (most in talks: ", "that nobody names"):
            assert words in finding["message"], (host, words, finding)


def test_the_playbook_shows_it(paths):
    status, said = fleet.playbook("facts", "-e", "facts_measure=true")
    assert not status, said
    assert said.count("6.7MB volumes: data 6.7MB") == len(paths), said
