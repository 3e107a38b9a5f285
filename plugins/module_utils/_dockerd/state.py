# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what this collection keeps on a host between two runs: last looks, and the configuration files to go back
to."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import NamedTuple

from .._base.errors import BuildcacheError
from .._engine.state import directory, keep, kept
from .._policy.history import History, Version
from .._policy.in_effect import LastLook

_HISTORIES = "in_force.json"
"""What to put back when dockerd does not start with a new file. It may hold credentials: only its owner may read it."""

_RESTARTS = "restarts.json"
"""The restarts that go on, by configuration file: what is Left of each where it is cut off."""

_LAST_LOOKS = "last_looks.json"
"""What buildcache_gc_policy saw when it last ran, by configuration file (see in_effect.look)."""


class Left(NamedTuple):
    """What a restart leaves word of: the units that ran and stop with dockerd, and the text of a configuration file
    with what the dockerd before told of itself (see as_told)."""

    dependents: tuple
    as_told: str


def last_look(path):
    """Return the LastLook at the configuration file at ``path``, None where there is none."""
    return _look(_kept(_LAST_LOOKS).get(path))


def keep_last_look(path, look):
    """Keep a LastLook. Only a worse answer hangs on it, so that it is no error where it cannot be kept: without the
    file's history, any write to it counts as a change of policy."""
    with suppress(OSError):
        _keep(_LAST_LOOKS, path, asdict(look))


def history(path):
    """Return the History of the configuration file at ``path``; an empty one where nothing is known."""
    found = _kept(_HISTORIES).get(path)
    if not isinstance(found, dict):
        return History()
    return History(**{name: _version(found.get(name)) for name in ("started", "before", "written")})


def keep_history(path, known):
    """Keep the History of the configuration file at ``path``. Raises BuildcacheError."""
    try:
        _keep(_HISTORIES, path, asdict(known))
    except OSError as problem:
        file = os.path.join(directory(), _HISTORIES)
        raise BuildcacheError(
            f"{file} cannot be written: {problem.strerror}. It is needed to put {path} back."
        ) from problem


@contextmanager
def restart_noted(path, left):
    """While this is entered, a run that is ended by force leaves word that it was restarting the dockerd with the
    configuration file at ``path``, and what is Left of that. Raises BuildcacheError."""
    try:
        _keep(_RESTARTS, path, left._asdict())
    except OSError as problem:
        raise BuildcacheError(f"{directory()} cannot be written to: {problem.strerror}. Nothing was done.") from problem
    try:
        yield
    finally:
        forget_restart(path)


def restart_left(path):
    """Return what is Left of a restart that goes on or was cut off, None where there is none."""
    found = _kept(_RESTARTS).get(path)
    with suppress(KeyError, TypeError):
        return Left(tuple(map(str, found["dependents"])), str(found["as_told"]))
    return None


def forget_restart(path):
    """Forget such a restart: it has ended, or was brought to its end."""
    with suppress(OSError):
        keep(_RESTARTS, {name: left for name, left in _kept(_RESTARTS).items() if name != path})


def _version(found):
    text = found.get("text") if isinstance(found, dict) else 0
    look = _look(found.get("look")) if text is None or isinstance(text, str) else None
    return Version(text, look) if look else None


def _look(found):
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return LastLook(str(found["digest"]), float(found["since"]), float(found["seen"]))
    return None


def _keep(name, key, value):
    keep(name, {**_kept(name), key: value})


def _kept(name):
    found = kept(name)
    return found if isinstance(found, dict) else {}
