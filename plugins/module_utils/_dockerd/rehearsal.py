# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rehearsal: dockerd started with a configuration beside the one that runs, in namespaces of its own, until it serves
or gives up. Much that keeps a dockerd from starting is found by nothing less: dockerd --validate reads no driver, no
network, no path and no log option."""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import time
from contextlib import contextmanager, suppress

from .._base.errors import BuildcacheError
from .._engine.host import command_of, environment_of, free_bytes, start_of
from .running import NotHealthy
from .service import masked
from .stage import RUN, cannot_be_staged, root_of, staged

_LIMIT = 60
"""Seconds for a dockerd without images and containers to serve: it takes 0.5 to 2."""

_ROOM = 32 * 1024 * 1024
"""Bytes that must be free: a rehearsal is neither to fill a disk nor to fail for a full one."""

_NAME = ".buildcache-rehearsal-"

# unshare(2), mount(2), prctl(2)
_NAMESPACES = 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000  # NEWNS, NEWNET, NEWPID, NEWIPC, NEWUTS
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
_DIE_WITH_PARENT = 1

_NOT_ISOLATED = 97
"""An exit status that dockerd has no use for: it has 1, 2 and 125."""
_FIRST_PASSED = 3  # sd_listen_fds(3)

_OF_THE_SERVICE = {
    "DOCKER_TMPDIR", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_PIDFDID", "MAINPID", "MANAGERPID", "NOTIFY_SOCKET",
    "WATCHDOG_PID", "WATCHDOG_USEC",
}  # fmt: skip
"""Variables that lead to what is the running dockerd's."""

_LINE_OF_LOG = re.compile(r"time=|\{|INFO|DEBU|WARN")


class NotRehearsed(BuildcacheError):
    """A start could not be tried on this host."""


def rehearsed(host, now, seen):
    """Have a dockerd started with the file beside the one that runs. Returns why that cannot be done here, "" where it
    went well. Raises NotHealthy where it did not."""
    try:
        said = host.rehearse(seen, command_of(now.pid)[0], now.pid)
    except NotRehearsed as problem:
        return str(problem)
    if said:
        raise NotHealthy(f"dockerd would not start with {now.config.path}. One started beside it said: {said}")
    return ""


class Rehearsal:
    """Tries the texts of a configuration, each once."""

    def __init__(self):
        self._good = set()

    def refusal(self, seen, program, pid):
        """Return what dockerd said when it would not start with what is Seen, "" where it does.

        ``program`` is dockerd's, ``pid`` that of the one that runs. Raises NotRehearsed where that cannot be told: the
        start cannot be tried, or fails with an empty configuration too.
        """
        why = cannot_be_staged(seen)
        if why:
            raise NotRehearsed(f"{why}.")
        text = json.dumps(seen.config, sort_keys=True)
        if text in self._good:
            return ""
        said = _tried(seen, program, pid)
        if not said:
            self._good.add(text)
        elif _tried(seen._replace(config={}), program, pid):
            raise NotRehearsed(f"with an empty configuration it does not start beside the other either: {said}")
        return said


def _tried(seen, program, pid):
    """Return what dockerd said when it would not start, "" where it serves. Raises NotRehearsed."""
    try:
        with _directory(root_of(seen)) as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(os.path.join(directory, "ready"))
            words, config = staged(seen, os.path.join(directory, "root"), os.path.join(directory, "daemon.json"))
            with open(os.path.join(directory, "daemon.json"), "w", encoding="utf-8") as file:
                json.dump(config, file)
            log = os.path.join(directory, "log")
            child = _begun([program, *words], _environment(pid, directory), directory, log)
            try:
                serves, status = _awaited(child, ready)
            finally:
                _ended(child)
            said = "" if serves else _said(log).replace(f"{directory}/", "")
    except OSError as problem:
        raise NotRehearsed(f"{problem.strerror or problem}.") from problem
    if serves:
        return ""
    if status is None:
        raise NotRehearsed(f"it did not end within {_LIMIT} s: {said}")
    if status == _NOT_ISOLATED:
        raise NotRehearsed(f"{said or 'no namespaces'}.")
    return said or f"exit status {status}"


