# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to files that may go: nothing is followed out of the directory that was named, and nothing but regular files
is touched."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

from .._rescue.plan import TRUNCATE

_BLOCK = 512
"""The unit of st_blocks (stat(2))."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Nothing that somebody has put there may hold this up.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_REASONS = {
    errno.EACCES: "permission is denied; run the task as root (become: true)",
    errno.EPERM: "the operation is not permitted; run the task as root, and see lsattr for an immutable file",
    errno.EROFS: "its file system is mounted read-only; see the kernel's log for why",
    errno.ELOOP: "it is a symbolic link, which is not followed; remove it by hand",
    errno.ENOTDIR: "it is a symbolic link or no directory; remove it by hand",
}


def reason(error):
    """Return why an OSError came about and what to do, as the end of a sentence."""
    return _REASONS.get(error.errno, error.strerror)


def on_disk(status):
    """Return the bytes that a file takes on the disk, by its os.stat_result."""
    return status.st_blocks * _BLOCK


def files_in(base, *names):
    """Yield (name, os.stat_result) of the regular files directly in a directory below ``base``; none where it is not
    there. Raises OSError."""
    for name, status in _entries(base, names):
        if stat.S_ISREG(status.st_mode):
            yield name, status


def directories_in(base, *names):
    """Return the names of the directories directly in a directory below ``base``; none where it is not there."""
    return [name for name, status in _entries(base, names) if stat.S_ISDIR(status.st_mode)]


def _entries(base, names):
    found = []
    try:
        with directory(base, *names) as descriptor:
            for name in sorted(os.listdir(descriptor)):
                try:
                    found.append((name, os.stat(name, dir_fd=descriptor, follow_symlinks=False)))
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        pass
    return found


@contextmanager
def directory(base, *names):
    """Open a directory below ``base``, each step by itself; give its descriptor. Raises OSError for a link."""
    opened = os.open(base, _DIRECTORY)
    try:
        for name in names:
            below = os.open(name, _DIRECTORY, dir_fd=opened)
            os.close(opened)
            opened = below
        yield opened
    finally:
        os.close(opened)


def give_up(base, items):
    """Remove or empty files below ``base``, by their Items; return the paths that went, and what went wrong: a list of
    "path: reason"."""
    gone, problems = [], []
    for item in items:
        *names, name = os.path.relpath(item.path, base).split(os.sep)
        try:
            with directory(base, *names) as descriptor:
                (_empty if item.how == TRUNCATE else _remove)(name, descriptor)
            gone.append(item.path)
        except FileNotFoundError:
            # Gone by itself meanwhile: a log is rotated, a container removed.
            continue
        except OSError as error:
            problems.append(f"{item.path}: {reason(error)}")
    return gone, problems


def _empty(name, descriptor):
    """Empty a file in its place: whoever has it open to append goes on at its new end."""
    opened = os.open(name, os.O_WRONLY | _FILE, dir_fd=descriptor)
    try:
        _require_regular(os.fstat(opened))
        os.ftruncate(opened, 0)
    finally:
        os.close(opened)


def _remove(name, descriptor):
    _require_regular(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
    os.unlink(name, dir_fd=descriptor)


def _require_regular(status):
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file any more; look at it by hand")
