# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts without a free byte or inode, for real: what can be given up without dockerd, and how they come back."""

from __future__ import annotations

import json
import re

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB
from test_playbooks import recap
from variants import variants

BALLAST = "/var/lib/docker/buildcache-ballast"
SIZE = 96 * MB

# Into the layer of a build, so that the prune of that brings all of it back.
_FILL = """
import os

# The image's and the build's, with one store; either goes.
layer = next(
    above
    for top in ("/var/lib/docker/overlay2", "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots")
    for above, _below, files in os.walk(top)
    if "filled" in files and not above.endswith("/merged")
)
try:
    number = 0
    while {inodes}:
        if number % 20000 == 0:
            os.mkdir(f"{{layer}}/{{number}}")
            os.chdir(f"{{layer}}/{{number}}")
        os.mknod(str(number))
        number += 1
except OSError:
    pass
file = os.open(f"{{layer}}/filled", os.O_WRONLY)
step = 1 << 32
while step >= 4096:
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, step)
    except OSError:
        step //= 2
os.fsync(file)
disk = os.statvfs(layer)
assert disk.f_bavail == 0 and ({inodes} == 0 or disk.f_ffree == 0), disk
print(disk.f_bfree, disk.f_ffree)
"""

_EMPTY = """
cd /var/lib
find docker/overlay2 containerd/io.containerd.snapshotter.v1.overlayfs/snapshots -name filled 2>/dev/null |
    while read -r file; do truncate -s 0 "$file"; rm -rf "${file%/*}"/[0-9]*; done
"""
"""A script that takes out of the layer again what was filled in."""

_LEFT = f"rm -rf {BALLAST} {BALLAST}.inodes\n"


@pytest.fixture
def bare(empty):
    """Hosts without a ballast, before the test and after; their dockerd runs then."""
    fleet.shell(_LEFT)
    yield
    fleet.shell(_LEFT + daemon.START)


@pytest.fixture
def layered(bare):
    """Hosts with a build whose layer can be filled."""
    fleet.shell(builds.build("filled:1", builds.FROM_SCRATCH + builds.do("/bin/busybox touch /filled")))
    yield
    # Where the test has not come so far.
    fleet.shell(_EMPTY + daemon.START)
    builds.empty_engines()


def ballast(**options):
    """Lay or remove it, and return {host: result}."""
    return fleet.succeeded(fleet.run("buildcache_ballast", options))


def rescue(*arguments, **variables):
    """Run the playbook; return its output, and the changes of each host."""
    status, output = fleet.playbook("rescue", "-e", json.dumps(variables), *arguments)
    assert status == 0, output
    return output, {host: counts["changed"] for host, counts in recap(output).items()}


def lines(output):
    """Return what the playbook says of each host."""
    return dict(re.findall(r'^ +"(\w+): (.*?)",?$', output, re.MULTILINE))


# To use up all inodes takes its time.
@pytest.mark.parametrize("inodes", variants([0, 1], 1))
def test_a_full_host_serves_again_and_all_that_can_go_is_gone(layered, inodes):
    ballast(size=f"{SIZE}B")
    before = engine.look()
    # A host on which nothing is wrong.
    assert rescue()[1] == dict.fromkeys(before, 0)

    fleet.shell("systemctl stop docker.socket docker.service 2>&1")
    fleet.shell(_FILL.format(inodes=inodes), interpreter="python3 -")
    if inodes:
        # It fails, unless containerd has collected something meanwhile.
        fleet.shell("systemctl start docker.service 2>&1 || true; systemctl stop docker.socket docker.service 2>&1")
    wanted = {"cleanup_images": "unused", "cleanup_all": True}
    output, _changes = rescue("--check", **wanted)
    for host, line in lines(output).items():
        assert line == "would free ballast 96MB, dockerd to be started", (host, line)
    fleet.shell(f"test -e {BALLAST}; ! systemctl is-active docker.service")

    output, changes = rescue(**wanted)
    for host, line in lines(output).items():
        assert re.fullmatch(r"freed ballast 96MB, dockerd started, cleanup 3\.\d+GB, ballast laid again", line), line
        assert changes[host] == 4, (host, changes)
    for host, state in engine.look().items():
        assert not state.images and not state.records, host
        assert state.free >= before[host].free, host
    assert rescue(**wanted)[1] == dict.fromkeys(before, 0)
    sizes = fleet.shell(f"stat --format '%s %a' {BALLAST}; ls {BALLAST}.inodes | wc -l")
    assert set(sizes.values()) == {f"{SIZE} 600\n1000\n"}


