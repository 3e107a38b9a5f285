# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to a ballast: looking at it, laying it with real blocks, and giving it up."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress

from .._base.errors import BadOption, BuildcacheError
from .._rescue.ballast import BESIDE, MODE, Ballast
from .files import directory, on_disk, reason

_SUFFIX = ".buildcache"
"""What the names of temporary files end with, so that nobody else's are taken for ours."""

_SAMPLE = 4096


def found_ballast(path):
    """Return the Ballast at ``path``, None where there is nothing. ``path`` is absolute, and its directory no link.

    Raises BadOption for what is no ballast: a directory, a link, a file that has another name, or content. One that
    was allocated and never written reads as zeros.
    """
    above = os.path.dirname(path)
    if os.path.normpath(path) != path or os.path.realpath(above) != above:
        raise BadOption(f"{path} leads through a symbolic link or dots. Name the file by its real path.")
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        # A removal that failed halfway leaves what stands beside it.
        left = _beside(path)
        return Ballast(path, 0, 0, 0, len(left)) if left else None
    except OSError as error:
        raise BadOption(f"{path} cannot be taken for a ballast: {reason(error)}.") from error
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise BadOption(f"{path} is no regular file, and so no ballast. Name another path.")
        if status.st_nlink > 1:
            raise BadOption(f"{path} has another name as well, and so would free nothing. Name another path.")
        ends = os.pread(opened, _SAMPLE, 0) + os.pread(opened, _SAMPLE, max(status.st_size - _SAMPLE, 0))
        if ends.strip(b"\0"):
            raise BadOption(f"{path} has content, and so is no ballast. Name another path, or remove it by hand.")
    finally:
        os.close(opened)
    return Ballast(path, status.st_size, on_disk(status), stat.S_IMODE(status.st_mode), len(_beside(path)))


def _beside(path):
    """Return the names of the empty files beside a ballast. Raises BadOption where anything else is there."""
    try:
        with directory(f"{path}{BESIDE}") as opened:
            names = os.listdir(opened)
            for name in names:
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                if not (name.isdigit() and stat.S_ISREG(status.st_mode) and status.st_size == 0):
                    raise BadOption(f"{path}{BESIDE} has more than a ballast's empty files, such as {name}. See to it.")
            return names
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadOption(f"{path}{BESIDE} cannot be taken for a ballast's: {reason(error)}.") from error


def lay(path, size, inodes):
    """Make the file at ``path`` a ballast of ``size`` bytes with so many empty files beside it, whatever found_ballast
    has found there.

    A new file appears whole or not at all. Raises BuildcacheError; one that was there may then be smaller.
    """
    try:
        if not os.path.lexists(path):
            _lay_new(path, size)
        else:
            opened = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _fill(opened, size)
            finally:
                os.close(opened)
        _lay_beside(path, inodes)
    except OSError as error:
        raise BuildcacheError(f"The ballast {path} could not be laid: {reason(error)}.") from error


def _lay_beside(path, inodes):
    with suppress(FileExistsError):
        os.mkdir(f"{path}{BESIDE}", 0o700)
    wanted, there = {str(number) for number in range(inodes)}, set(_beside(path))
    with directory(f"{path}{BESIDE}") as opened:
        for name in wanted - there:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE, dir_fd=opened))
        for name in there - wanted:
            os.unlink(name, dir_fd=opened)
    if not inodes:
        os.rmdir(f"{path}{BESIDE}")


def _lay_new(path, size):
    above, name = os.path.split(path)
    # Of runs that were killed.
    for one in os.listdir(above):
        if one.startswith(f".{name}.") and one.endswith(_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(above, one))
    opened, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=_SUFFIX, dir=above)
    try:
        _fill(opened, size)
        # Fails where somebody was quicker, and replaces nothing.
        os.link(temporary, path)
    finally:
        os.close(opened)
        os.unlink(temporary)


def _fill(opened, size):
    os.fchmod(opened, MODE)
    os.ftruncate(opened, min(size, os.fstat(opened).st_size))
    os.posix_fallocate(opened, 0, size)
    os.fsync(opened)


def remove_ballast(path):
    """Remove the ballast at ``path`` and what stands beside it; return the paths that went, and what went wrong: a list
    of "path: reason"."""
    gone, problems = [], []
    for one, remove in ((path, os.unlink), (f"{path}{BESIDE}", _remove_beside)):
        try:
            remove(one)
            gone.append(one)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{one}: {reason(error)}")
    return gone, problems


def _remove_beside(path):
    with directory(path) as opened:
        for name in os.listdir(opened):
            os.unlink(name, dir_fd=opened)
    os.rmdir(path)
