# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the daemon's configuration file: reading it, and replacing it in one step."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig, parse

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


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file as it was read.

    ``path`` is where symbolic links lead, ``changed_at`` the modification time in seconds since the epoch. Where
    there is no file, ``text`` and ``changed_at`` are None and ``data`` is {}.
    """

    path: str
    text: str | None
    data: dict
    changed_at: float | None


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
        return ConfigFile(path, None, {}, None)
    except OSError as error:
        raise BuildcacheError(f"{path} cannot be read: {_reason(error)}.") from error
    try:
        text = content.decode("utf-8")
        return ConfigFile(path, text, parse(text), status.st_mtime)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}: line {line}: no UTF-8. Save the file as UTF-8, then run again.") from None
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None


def write_config(config, text, replace):
    """Put ``text`` in the place of what a ConfigFile was read from, in one step, and return the new ConfigFile.

    ``replace(temporary, path)`` renames, as AnsibleModule.atomic_move, and carries over owner, mode and label; until
    then only the owner can read the temporary file beside the old one. Creates the directory of the file, with mode
    0755. Raises BuildcacheError where the file could not be written or was changed since it was read; it is then as
    it was.
    """
    directory = os.path.dirname(config.path)
    try:
        if not os.path.lexists(directory):
            os.mkdir(directory)
            # The mode that mkdir takes is narrowed by the umask, and clients of the engine read in /etc/docker too.
            os.chmod(directory, 0o755)
        _replace(config, text, replace, directory)
    except BuildcacheError:
        raise
    except Exception as error:
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
    return read_config(config.path)


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


def _replace(config, text, replace, directory):
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(config.path)}.", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        before = None if config.text is None else config.text.encode("utf-8", "surrogateescape")
        if _content_or_none(config.path) != before:
            raise BuildcacheError(
                f"{config.path} was changed by somebody else while this task ran, and was left so. Run it again."
            )
        replace(temporary, config.path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


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