_TALK = """
for driver in json-file local; do
    docker run --detach --name $driver --log-driver $driver --network none filled:1 /bin/busybox sh -c '
        /bin/busybox head -c 2000000 /dev/urandom | /bin/busybox od -v
        while true; do /bin/busybox sleep 0.2; echo later; done' >/dev/null
done
for driver in json-file local; do
    until docker logs $driver 2>/dev/null | tail -n 1 | grep -q later; do sleep 0.1; done
done
json=$(docker inspect --format '{{.LogPath}}' json-file)
head -c 3000000 /dev/zero >$json.1
head -c 3000000 /dev/zero >$json.2.gz
head -c 3000000 /dev/zero >/root/precious
ln -s /root/precious $json.3
head -c 3000000 /dev/zero >$json.of-somebody
head -c 3000000 /dev/zero >/var/cache/apt/archives/some_1_all.deb
# journald keeps its own in memory here.
journalctl --rotate
mkdir -p /var/log/journal/$(cat /etc/machine-id)
cp /run/log/journal/*/system@*.journal /var/log/journal/$(cat /etc/machine-id)
"""

_SILENCE = """
docker rm --force json-file local >/dev/null 2>&1 || true
rm -rf /root/precious /var/cache/apt/archives/some_1_all.deb /var/log/journal/$(cat /etc/machine-id)
"""

_IMMUTABLE = """
import fcntl, struct
with open({path!r}) as file:
    # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_IMMUTABLE_FL (ioctl_iflags(2)).
    (flags,) = struct.unpack("l", fcntl.ioctl(file, 0x80086601, bytes(8)))
    fcntl.ioctl(file, 0x40086602, struct.pack("l", flags & ~16 | {flag}))
"""


@pytest.fixture
def talking(layered):
    """Hosts with containers that talk, what logs, journal and package manager keep, and a full disk: {host: log}."""
    fleet.shell(_TALK)
    ballast(size=f"{SIZE}B")
    fleet.shell(_FILL.format(inodes=0), interpreter="python3 -")
    yield {host: path.strip() for host, path in fleet.shell("docker inspect --format '{{.LogPath}}' json-file").items()}
    fleet.shell(_SILENCE)


def test_what_was_previewed_goes_and_nothing_else(talking):
    options = {"ballast": "default", "container_logs_over": "1MB", "journal_over": "1KB", "package_caches": True}
    few = {**options, "until_free": "20MB"}
    checks = [fleet.task("buildcache_rescue", one, check=True, diff=True) for one in (options, few)]
    preview, preview_of_few = map(fleet.succeeded, fleet.play(checks))
    immutable = {host: f"{path}.1" for host, path in talking.items()}
    fleet.shell({host: _IMMUTABLE.format(path=path, flag=16) for host, path in immutable.items()}, None, "python3 -")
    try:
        failed, again = fleet.play([fleet.task("buildcache_rescue", options)] * 2)
    finally:
        fleet.shell({host: _IMMUTABLE.format(path=path, flag=0) for host, path in immutable.items()}, None, "python3 -")
    last, none = fleet.play([fleet.task("buildcache_rescue", options)] * 2)
    for host, log in talking.items():
        paths = {one["step"]: one["paths"] for one in preview[host]["steps"]}
        assert list(paths) == ["ballast", "container_logs", "journal", "package_caches"], host
        assert paths["ballast"] == [BALLAST, f"{BALLAST}.inodes"], host
        assert {log, f"{log}.1", f"{log}.2.gz"} < set(paths["container_logs"]) and len(paths["container_logs"]) == 4
        assert all(".journal" in one for one in paths["journal"]) and paths["journal"], host
        assert paths["package_caches"] == ["/var/cache/apt/archives/some_1_all.deb"], host
        assert [one["paths"] != [] for one in preview_of_few[host]["steps"]][:2] == [True, False], host
        assert all(path in preview[host]["diff"]["before"] for path in paths["container_logs"]), host
        assert preview[host]["freed_bytes"] == 0 and preview[host]["changed"], host

        assert failed[host]["failed"] and failed[host]["changed"], host
        assert f"{log}.1: the operation is not permitted" in failed[host]["msg"], failed[host]["msg"]
        for step in failed[host]["steps"]:
            left = {f"{log}.1"} if step["step"] == "container_logs" else set()
            assert set(paths[step["step"]]) - set(step["paths"]) == left, (host, step)
            assert step["freed_bytes"] > 0.9 * (step["planned_bytes"] - 3 * MB) or step["step"] == "journal", step
        assert failed[host]["freed_bytes"] > SIZE and again[host]["failed"] and not again[host]["changed"], host
        assert last[host]["changed"] and not last[host]["failed"], host
        assert not none[host]["changed"] and none[host]["freed_bytes"] < MB, host
    said = fleet.shell(
        "sleep 0.5; stat --format %s /root/precious; ls $(docker inspect --format '{{.LogPath}}' json-file).*;"
        " for one in json-file local; do docker logs $one | sort -u; done"
    )
    for host, log in talking.items():
        assert said[host].split() == ["3000000", f"{log}.3", f"{log}.of-somebody", "later", "later"], said[host]
    # Nobody asks for the tail of a log that was emptied below a running dockerd.
    fleet.shell("docker rm --force json-file local >/dev/null")


