# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dockerd is working on for others, by its own account of its goroutines.

An open connection says little: agents keep theirs open, streams of events never end, and a connection from a
container is in another network namespace. On SIGUSR1 every dockerd, debugging or not, writes the stacks of all
goroutines to a file (moby, daemon/debugtrap_unix.go; goroutine-stacks-*.log in its --exec-root), in which each request
that is being answered stands by the name of its handler.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress

from .._engine.home import is_dockerd
from .._engine.host import command_of

EXEC_ROOT = "/var/run/docker"
"""dockerd's default (moby, daemon/config/config_linux.go); of a rootless one it is ``docker`` in XDG_RUNTIME_DIR."""

_FILE = re.compile(r"goroutine-stacks-.*\.log")
_POLL = 0.05
_LIMIT = 5.0

# By handler: moby, api/server/router/{build,image,container}, 20.10 to 28 (in 29 below daemon/server); BuildKit,
# control/control.go, for what buildx asks.
_WAITED_FOR = {
    "postBuild": "a build",
    "Solve": "a build",
    "postImagesCreate": "a pull or an import",
    "postImagesPush": "a push",
    "getImagesGet": "a save",
    "postImagesLoad": "a load",
    "postCommit": "a commit",
    "getContainersExport": "an export",
    "getContainersArchive": "a copy from a container",
    "putContainersArchive": "a copy to a container",
    "postContainersPrune": "a prune",
    "postImagesPrune": "a prune",
    "postVolumesPrune": "a prune",
    "postPrune": "a prune",
}
_HANDLER = re.compile(r"^\S*(?:/router/\w+\.\(\*\w+|/buildkit/control\.\(\*Controller)\)\.(\w+)\(", re.MULTILINE)


def open_requests(pid, config):
    """Return what dockerd is asked for now and would cut off by a restart, as words; None where it cannot be known.

    ``pid`` is its PID, ``config`` the dict of its configuration file.
    """
    # Only a dockerd is sure to take the signal so.
    if not is_dockerd(pid):
        return None
    # As dockerd sees its files: a rootless one has its own view of them.
    directory = f"/proc/{pid}/root{_exec_root(command_of(pid), config)}"
    try:
        stacks = _stacks(pid, directory)
    except OSError:
        return None
    return None if stacks is None else waited_for(stacks)


def waited_for(stacks):
    """Return the words for the handlers in the stacks of goroutines, each once. Goroutines that a handler has begun
    ("created by") are a part of it."""
    return sorted({_WAITED_FOR[name] for name in _HANDLER.findall(stacks) if name in _WAITED_FOR})


def _exec_root(command, config):
    for number, word in enumerate(command):
        if word.startswith("--exec-root="):
            return word.partition("=")[2]
        if word == "--exec-root" and number + 1 < len(command):
            return command[number + 1]
    default = EXEC_ROOT if os.geteuid() == 0 else os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/run"), "docker")
    return config.get("exec-root") or default


def _stacks(pid, directory):
    """Have dockerd write its stacks, and return them; None where it does not. The file is removed."""
    before = set(os.listdir(directory))
    os.kill(pid, signal.SIGUSR1)
    end, size = time.monotonic() + _LIMIT, 0
    while time.monotonic() < end:
        time.sleep(_POLL)
        new = [name for name in os.listdir(directory) if name not in before and _FILE.fullmatch(name)]
        if not new:
            continue
        path = os.path.join(directory, new[0])
        # It is written in one go, and so is whole where it grows no more.
        size, last = os.stat(path).st_size, size
        if size and size == last:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            with suppress(OSError):
                os.unlink(path)
            return text
    return None
