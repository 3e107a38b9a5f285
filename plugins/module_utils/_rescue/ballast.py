# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file that is there to be given up on a full disk: where it may be, how much of a disk it may take, and which change
makes it as it is wanted. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption, BuildcacheError
from .._base.units import human_size
from .plan import enough

NAME = "buildcache-ballast"
"""The name of the ballast in the engine's directory, unless it is told otherwise: a data disk of its own has no other
place."""

BESIDE = ".inodes"
"""What the name of the directory of empty files ends with, which stands beside the ballast. They hold inodes as that
holds bytes: without a free inode dockerd may not start, however many bytes there are."""

MODE = 0o600


class Ballast(NamedTuple):
    """A ballast as it is on the disk: its path, its size, the bytes that it has there, its mode, and how many empty
    files stand beside it."""

    path: str
    size: int
    allocated: int
    mode: int
    inodes: int = 0

    def will_do(self, size, inodes):
        """Whether it is as it would be laid with this size, and so many empty files beside it."""
        return self.size == size <= self.allocated and self.mode == MODE and self.inodes == inodes


def refuse_place(path, roots):
    """Raise BadOption for a path where dockerd's or containerd's own data is. ``roots`` are their directories.

    Directly in one of them a ballast may be, where its name says so: neither of them has a file of such a name.
    """
    if not path.startswith("/"):
        raise BadOption(f"{path!r} is no absolute path of a ballast. Name the file from the root on.")
    for root in roots:
        inside = path[len(root.rstrip("/")) + 1 :] if path.startswith(f"{root.rstrip('/')}/") else ""
        if path.rstrip("/") == root or "/" in inside or (inside and "ballast" not in inside):
            raise BadOption(
                f"{path} is where the data of the engine in {root} is. A ballast can be directly in that directory, "
                f"under a name with ballast in it, such as {root}/{NAME}, or anywhere outside."
            )


def refuse_full(path, size, inodes, before, filesystem, leave):
    """Raise NoRoom where a ballast of ``size`` bytes and so many ``inodes`` would leave too little free.

    As much of both as it takes has to stay, and ``leave``, a Size, or None for no more than that. ``before`` is the
    Ballast that is there, None for none.
    """
    held = before or Ballast(path, 0, 0, MODE)
    left = filesystem._replace(
        available=filesystem.available + held.allocated - size,
        inodes_available=filesystem.inodes_available + held.inodes - inodes,
    )
    # Some file systems have no fixed number of inodes, and show none.
    few = bool(filesystem.inodes_total) and left.inodes_available < inodes
    if left.available < size or few or (leave and not enough(left, leave)):
        more = ""
        if leave:
            more = f" and {leave.value:g}%" if leave.percent else f" and {human_size(int(leave.value))}"
        raise NoRoom(
            f"There is no room for a ballast of {human_size(size)} and {inodes} inodes at {path}: "
            f"{human_size(max(left.available, 0))} and {max(left.inodes_available, 0)} inodes would stay free, and as "
            f"much as it takes{more} must. Clean up first, or choose a smaller one."
        )


class NoRoom(BuildcacheError):
    """The file system has too little free for a ballast."""
