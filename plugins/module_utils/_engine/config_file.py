# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the daemon's configuration file: reading it, and replacing it in one step."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .._base.errors import BuildcacheError
from .._base.json_text import BadConfig, parse

_SUFFIX = ".buildcache"
"""What the names of temporary files end with, so that nobody else's are taken for ours."""

_DENIED = "permission is denied; run the task as root (become: true)"
_FULL = "there is no space left; make some on its file system"
_REASONS = {
    errno.EACCES: _DENIED,
    errno.EPERM: "the operation is not permitted; run the task as root, and see lsattr for an immutable file",
    errno.EROFS: "its file system is mounted read-only",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EBUSY: "it is mounted there by itself and cannot be replaced; change the file that is mounted",
    errno.ENOENT: "the directory above its own does not exist; create that, or correct the path",
    errno.ENOTDIR: "a part of its path is a file and no directory; correct the path",
    errno.ELOOP: "its symbolic links lead in a circle; correct them",
}


class ConfigFile(NamedTuple):
    """A configuration file as it was read.

    ``path`` is where symbolic links lead, ``changed_at`` when it came to be as it is, in seconds since the epoch, None
    where that cannot be known. Where there is no file, ``text`` is None and ``data`` is {}. ``backup`` is the copy of
    what it held before it was written, None without one.
    """

    path: str
    text: str | None
    data: dict
    changed_at: float | None
    backup: str | None = None


def read_config(path):
    """Return the ConfigFile at ``path``, following symbolic links to a file that may not exist yet.

    Raises BadConfig for content that dockerd would refuse or that is ambiguous, and BuildcacheError for a file that
    cannot be read.
    """
    path = os.path.realpath(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise BuildcacheError(f"{path} is {kind}, where a file belongs. Remove it, or name another file.")
        content = _content(path)
    except FileNotFoundError:
        return ConfigFile(path, None, {}, _removed_at(path))
    except OSError as error:
        raise BuildcacheError(f"{path} cannot be read: {_reason(error)}.") from error
    try:
        text = content.decode("utf-8")
        # A file that was put there with the time of another (cp -p, rsync -t) has a time of its own as well. Changes of
        # owner or mode set that too, but what a run has seen is not taken for changed by them (in_effect.look).
        return ConfigFile(path, text, parse(text), max(status.st_mtime, status.st_ctime))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}: line {line}: no UTF-8. Save the file as UTF-8, then run again.") from None
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None


def _removed_at(path):
    """Return when a file that is not there may have been removed, None where nothing speaks for it.

    To remove a file changes its directory; so does to make one, which then is as young as that change. (dockerd itself
    makes a key.json there when it first starts, to 20.10.) A younger neighbour can hide a removal: then it takes an
    earlier run's look to find it.
    """
    directory = os.path.dirname(path)
    with suppress(OSError):
        changed_at = os.stat(directory).st_mtime
        made = [entry.stat(follow_symlinks=False).st_ctime for entry in os.scandir(directory)]
        # The clock of a file system is coarse, and not the same for the two.
        if all(one < changed_at - 0.1 for one in made):
            return changed_at
    return None


def write_config(config, text, replace, copy=None):
    """Put ``text`` in the place of what a ConfigFile was read from, in one step, and return the new ConfigFile.

    ``replace(temporary, path)`` renames, as AnsibleModule.atomic_move, and carries over owner, mode and label; until
    then only the owner can read the temporary file beside the old one. With ``copy(path, temporary)``, as
    AnsibleModule.preserved_copy, a backup of the old file is made first. Creates the directory of the file, with mode
    0755. Raises BuildcacheError where the file could not be written or was changed since it was read; it is then as
    it was, without a backup beside it.

    The caller holds the host's lock: temporary files that a run left which was killed are removed.
    """
    directory, backup = os.path.dirname(config.path), None
    try:
        if not os.path.lexists(directory):
            os.mkdir(directory)
            # The mode that mkdir takes is narrowed by the umask, and clients of the engine read in /etc/docker too.
            os.chmod(directory, 0o755)
        _sweep(config.path)
        if copy and config.text is not None:
            backup = _back_up(config.path, copy)
        _replace(config, text, replace)
    except BaseException as error:
        if backup:
            with suppress(OSError):
                os.unlink(backup)
        if isinstance(error, BuildcacheError) or not isinstance(error, Exception):
            raise
        # atomic_move wraps the error of the system in an Exception of no class of its own.
        cause = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise BuildcacheError(
            f"{config.path} could not be written: {_reason(cause)}. The file is as it was."
        ) from error
    _sync(directory)
    return read_config(config.path)._replace(backup=backup)


def put_back(path, text, replace):
    """Put ``text`` into the file at ``path`` whatever is there now, or remove the file where it is None.

    ``replace`` as for write_config. Raises BuildcacheError.
    """
    path = os.path.realpath(path)
    try:
        if text is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        now = _content_or_none(path)
    except OSError as error:
        raise BuildcacheError(f"{path} could not be put back: {_reason(error)}.") from error
    if now != text.encode("utf-8"):
        write_config(ConfigFile(path, now and now.decode("utf-8", "surrogateescape"), {}, None), text, replace)


@contextmanager
def _temporary(path):
    """Make a file beside ``path`` that only its owner can read: its descriptor and name; in the end it is gone."""
    name = os.path.basename(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=_SUFFIX, dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            yield file, temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _sweep(path):
    """Remove the temporary files of runs that were killed."""
    directory, name = os.path.split(path)
    for one in os.listdir(directory):
        if one.startswith(f".{name}.") and one.endswith(_SUFFIX):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, one))


def _back_up(path, copy):
    """Copy the file to one beside it, named as AnsibleModule.backup_local names it, and return its path."""
    backup = _backup_of(path)
    with _temporary(path) as (_file, temporary):
        copy(path, temporary)
        os.rename(temporary, backup)
    return backup


def _backup_of(path):
    return f"{path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"


def keep_copy(path, text, replace):
    """Keep a text that stood in the file at ``path`` in a backup beside it, which only its owner can read; return the
    path of that. ``replace`` as for write_config. Raises BuildcacheError."""
    copy = _backup_of(path)
    put_back(copy, text, replace)
    os.chmod(copy, 0o600)
    return copy


def _replace(config, text, replace):
    with _temporary(config.path) as (file, temporary):
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
        before = None if config.text is None else config.text.encode("utf-8", "surrogateescape")
        if _content_or_none(config.path) != before:
            raise BuildcacheError(
                f"{config.path} was changed by somebody else while this task ran, and was left so. Run it again."
            )
        replace(temporary, config.path)


def _sync(directory):
    # The file is in its place by now; some network file systems cannot sync a directory.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _content(path):
    with open(path, "rb") as file:
        return file.read()


def _content_or_none(path):
    try:
        return _content(path)
    except FileNotFoundError:
        return None


def _reason(error):
    return _REASONS.get(error.errno, error.strerror)
