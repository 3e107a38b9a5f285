# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the files that this collection keeps on a host between two runs."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager

ROOTS_DIRECTORY = "/var/lib/buildcache"
"""Root's; that of any other user, whose engine is a rootless one, is in the home directory."""


def directory():
    """Return the directory of the state."""
    if os.geteuid() == 0:
        return ROOTS_DIRECTORY
    base = os.environ.get("XDG_STATE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/state"), "buildcache")


def name_of(kind, docker_host):
    """Return the name of the file of this kind for the engine at an address."""
    return f"{kind}-{hashlib.sha256(docker_host.encode()).hexdigest()[:16]}.json"


def keep(name, value):
    """Put a value, as JSON, in the place of the file of that name, in one step; only its owner may read it.

    Raises OSError.
    """
    os.makedirs(directory(), mode=0o755, exist_ok=True)
    with replaced(os.path.join(directory(), name), 0o600) as file:
        json.dump(value, file)


@contextmanager
def replaced(path, mode):
    """Give a new file of text, with this mode, that in the end takes the place of the one at ``path`` in one step.

    Raises OSError, and leaves the one that was there then.
    """
    # Those who only look keep something too, and share the host's lock.
    own = f"{path}.{os.getpid()}.new"
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            # Whatever the umask is.
            os.fchmod(new.fileno(), mode)
            yield new
            new.flush()
            os.fsync(new.fileno())
        os.replace(own, path)
    except BaseException:
        os.unlink(own)
        raise


def kept(name):
    """Return the value that was kept by a name, None where there is none that can be read."""
    try:
        with open(os.path.join(directory(), name), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def forget(name):
    """Remove what was kept by a name. Raises OSError, FileNotFoundError where there is nothing."""
    os.unlink(os.path.join(directory(), name))
