# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Going back to a configuration file with which dockerd starts."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import replace

from .._base.errors import BuildcacheError
from .._base.json_text import BadConfig
from .._engine.config_file import keep_copy, put_back, read_config
from .._policy.history import ways_back
from .restart import note_success, restart
from .state import history, keep_history, keep_last_look, restart_left

FORMER = "the file of before"
"""What go_back() returns where it was put back."""


def unproven(path):
    """Whether the file at ``path`` is as we have written it, and dockerd was never seen to have started with it."""
    written = history(path).written
    return bool(written) and written.text == _text(path)


def go_back(host, restarted):
    """Put back the file that stood there before we wrote; where dockerd was ``restarted``, have it start with that, or
    with the last file that it is known to have started with, or in the end with what the dockerd before told of itself.

    Returns FORMER where a file of before was put back, the path of a copy of the present one where dockerd has what was
    told, "" where there is nothing. Raises BuildcacheError where nothing can be put back, or dockerd starts with none.
    """
    path = os.path.realpath(host.config_file)
    known, present = history(path), _text(path)
    if restarted:
        # Started since by somebody else, dockerd does not have this one.
        known = replace(known, written=None)
        with suppress(BuildcacheError):
            keep_history(path, known)
    # What we have not written is no business of ours before it has come to a restart.
    elif not known.before:
        return False
    problem = None
    for version in ways_back(known, present):
        try:
            _write_back(path, version.text, host.replace)
            keep_last_look(path, version.look)
            after = _started(host, path) if restarted else None
        except BuildcacheError as error:
            problem = error
        else:
            # What cannot be kept now is no reason to say that it is not put back.
            with suppress(BuildcacheError):
                if restarted:
                    note_success(after)
                else:
                    keep_history(path, replace(known, before=None, written=None))
            return FORMER
        if not restarted:
            break
    left = restart_left(path) if restarted else None
    if left:
        return _as_told(host, path, present, left.as_told)
    if problem:
        raise problem
    return ""


def _as_told(host, path, present, told):
    """Have dockerd start with what was told of the one before; return the path of a copy of the file of now."""
    copy = keep_copy(path, present, host.replace) if present else path
    _write_back(path, told, host.replace)
    after = _started(host, path)
    with suppress(BuildcacheError):
        note_success(after)
    return copy


def _started(host, path):
    host.service.end()
    return restart(host, read_config(path))


def _write_back(path, text, change):
    try:
        # It may never have been good.
        with suppress(BadConfig):
            put_back(path, text, change)
    except BuildcacheError as problem:
        full = problem.__cause__
        while full is not None and getattr(full, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            full = full.__cause__
        if full is None or text is None:
            raise
        # Where there is no room for a second file, there may be within the first; nobody reads it now.
        _overwrite(path, text, problem)


def _overwrite(path, text, problem):
    try:
        with open(path, "r+", encoding="utf-8", newline="") as file:
            file.write(text)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        raise problem from None


def _text(path):
    """Return the text of a file, None where there is none; whatever else is in its place is no text of ours."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError:
        return None
