# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the host: file systems, data directories, the daemon's process and its configuration file."""

from __future__ import annotations

import os
import re
import time

from .._base.records import Filesystem

CONTAINERD_CONFIG = "/etc/containerd/config.toml"
CONTAINERD_ROOT = "/var/lib/containerd"
"""Where containerd keeps its data unless its configuration names another root (containerd, defaults)."""

PID_FILE = "/var/run/docker.pid"

# A released layer is unlinked by a garbage collector of the engine's own, some time after the answer to a prune.
_SETTLE_POLL = 0.1
_SETTLE_QUIET = 5
_SETTLE_LIMIT = 10.0


def containerd_root(engine_root, socket):
    """Return the data directory of the containerd at ``socket``, which the engine with ``engine_root`` uses."""
    if socket and "/docker/containerd/" in socket:
        # dockerd runs a containerd of its own, below its own directories.
        return os.path.join(engine_root, "containerd", "daemon")
    try:
        with open(CONTAINERD_CONFIG, encoding="utf-8") as config:
            # The top-level key stands before the first table.
            top = config.read().split("\n[", 1)[0]
    except (OSError, UnicodeDecodeError):
        return CONTAINERD_ROOT
    root = re.search(r"""^\s*root\s*=\s*["']([^"']+)["']""", top, re.MULTILINE)
    return root.group(1) if root else CONTAINERD_ROOT


def filesystems(paths):
    """Return the Filesystems that hold these directories, each file system once, in order of the paths.

    A directory that does not exist here is passed over.
    """
    found = {}
    for path in paths:
        try:
            device = os.stat(path).st_dev
            if device not in found:
                found[device] = _filesystem(path, device)
        except OSError:
            continue
    return tuple(found.values())


def free_bytes(directory):
    """Return how many bytes this user can still write below a directory, 0 where no file can be made; None where that
    is not known."""
    try:
        figures = os.statvfs(directory)
    except OSError:
        return None
    root = os.geteuid() == 0
    # Some file systems have no fixed number of inodes, and show none.
    if figures.f_files and not (figures.f_ffree if root else figures.f_favail):
        return 0
    return (figures.f_bfree if root else figures.f_bavail) * figures.f_frsize


def _filesystem(path, device):
    figures = os.statvfs(path)
    return Filesystem(
        path=path,
        device=device,
        total=figures.f_blocks * figures.f_frsize,
        free=figures.f_bfree * figures.f_frsize,
        available=figures.f_bavail * figures.f_frsize,
        inodes_total=figures.f_files,
        inodes_available=figures.f_favail,
    )


def settled_filesystems(paths, freed_enough):
    """Return filesystems(paths) once the engine has let go of what it removed.

    Waits until ``freed_enough(filesystems)`` is true or the free space stands still; at most ten seconds.
    """
    end = time.monotonic() + _SETTLE_LIMIT
    latest, quiet = filesystems(paths), 0
    while not freed_enough(latest) and quiet < _SETTLE_QUIET and time.monotonic() < end:
        time.sleep(_SETTLE_POLL)
        earlier, latest = latest, filesystems(paths)
        quiet = quiet + 1 if [one.free for one in latest] == [one.free for one in earlier] else 0
    return latest


def pid_in(file):
    """Return the PID that stands in a file, None where there is none."""
    try:
        with open(file, encoding="ascii") as opened:
            return int(opened.read())
    except (OSError, ValueError):
        return None


def start_of(pid):
    """Return when a process started, in seconds since the epoch; None if that is unknown."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name in parentheses may hold spaces; starttime is field 22, the 20th after it (proc(5)).
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    # The moment of boot in /proc/stat is in whole seconds, too coarse beside a file written just before a restart.
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def owner_of(pid):
    """Return the user id of a process, None where it is not known."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def command_of(pid):
    """Return the command line of a process, a list of its words; empty where it is not known."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\0").split("\0")
    except OSError:
        return []


def environment_of(pid):
    """Return the variables that a process was started with, {name: value}; none where they are not known."""
    try:
        with open(f"/proc/{pid}/environ", encoding="utf-8", errors="surrogateescape") as file:
            return dict(one.split("=", 1) for one in file.read().split("\0") if "=" in one)
    except OSError:
        return {}
