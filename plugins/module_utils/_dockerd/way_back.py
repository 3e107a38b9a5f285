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
from .._engine.config_file import put_back, read_config
from .._policy.history import ways_back
from .restart import note_success, restart
from .state import history, keep_history, keep_last_look


def go_back(host, restarted):
    """Put back the file that stood there before we wrote; where dockerd was ``restarted``, have it start with that, or
    with the last file that it is known to have started with.

    Returns whether there was such a file. Raises BuildcacheError where none can be put back, or none starts.
    """
    path = os.path.realpath(host.config_file)
    known = history(path)
    if restarted:
        # Started since by somebody else, dockerd does not have this one.
        known = replace(known, written=None)
        with suppress(BuildcacheError):
            keep_history(path, known)
    # What we have not written is no business of ours before it has come to a restart.
    elif not known.before:
        return False
    problem = None
    for version in ways_back(known, _text(path)):
        try:
            _write_back(path, version.text, host.replace)
            keep_last_look(path, version.look)
            if restarted:
                host.service.end()
                after = restart(host, read_config(path))
        except BuildcacheError as error:
            problem = error
        else:
            # What cannot be kept now is no reason to say that it is not put back.
            with suppress(BuildcacheError):
                if restarted:
                    note_success(after)
                else:
                    keep_history(path, replace(known, before=None, written=None))
            return True
        if not restarted:
            break
    if problem:
        raise problem
    return False


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
