# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process of this host is the engine at an address, and whether the engine's directories are those of this host.

An address says neither: the socket can be a tunnel's, a proxy's or that of a virtual machine, or be mounted here from a
container. What is believed is what the kernel says.

- Who listens: SO_PEERCRED on a Unix socket names the process that called listen(2) (unix(7)). Where that is a dockerd,
  it is the engine. With socket activation (`-H fd://`) it is the service manager, and the engine is the dockerd that
  holds the same listening socket, by its inode in /proc/net/unix and /proc/PID/fd (proc(5)); on TCP likewise by
  /proc/net/tcp. With anything else in its place (ssh, socat, Docker Desktop's proxy) the engine is somewhere else.
- What it sees: a directory is the engine's own where /proc/PID/root leads to the very same one. That holds for engines
  in a mount namespace of their own (snap, rootless), and not for one in a container with a /var/lib/docker of its own.

Nothing here goes by an engine's ID: hosts made from one image share it.

Another user than root may look neither into root's descriptors nor below /proc/PID/root. Then the engine that the
service manager listens for is a dockerd of root's, where it gives the name of this host; and the directories are
believed where that dockerd is in this PID namespace, and so in no container.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import NamedTuple

from .address import is_local, socket_path
from .host import PID_FILE, owner_of, pid_in

_ENGINES = ("dockerd", "balenad")
"""What is in the name of moby's daemon as a process, and of its fork's. Distributions call it dockerd-current and
.dockerd-wrapped as well."""

_MANAGERS = ("systemd", "init")
"""Who listens for a service that is started by its socket."""

_LISTENS_UNIX, _LISTENS_TCP = 0x10000, "0A"
"""__SO_ACCEPTCON among the flags in /proc/net/unix, and TCP_LISTEN in /proc/net/tcp (Linux, include/net)."""

_PATIENCE = 5
"""Seconds to wait for the socket of an engine that has just answered."""


class Home(NamedTuple):
    """Where an engine is: the PID of its dockerd on this host (None: not here, or not to be told), whether its
    directories are those of this host, and "" or why an engine with a local address is not taken for one of this host.
    """

    pid: int | None = None
    here: bool = False
    doubt: str = ""


def home_of(docker_host, info):
    """Return the Home of the engine at an address, which has answered ``info`` to /info. Raises nothing."""
    if not is_local(docker_host):
        return Home()
    pid, listener = _engine_process(docker_host, info)
    root = info.get("DockerRootDir") or ""
    if pid is None:
        who = f"{listener} listens there" if listener else "no dockerd of this host can be seen to listen there"
        why = f"the engine at {docker_host} cannot be shown to be one of this host: {who}"
    elif not sees(pid, root):
        why = f"the engine at {docker_host} has another {root} than this host, as one in a container has"
    else:
        return Home(pid, True)
    # Upper case only at the start: the text ends up in other sentences as well.
    return Home(pid, False, f"T{why[1:]}. It is taken for one on another host, whose disks cannot be measured.")


def listening_dockerd(docker_host):
    """Return the PID of the dockerd that holds the listening socket at an address, None where none is seen.

    The socket itself is left alone: by a connection the service manager would start a dockerd that does not run.
    """
    return _holder(_listening(docker_host)) if is_local(docker_host) else None


def is_dockerd(pid):
    """Whether a process is an engine's daemon, by its name."""
    name = _name(pid)
    return any(engine in name for engine in _ENGINES)


def sees(pid, path):
    """Whether a process sees the same file or directory at ``path`` as this one, as far as this user may look."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/root{path}"), os.stat(path))
    except PermissionError:
        return _in_our_pid_namespace(pid)
    except OSError:
        return False


def _engine_process(docker_host, info):
    """Return the PID of the dockerd that serves an address, or None and the name of who listens in its place."""
    path, listener = socket_path(docker_host), None
    if path:
        listener = _peer(path)
        name = _name(listener)
        if is_dockerd(listener):
            return listener, name
        if name not in _MANAGERS:
            return None, f"{name} (PID {listener})" if name else ""
    sockets = _listening(docker_host)
    try:
        # One that has been bound to the same path before may still be a dockerd's.
        sockets = sockets & _sockets(listener) if listener else sockets
    except PermissionError:
        same_name = info.get("Name") == os.uname().nodename
        return next((pid for pid in _dockerds() if same_name and owner_of(pid) == 0), None), ""
    return _holder(sockets), ""


def _peer(path):
    """Return the PID of the process that made the Unix socket at ``path`` listen, None where that is not known."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        # 0 where it is in another PID namespace.
        return struct.unpack("3i", credentials)[0] or None
    return None


def _listening(docker_host):
    """Return the inodes of the listening sockets at a local address."""
    path = socket_path(docker_host)
    if path:
        # Num RefCount Protocol Flags Type St Inode Path
        rows = (row.rstrip("\n").split(None, 7) for row in _rows("/proc/net/unix"))
        path = os.path.realpath(path)
        return {
            row[6]
            for row in rows
            if len(row) == 8 and int(row[3], 16) & _LISTENS_UNIX and os.path.realpath(row[7]) == path
        }
    port = docker_host.rstrip("/").rpartition(":")[2]
    wanted = f":{int(port):04X}" if port.isdigit() else "no port"
    # sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
    rows = (row.split() for table in ("tcp", "tcp6") for row in _rows(f"/proc/net/{table}"))
    return {row[9] for row in rows if row[3] == _LISTENS_TCP and row[1].endswith(wanted)}


def _rows(table):
    """Yield the lines of a table in /proc/net below its heading."""
    with suppress(OSError), open(table, encoding="utf-8", errors="surrogateescape") as lines:
        next(lines, None)
        yield from lines


def _holder(sockets):
    """Return the PID of the dockerd that holds all these sockets, None where there is none."""
    for pid in _dockerds():
        with suppress(PermissionError):
            if sockets and sockets <= _sockets(pid):
                return pid
    return None


def _dockerds():
    """Yield the PIDs of the dockerds of this host, that of the usual PID file first."""
    usual = pid_in(PID_FILE)
    if is_dockerd(usual):
        yield usual
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != usual and is_dockerd(entry):
            yield int(entry)


def _sockets(pid):
    """Return the inodes of the sockets that a process holds. Raises PermissionError."""
    held, directory = set(), f"/proc/{pid}/fd"
    try:
        for descriptor in os.listdir(directory):
            with suppress(FileNotFoundError):
                target = os.readlink(f"{directory}/{descriptor}")
                if target.startswith("socket:["):
                    held.add(target[8:-1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return held


def _name(pid):
    """Return the name of a process, "" where it is not known."""
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return ""


def _in_our_pid_namespace(pid):
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        # One more number for each namespace below ours.
        return any(line.split()[1:] == [str(pid)] for line in status if line.startswith("NSpid:"))
    return False
