# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file that is there to be given up on a full disk: where it may be, how much of a disk it may take, and which change
makes it as it is wanted. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption, BuildcacheError
from .._base.units import human_size

NAME = "buildcache-ballast"
"""The name of the ballast in the engine's directory, unless it is told otherwise: a data disk of its own has no other
place."""

MODE = 0o600


class Ballast(NamedTuple):
    """A ballast as it is on the disk: its path, its size, the bytes that it has there, and its mode."""

    path: str
    size: int
    allocated: int
    mode: int

    def will_do(self, size):
        """Whether it is as it would be laid with this size."""
        return self.size == size <= self.allocated and self.mode == MODE


def refuse_place(path, roots):
    """Raise BadOption for a path where dockerd's or containerd's own data is. ``roots`` are their directories.

    Directly in one of them a ballast may be, where its name says so: neither of them has a file of such a name.
    """
    if not path.startswith("/"):
        raise BadOption(f"{path!r} is no absolute path of a ballast. Name the file from the root on.")
    for root in roots:
        inside = path[len(root.rstrip("/")) + 1 :] if path.startswith(f"{root.rstrip('/')}/") else ""
        if path == root or "/" in inside or (inside and "ballast" not in inside):
            raise BadOption(
                f"{path} is where the data of the engine in {root} is. A ballast can be directly in that directory, "
                f"under a name with ballast in it, such as {root}/{NAME}, or anywhere outside."
            )


def refuse_full(path, size, held, filesystem, leave):
    """Raise NoRoom where a ballast of ``size`` bytes, of which ``held`` are there, would leave too little free.

    As much as its own size has to stay, and ``leave`` bytes.
    """
    left = filesystem.available + held - size
    wanted = max(size, leave)
    if left < wanted:
        raise NoRoom(
            f"There is no room for a ballast of {human_size(size)} at {path}: {human_size(max(left, 0))} would stay "
            f"free, and {human_size(wanted)} must. Clean up first, or choose a smaller size."
        )


class NoRoom(BuildcacheError):
    """The file system has too little free for a ballast."""
