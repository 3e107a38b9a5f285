# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what earlier looks at a host saw of its disk."""

from __future__ import annotations

from contextlib import suppress

from .._base.records import BUILD_CACHE
from .._base.units import SECOND
from .._cache.growth import Look, growth, looks_to_keep
from .state import keep, kept, name_of


def disk_growth(docker_host, observation, remember=True):
    """Return what growth() says of the disk that holds the engine's layers, by earlier looks and an Observation.

    ``remember`` is whether this look is kept for later ones. To remember is no condition for looking: what cannot be
    read or written is not known. None where nothing can be said, as of an engine elsewhere. A file system of another
    size or at another path is another disk, of which nothing is known yet.
    """
    if not observation.filesystems:
        return None
    disk, file = observation.filesystems[0], name_of("looks", docker_host)
    unread = dict(observation.unread)
    cache = None if BUILD_CACHE in unread else sum(record.size for record in observation.records)
    now = Look(observation.engine.now // SECOND, disk.total - disk.free, cache)
    about = {"path": disk.path, "total_bytes": disk.total}
    earlier = _looks(kept(file), about)
    looks = looks_to_keep(earlier, now)
    if remember and looks != earlier:
        with suppress(OSError):
            keep(file, {**about, "looks": looks})
    return growth(looks if looks[-1] == now else [*looks, now])


def _looks(found, about):
    """Return the Looks in a file's value that are of this disk; none where it is no such value."""
    if not isinstance(found, dict) or {name: found.get(name) for name in about} != about:
        return []
    looks = found.get("looks")
    return [Look(*one) for one in looks if _is_look(one)] if isinstance(looks, list) else []


def _is_look(one):
    return isinstance(one, list) and len(one) == 3 and all(isinstance(each, int) for each in (*one[:2], one[2] or 0))
