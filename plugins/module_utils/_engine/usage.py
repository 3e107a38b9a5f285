# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine's account of what it holds: waited for where that helps, and had in parts where it fails as a whole.

``ask(method, path, params=None, patience=None)`` makes a request: EngineClient's.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress

from .._base.errors import DeadlineReached, EngineError
from .._base.records import BUILD_CACHE, IMAGE_SIZES, IMAGES

_LOST, _TURNED_AWAY = 30.0, None
_PASSING = (
    # Looking at an object that is removed meanwhile, as builds and garbage collections do. A broken store says the same
    # for ever, so that this is not waited for longer than half a minute.
    # containerd, core/snapshots/storage/bolt.go ("snapshot NAME does not exist", also without a name; 28.5, 404).
    (re.compile(r"snapshot\b.* does not exist"), _LOST),
    # containerd, core/metadata/content.go ("content digest sha256:…: not found").
    (re.compile(r"content digest \S+: not found"), _LOST),
    # moby 20.10, daemon/disk_usage.go: it measures for one client at a time, and turns the others away.
    (re.compile(r"disk usage operation is already running"), _TURNED_AWAY),
)
"""Troubles of /system/df that pass: their wordings, and how long (seconds) each is waited for at most; None for as long
as the deadline allows."""

TYPES_SINCE = (1, 42)
"""The first API that can be asked for the usage of one type (moby, docs/api/version-history.md)."""

_PAUSE, _LONGEST_PAUSE = 0.25, 8.0


def disk_usage(ask, api, deadline):
    """Return the account of build cache and images, the same on every ``api`` (major, minor): a dict with the lists
    BuildCache and Images, the integer LayersSize (bytes), and Unread.

    Unread is a dict from what could not be had (BUILD_CACHE, IMAGES, IMAGE_SIZES) to the reason, as in an Observation.
    Troubles that pass are waited for, and so is a slow answer, until the Deadline. Raises EngineError where it is not
    the engine's answer that fails.

    Below API 1.42 the types cannot be chosen, and the engine walks containers and volumes as well.
    """
    try:
        usage = _usage(ask, ["build-cache", "image"], deadline)
        return {"BuildCache": _records(usage), "Images": _images(usage), **_layers_size(usage), "Unread": {}}
    except (DeadlineReached, EngineError) as problem:
        if not _engines_own(problem):
            raise
        return _in_parts(ask, api, deadline, problem)


def build_cache(ask, deadline):
    """Return the account of the build cache alone, as a list. Raises EngineError and DeadlineReached where there is
    none to be had. Below API 1.42 the engine makes its whole account for it."""
    return _records(_usage(ask, ["build-cache"], deadline))


def volumes(ask, deadline):
    """Return the account of volumes, as a list."""
    usage = _usage(ask, ["volume"], deadline, verbose="1")
    return usage.get("Volumes") or (usage.get("VolumeUsage") or {}).get("Items") or []


def _in_parts(ask, api, deadline, problem):
    """Return what disk_usage() does, by questions that leave out what cannot be answered; ``problem`` is how it ended
    when all was asked for."""
    seen = {"BuildCache": [], "Images": [], "LayersSize": 0, "Unread": {}}
    by_type = api >= TYPES_SINCE
    try:
        if not by_type:
            raise problem
        seen["BuildCache"] = build_cache(ask, deadline)
    except (DeadlineReached, EngineError) as trouble:
        seen["Unread"][BUILD_CACHE] = str(trouble)
    try:
        if not by_type:
            raise problem
        usage = _usage(ask, ["image"], deadline)
        seen.update(Images=_images(usage), **_layers_size(usage))
    except (DeadlineReached, EngineError) as trouble:
        seen["Unread"][IMAGE_SIZES] = str(trouble)
        try:
            seen["Images"] = _image_list(ask, by_type)
        except EngineError as worse:
            del seen["Unread"][IMAGE_SIZES]
            seen["Unread"][IMAGES] = str(worse)
    return seen


def _image_list(ask, with_shared_sizes):
    """Return the engine's list of images, with what they share where it can measure that."""
    if with_shared_sizes:
        with suppress(EngineError):
            return ask("GET", "/images/json", params={"shared-size": "1"})
    return ask("GET", "/images/json")


def _usage(ask, types, deadline, **more):
    """Ask for the usage of these types, again while that meets a trouble that passes.

    Raises EngineError, also for such a trouble that has not passed when the Deadline is there or when it usually has,
    and DeadlineReached where the answer itself was too slow.
    """
    began, pause = time.monotonic(), _PAUSE
    while True:
        try:
            return ask("GET", "/system/df", params={"type": types, **more}, patience=deadline.remaining())
        except DeadlineReached as problem:
            raise DeadlineReached(
                "The engine did not answer GET /system/df in time: it is slow, or measures for others. Look at its "
                "log, or raise the option deadline."
            ) from problem
        except EngineError as error:
            longest = next((longest for words, longest in _PASSING if words.search(str(error))), 0)
            waited = time.monotonic() - began
            if (longest is not None and waited + pause > longest) or not deadline.allows(pause):
                if longest == 0:
                    raise
                raise EngineError(f"{error} It was asked again for {waited:.0f} s.", status=error.status) from error
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _records(usage):
    records = usage.get("BuildCache")
    return (records if records is not None else (usage.get("BuildCacheUsage") or {}).get("Items")) or []


def _images(usage):
    images = usage.get("Images")
    return (images if images is not None else (usage.get("ImageUsage") or {}).get("Items")) or []


def _layers_size(usage):
    return {"LayersSize": usage.get("LayersSize") or 0}


def _engines_own(problem):
    """Whether an engine that failed to account for its disk may answer less: it had something to say, or was slow."""
    return isinstance(problem, DeadlineReached) or problem.status is not None
