# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a host: what changes it runs alone, and those who look wait meanwhile."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import is_local
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

LOCK_FILE = "/run/lock/buildcache.lock"
"""Locked with flock(2): the kernel lets go of it however a process ends."""

_POLL = 0.2


@contextmanager
def locked(options, shared=False, path=LOCK_FILE):
    """Hold the host's lock, where the engine is on this host; ``shared`` by those who only look.

    ``options`` are the module's: ``docker_host`` and ``lock_timeout``, how long to queue for it. Raises BuildcacheError
    where it is not to be had by then, and BadOption for a timeout that is none.
    """
    timeout = options["lock_timeout"]
    end = time.monotonic() + parse_duration(timeout, "lock_timeout") / SECOND
    if not is_local(options["docker_host"]):
        yield
        return
    descriptor = _opened(path)
    try:
        while not _taken(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > end:
                raise BuildcacheError(
                    f"Another task of this collection has worked on this host for longer than {timeout} "
                    "(lock_timeout); "
                    f"nothing was done. `fuser {path}` names its process."
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


def _opened(path):
    try:
        try:
            # Who may not write may lock as well; and in a directory of everybody's, root may not open with O_CREAT what
            # somebody else has made (fs.protected_regular).
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as problem:
        raise BuildcacheError(
            f"The lock {path} cannot be opened: {problem.strerror}. Run the task as root."
        ) from problem