REFUSED = {
    "link": ({"ballast": "/root/link-ballast"}, "symbolic link"),
    "content": ({"ballast": "/etc/passwd"}, "has content"),
    "engine's data": ({"ballast": "/var/lib/docker/volumes/ballast"}, "where the data of the engine"),
}


def test_a_ballast_is_what_was_asked_for_or_nothing_was_done(bare):
    fleet.shell("ln -sfn /etc/passwd /root/link-ballast")
    sizes = [fleet.task("buildcache_ballast", {"size": size}) for size in ("64MB", "64MB", "32MB", "60%")]
    there = {"ansible.builtin.stat": {"path": BALLAST}}
    results = fleet.play(
        [
            *(fleet.task("buildcache_ballast", {"size": "64MB"}, check=True), there, *sizes),
            fleet.task("buildcache_ballast", {"size": "1MB", "path": "/root/ballast"}),
            *(fleet.task("buildcache_rescue", options) for options, _said in REFUSED.values()),
        ]
    )
    fleet.shell("test -s /etc/passwd; rm /root/link-ballast; ! test -e /root/ballast")
    for host in fleet.hosts():
        check, seen, first, second, smaller, full, elsewhere, *refused = [one[host] for one in results]
        assert check["changed"] and not seen["stat"]["exists"], host
        assert [one["changed"] for one in (first, second, smaller)] == [True, False, True], host
        assert full["failed"] and "There is no room for a ballast of 2.3GB" in full["msg"], (host, full["msg"])
        assert elsewhere["failed"] and "is on another file system" in elsewhere["msg"], (host, elsewhere["msg"])
        for result, (_options, said) in zip(refused, REFUSED.values(), strict=True):
            assert result["failed"] and said in result["msg"] and "steps" not in result, (host, result["msg"])
    found = fleet.shell(f"stat --format '%s %b %a' {BALLAST}")
    assert set(found.values()) == {f"{32 * MB} {32 * MB // 512} 600\n"}, found


def test_the_role_prepare_lays_it_and_takes_it_away(bare):
    def prepare(**variables):
        status, output = fleet.playbook("prepare", "-e", json.dumps(variables))
        assert status == 0, output
        return {host: counts["changed"] for host, counts in recap(output).items()}

    once = dict.fromkeys(fleet.hosts(), 1)
    assert prepare(prepare_ballast_size="64MB") == once
    fleet.shell(f"test $(stat --format %s {BALLAST}) = {64 * MB}")
    assert prepare(prepare_ballast_state="absent") == once
    fleet.shell(f"! ls -d {BALLAST}* 2>&1")


_FULL_PLACES = """
import ctypes, os
call = ctypes.CDLL(None)
for place in (b"/tmp", b"/var/tmp", b"/root/.ansible"):
    os.makedirs(place, exist_ok=True)
    assert call.mount(b"tmpfs", place, b"tmpfs", 0, b"size=4k,mode=1777") == 0
    with open(place + b"/full", "wb", buffering=0) as file:
        file.write(bytes(4096))
    assert os.statvfs(place).f_bfree == 0
"""
_NO_FULL_PLACES = """
import ctypes
for place in (b"/tmp", b"/var/tmp", b"/root/.ansible"):
    ctypes.CDLL(None).umount2(place, 2)
"""


@pytest.fixture
def full_places(bare):
    """Hosts on which all places for temporary files that Ansible takes by itself are full."""
    fleet.shell(_FULL_PLACES, interpreter="python3 -")
    yield
    fleet.shell(_NO_FULL_PLACES, interpreter="python3 -")


@pytest.mark.parametrize(
    ("book", "pipelining"),
    [
        ("cleanup", False),
        *(
            pytest.param(*one, marks=pytest.mark.deep)
            for one in (("cleanup", True), ("rescue", False), ("rescue", True))
        ),
    ],
)
def test_ansibles_own_files_need_no_room_on_a_disk(full_places, book, pipelining):
    status, output = fleet.playbook(book, "-e", json.dumps({"ansible_pipelining": pipelining}))
    assert status == 0, output
