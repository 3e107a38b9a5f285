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
from .._rescue.ballast import MODE, Ballast
from .files import on_disk, reason

_SUFFIX = ".buildcache"
"""What the names of temporary files end with, so that nobody else's are taken for ours."""

_SAMPLE = 4096


def found_ballast(path):
    """Return the Ballast at ``path``, None where there is nothing. ``path`` is absolute, and its directory no link.

    Raises BadOption for what is no ballast: a directory, a link, a file that has another name, or content. One that
    was allocated and never written reads as zeros.
    """
    directory = os.path.dirname(path)
    if os.path.normpath(path) != path or os.path.realpath(directory) != directory:
        raise BadOption(f"{path} leads through a symbolic link or dots. Name the file by its real path.")
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
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
    return Ballast(path, status.st_size, on_disk(status), stat.S_IMODE(status.st_mode))


def lay(path, size, before):
    """Make the file at ``path`` a ballast of ``size`` bytes; ``before`` is the Ballast that is there, None for none.

    A new one appears whole or not at all. Raises BuildcacheError; one that was there may then be smaller.
    """
    try:
        if before is None:
            _lay_new(path, size)
        else:
            opened = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _fill(opened, size)
            finally:
                os.close(opened)
    except OSError as error:
        raise BuildcacheError(f"The ballast {path} could not be laid: {reason(error)}.") from error


def _lay_new(path, size):
    directory, name = os.path.split(path)
    # Of runs that were killed.
    for one in os.listdir(directory):
        if one.startswith(f".{name}.") and one.endswith(_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, one))
    opened, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=_SUFFIX, dir=directory)
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
    """Remove the ballast at ``path``. Raises BuildcacheError."""
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise BuildcacheError(f"The ballast {path} could not be removed: {reason(error)}.") from error
