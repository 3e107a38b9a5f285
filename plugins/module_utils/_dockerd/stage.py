# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dockerd is started with in a rehearsal: its own flags and file, but for what would touch the host. Pure."""

from __future__ import annotations

import os.path

from .flags import parsed
from .look import asked, containerd_store, data_root

_PLACES = {"data-root", "graph", "exec-root", "pidfile", "containerd", "config-file"}
"""Keys that say where dockerd keeps what is its own, for which a rehearsal has places of its own."""

_LEFT_OUT = _PLACES | {"authorization-plugins", "userns-remap"}
"""Keys that a rehearsal cannot follow: plugins are installed in the root; users may be made (moby,
daemon/daemon_unix.go, setupRemappedRoot)."""

_OF_THE_HOST = {"devicemapper", "zfs", "btrfs"}
"""Drivers that make devices, data sets or quotas of the host at their start."""

RUN = "/run"
"""Where a rehearsal has a file system of its own in memory."""


def cannot_be_staged(seen):
    """Return why a dockerd like this one is not started beside it, "" where it can be."""
    options = " ".join(map(str, seen.info.get("SecurityOptions") or []))
    if "name=rootless" in options:
        return "the engine is rootless"
    drivers = _OF_THE_HOST & {str(seen.info.get("Driver")), str(asked(seen, "storage-driver"))}
    if drivers:
        return f"the storage driver {', '.join(sorted(drivers))} changes the host at its start"
    return ""


def staged(seen, root, config_file):
    """Return the flags and the configuration (a dict) for a dockerd with the empty directory ``root``.

    Listening sockets stay what they are, in a network of the rehearsal's own; those that are files come to be in RUN.
    """
    words = [f"--data-root={root}", f"--exec-root={RUN}/docker", f"--pidfile={RUN}/docker.pid"]
    words.append(f"--config-file={config_file}")
    if _driver_is_found(seen):
        words.append(f"--storage-driver={seen.info['Driver']}")
    for key, value, flag in parsed(seen.words):
        if not _is_left_out(key, value, seen):
            words.append(f"{flag}={_address(value) if key == 'hosts' else value}")
    config = {key: value for key, value in seen.config.items() if not _is_left_out(key, value, seen)}
    if isinstance(config.get("hosts"), list):
        config["hosts"] = [_address(one) for one in config["hosts"]]
    return words, config


def _is_left_out(key, value, seen):
    # A bridge of the host's is not in the rehearsal's network; one that is not there at all, nowhere.
    return key in _LEFT_OUT or (key == "bridge" and value != "none" and seen.exists(f"/sys/class/net/{value}"))


def _driver_is_found(seen):
    """Whether dockerd finds its storage driver by what is in its root (moby, daemon/graphdriver/driver.go, New)."""
    named = asked(seen, "storage-driver") or "containerd-snapshotter" in f"{seen.config} {seen.words}"
    return bool(seen.info.get("Driver")) and not (named or containerd_store(seen.info))


def _address(address):
    scheme, separator, path = str(address).partition("://")
    return f"unix://{RUN}/{path.strip('/').replace('/', '-')}" if separator and scheme == "unix" else address


def root_of(seen):
    """Return the directory on whose file system a start would have its root."""
    root = str(asked(seen, "data-root") or asked(seen, "graph") or data_root(seen.info) or "")
    while root.startswith("/") and root != "/" and not seen.exists(root):
        root = os.path.dirname(root)
    return seen.real(root)
