# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a host: what changes it runs alone, and those who look wait meanwhile."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress

from .._base.errors import BuildcacheError
from .._base.units import SECOND, parse_duration
from .address import is_local, socket_path

LOCK_FILE = "/run/buildcache/lock"
"""Locked with flock(2): the kernel lets go of it however a process ends. Whoever can open it can hold it, so that it
belongs to root and to those who may use the engine's socket, in a directory of root's."""

_POLL = 0.2


@contextmanager
def locked(options, shared=False, path=None):
    """Hold the host's lock, where the engine is on this host; ``shared`` by those who only look.

    ``options`` are the module's: ``docker_host`` and ``lock_timeout``, how long to queue for it. A user who may not
    make the lock of root's engine goes without one until root does: there is nobody to wait for. Raises BuildcacheError
    where it is not to be had by then, and BadOption for a timeout that is none.
    """
    timeout = options["lock_timeout"]
    end = time.monotonic() + parse_duration(timeout, "lock_timeout") / SECOND
    if not is_local(options["docker_host"]):
        yield
        return
    path = path or _lock_file(options["docker_host"])
    descriptor = _opened(path, options["docker_host"])
    if descriptor is None:
        yield
        return
    try:
        while not _taken(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > end:
                raise BuildcacheError(
                    f"Another task of this collection has worked on this host for longer than {timeout} "
                    f"(lock_timeout); nothing was done. `fuser {path}` names its process."
                )
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor, kind):
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket(docker_host):
    """Return the os.stat of the engine's socket, None where there is none on this host."""
    with suppress(OSError):
        return os.stat(socket_path(docker_host))
    return None


def _lock_file(docker_host):
    """Return the lock of an engine: root's, or that of the user whose rootless engine it is."""
    socket, user = _socket(docker_host), os.geteuid()
    if user and socket and socket.st_uid == user:
        return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}", "buildcache", "lock")
    return LOCK_FILE


def _opened(path, docker_host):
    """Return a descriptor of the lock file, None where this user can neither find nor make it, or may not open it but
    may not use the engine's socket either, which the engine's client then says."""
    # Nothing that somebody has put there may hold this up, or lead elsewhere.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = _made(path, flags)
        if descriptor is None:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BuildcacheError(f"The lock {path} is no file. Remove it, then run again.")
        _share(descriptor, docker_host)
        return descriptor
    except OSError as problem:
        if isinstance(problem, PermissionError) and not os.access(socket_path(docker_host), os.W_OK):
            return None
        raise BuildcacheError(
            f"The lock {path} cannot be opened: {problem.strerror}. Run the task as root, or as a member of the group "
            "of the engine's socket."
        ) from problem


def _made(path, flags):
    directory = os.path.dirname(path)
    try:
        with suppress(FileExistsError):
            os.mkdir(directory)
            # The mode that mkdir takes is narrowed by the umask.
            os.chmod(directory, 0o755)
        return os.open(path, flags | os.O_CREAT, 0o600)
    except PermissionError:
        return None


def _share(descriptor, docker_host):
    """Give the lock to the group of the engine's socket, by the first run that finds one with a group but root's: it
    may have been made while there was none, for an engine on TCP, or for a forwarded socket of root's own."""
    socket = _socket(docker_host)
    if socket and socket.st_gid and not os.fstat(descriptor).st_gid:
        with suppress(OSError):
            os.fchown(descriptor, -1, socket.st_gid)
            os.fchmod(descriptor, 0o640)