@contextmanager
def _directory(root):
    """Make a directory of a rehearsal's own on the file system of dockerd's root; in the end it is gone.

    Those that were left by a process which is no more are removed.
    """
    room = free_bytes(root)
    if room is not None and room < _ROOM:
        raise NotRehearsed(f"there is too little space left on the file system of {root}.")
    for name in os.listdir(root):
        owner = name[len(_NAME) :]
        if name.startswith(_NAME) and (not owner.isdigit() or start_of(owner) is None):
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)
    directory = os.path.join(root, f"{_NAME}{os.getpid()}")
    os.mkdir(directory, 0o700)
    try:
        os.mkdir(os.path.join(directory, "root"), 0o710)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _environment(pid, directory):
    found = {name: value for name, value in environment_of(pid).items() if name not in _OF_THE_SERVICE}
    found.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    # It is the first process of its own namespace.
    passed = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "docker.socket"}
    return {**found, **passed, "NOTIFY_SOCKET": os.path.join(directory, "ready")}


def _begun(command, environment, directory, log):
    """Start dockerd's keeper and return its PID."""
    child = os.fork()
    if child:
        return child
    status = _NOT_ISOLATED
    try:
        status = _kept(command, environment, directory, log)
    except BaseException as problem:
        with suppress(OSError):
            os.write(2, f"{problem}\n".encode())
    finally:
        os._exit(status)


def _kept(command, environment, directory, log):
    """Run dockerd in namespaces, in a process of ours that is told by SIGTERM to end it; return its exit status."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setsid()
    _called(libc.prctl, _DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, output, output)):
        os.dup2(stream, number)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.path.join(directory, "api"))
    listener.listen(1)
    _called(libc.unshare, _NAMESPACES)
    dockerd = []
    signal.signal(signal.SIGTERM, lambda *_signal: [os.kill(one, signal.SIGKILL) for one in dockerd])
    dockerd.append(os.fork())
    if dockerd == [0]:
        _called(libc.prctl, _DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        _alone(libc)
        os.dup2(listener.fileno(), _FIRST_PASSED)
        os.set_inheritable(_FIRST_PASSED, True)
        os.execvpe(command[0], command, environment)
    _pid, status = os.waitpid(dockerd[0], 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1


def _alone(libc):
    """Give this process a /proc and a RUN of its own; its network takes every address for its own."""
    _called(libc.mount, b"none", b"/", None, _PRIVATE, None)
    _called(libc.mount, b"proc", b"/proc", b"proc", 0, None)
    _called(libc.mount, b"tmpfs", RUN.encode(), b"tmpfs", 0, b"mode=755")
    # By it dockerd and runc see that there is a systemd.
    os.makedirs(f"{RUN}/systemd/system")
    for version in ("ipv4", "ipv6"):
        with suppress(OSError), open(f"/proc/sys/net/{version}/ip_nonlocal_bind", "w", encoding="ascii") as file:
            file.write("1")


def _called(function, *arguments):
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


def _awaited(child, ready):
    """Wait until dockerd says that it serves, or ends; return whether it serves, and its exit status (None where it
    does neither)."""
    end = time.monotonic() + _LIMIT
    while time.monotonic() < end:
        if select.select([ready], [], [], 0.05)[0] and b"READY=1" in ready.recv(4096):
            return True, None
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return False, os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
    return False, None


def _ended(child):
    """End dockerd and all that it has started: they go with the first process of their namespace."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def _said(log):
    """Return what dockerd printed beside its log: why it gave up. Where that is nothing, its last line."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return ""
    own = [line for line in lines if not _LINE_OF_LOG.match(line)]
    return masked(" ".join(own[:1] or lines[-1:]))
