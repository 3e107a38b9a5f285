# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make root file systems with mmdebstrap, and keep them in a cache that all labs of a user share."""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from pathlib import Path

from . import machine
from .recipes import Recipe
from .shell import LabError, run

# A root file system that another lab asked for lately is about to be mounted, or will be again.
_KEEP_SECONDS = 3600

_NEEDED = {
    "systemd (systemd-sysv)": ("usr/lib/systemd/systemd", "lib/systemd/systemd"),
    "dockerd (docker.io)": ("usr/bin/dockerd", "usr/sbin/dockerd", "usr/local/bin/dockerd"),
    "the docker command (docker-cli)": ("usr/bin/docker", "usr/local/bin/docker"),
    "sshd (openssh-server)": ("usr/sbin/sshd", "usr/bin/sshd"),
    "python3": ("usr/bin/python3",),
}
_BUILDX = ("usr/libexec", "usr/lib", "usr/local/libexec", "usr/local/lib")


def cache_dir() -> Path:
    """The directory of the cache: LAB_CACHE, else buildcache-lab in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("LAB_CACHE") or f"{base}/buildcache-lab")


def ensure(recipe: Recipe) -> Path:
    """The root file system of a recipe, made now where the cache does not have it. About 0.5 GB.

    Older ones of the same suite that nothing uses are removed. Raises LabError where mmdebstrap fails.
    """
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    rootfs = cache / f"{recipe.suite}-{recipe.digest()}"
    with open(cache / f"{recipe.suite}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not rootfs.is_dir():
            began = time.monotonic()
            print(f"making the {recipe.suite} root file system", flush=True)
            _make(recipe, rootfs)
            print(f"made the {recipe.suite} root file system in {time.monotonic() - began:.0f} s", flush=True)
        os.utime(rootfs)
        mounted = Path("/proc/self/mountinfo").read_text()
        for old in cache.glob(f"{recipe.suite}-*"):
            fresh = time.time() - old.stat().st_mtime < _KEEP_SECONDS
            if old != rootfs and not fresh and f"lowerdir={old}," not in mounted:
                remove_tree(old)
    return rootfs


def missing(rootfs: Path) -> list[str]:
    """What a root file system lacks to be a build host, each with the Debian package that has it."""
    return [what for what, paths in _NEEDED.items() if not any(os.path.lexists(rootfs / path) for path in paths)]


def has_buildx(rootfs: Path) -> bool:
    """Whether a root file system has docker's buildx plugin."""
    return any((rootfs / libdir / "docker/cli-plugins/docker-buildx").exists() for libdir in _BUILDX)


def mounts_under(directory: Path) -> list[str]:
    """The mount points in and below a directory, the innermost first."""
    inside = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == str(directory) or point.startswith(f"{directory}/"):
            inside.append(point)
    return inside[::-1]


def remove_tree(directory: Path) -> None:
    """Remove a directory, with whatever is mounted in it unmounted first."""
    for point in mounts_under(directory):
        _unmount(point)
    run("rm", "-rf", "--one-file-system", str(directory))


def _unmount(point: str) -> None:
    # A killed host's last processes hold its mounts for a moment.
    for attempt in range(50):
        try:
            run("umount", point)
            return
        except LabError:
            if attempt == 49:
                raise LabError(f"{point} is in use: leave or end what works in it, then try again") from None
            time.sleep(0.1)


def _make(recipe: Recipe, rootfs: Path) -> None:
    making = rootfs.parent / f".{recipe.suite}"
    remove_tree(making)
    proxies = [f'--aptopt=Acquire::{scheme}::Proxy "{proxy}"' for scheme, proxy in _apt_proxies().items()]
    run(
        "mmdebstrap", *recipe.options, *proxies, f"--include={','.join(recipe.packages)}",
        f"--keyring={machine.KEYRING}", recipe.suite, str(making), machine.mirror(),
    )  # fmt: skip
    for name in recipe.masked:
        link = making / "etc/systemd/system" / name
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (making / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
    for key in making.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    for name, content in recipe.files.items():
        path = making / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(content)
    making.chmod(0o755)
    making.rename(rootfs)


def _apt_proxies() -> dict[str, str]:
    proxies = {}
    for scheme in ("http", "https"):
        for setting in shlex.split(run("apt-config", "shell", "proxy", f"Acquire::{scheme}::Proxy")):
            proxies[scheme] = setting.partition("=")[2]
    return proxies
