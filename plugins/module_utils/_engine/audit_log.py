# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to an audit log: a file of JSON lines on the host, to which runs append what they have removed.

A run makes one write(2) with O_APPEND, so that runs side by side never tear each other's lines. It holds a lock of the
file meanwhile (flock), without which none rotates it: the host's lock is not held for engines elsewhere. Whoever can
read the file can hold its lock; so a run that does not get it appends without.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress

from .._base.errors import BadOption, BuildcacheError
from .._base.units import parse_size

OLDER = 3
"""How many files are kept beside the one that is written: .1, the youngest, and so on."""

_PATIENCE = 10.0
"""Seconds to wait for the lock."""

_POLL = 0.02
_MODE = 0o640
# Nothing that somebody has put there may lead elsewhere, or hold a run up.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AuditLog:
    """The log at a path. Raises BadOption, before anything is done, where none can be kept there."""

    def __init__(self, path, max_size):
        """``max_size`` is a size as an option has it, such as 10MB, beyond which the file is rotated."""
        if not path.startswith("/"):
            raise BadOption(f"audit_log: {path!r} is no absolute path. Name a file, or leave it out for no log.")
        size = parse_size(max_size, "audit_log_max_size")
        if size.percent:
            raise BadOption(f"audit_log_max_size: {max_size!r} is a percentage. Write a size, such as 10MB.")
        if not os.path.isdir(os.path.dirname(path)):
            raise BadOption(f"audit_log: there is no directory {os.path.dirname(path)}. Make it, or correct the path.")
        self.path, self._max = path, size.in_bytes(0)
        with suppress(FileNotFoundError):
            _require_file(path, os.lstat(path))

    def append(self, lines):
        """Append lines, without their ends; return how many of them are in the log then, and "" or what went wrong."""
        data, written, problem = "".join(f"{line}\n" for line in lines).encode("ascii"), 0, ""
        try:
            descriptor, problem = self._opened(len(data))
        except (OSError, BuildcacheError) as error:
            return 0, _words(error)
        try:
            # What a full disk has cut off ends here, so that the lines after it can be read.
            start = b"" if _ends_whole(descriptor) else b"\n"
            data = start + data
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fsync(descriptor)
        except OSError as error:
            problem = _words(error)
        finally:
            os.close(descriptor)
        return max(data[:written].count(b"\n") - len(start), 0), problem

    def _opened(self, more):
        """Return a descriptor to append so many bytes by, with the lock where it is to be had, and "" or why the file
        could not be rotated."""
        end = time.monotonic() + _PATIENCE
        while True:
            descriptor = _open(self.path)
            try:
                if not _locked(descriptor, end):
                    return descriptor, ""
                status = os.fstat(descriptor)
                if self._is_at_path(status):
                    if not status.st_size or status.st_size + more <= self._max:
                        return descriptor, ""
                    self._rotate()
            except OSError as error:
                return descriptor, f"It could not be rotated: {_words(error)}"
            # By now another file is at the path, or will be.
            os.close(descriptor)

    def _is_at_path(self, status):
        with suppress(FileNotFoundError):
            return os.path.samestat(status, os.lstat(self.path))
        return False

    def _rotate(self):
        names = names_of(self.path)
        for younger, older in reversed(list(zip(names, names[1:]))):
            with suppress(FileNotFoundError):
                os.rename(younger, older)


def _locked(descriptor, end):
    """Wait for the lock of a file until then, by the monotonic clock; return whether it is to be had."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)


def names_of(path):
    """Return the names of the log's files, the youngest first."""
    return [path, *(f"{path}.{number}" for number in range(1, OLDER + 1))]


def opened(path):
    """Return the files of the log at a path that are there, as pairs of the name and the open file, the youngest first.

    One that is rotated meanwhile is there once. Raises BuildcacheError where one cannot be read.
    """
    found = {}
    for name in names_of(path):
        try:
            descriptor = os.open(name, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            continue
        except OSError as error:
            for _name, file in found.values():
                file.close()
            raise BuildcacheError(f"audit_log: {name} cannot be read: {_words(error)}") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in found:
            os.close(descriptor)
            continue
        found[status.st_dev, status.st_ino] = name, open(descriptor, "rb")
    return list(found.values())


def _open(path):
    flags = os.O_RDWR | os.O_APPEND | _FLAGS
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _MODE)
            # The mode that open takes is narrowed by the umask.
            os.fchmod(descriptor, _MODE)
        except FileExistsError:
            descriptor = os.open(path, flags)
    try:
        _require_file(path, os.fstat(descriptor))
    except BadOption:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path, status):
    """Raise BadOption for what is no file of one name alone: what is appended would go to somewhere else."""
    if stat.S_ISLNK(status.st_mode):
        raise BadOption(f"audit_log: {path} is a symbolic link, which is not followed. Name the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise BadOption(f"audit_log: {path} is no regular file. Name another one, or remove it.")
    if status.st_nlink > 1:
        raise BadOption(f"audit_log: {path} has other names too (hard links). Name another file, or remove it.")


def _ends_whole(descriptor):
    size = os.fstat(descriptor).st_size
    return not size or os.pread(descriptor, 1, size - 1) == b"\n"


def _words(error):
    return f"{error.strerror}." if isinstance(error, OSError) else str(error)
