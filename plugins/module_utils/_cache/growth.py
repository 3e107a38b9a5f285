# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a disk grows, by what earlier looks saw of it. Pure."""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import NamedTuple

HOUR, DAY = 3600, 86400
MOST_LOOKS = 400
"""How many looks are remembered, the latest: a day's for more than a year, or an hour's for a fortnight."""

FORGOTTEN_AFTER = 60 * DAY
_FEWEST, _SHORTEST = 3, 6 * HOUR
"""How many looks, over how long, tell anything: less is the builds of the moment."""


class Look(NamedTuple):
    """What one look saw: ``at`` in seconds since the epoch, the bytes ``used`` on the file system, and those of the
    ``build_cache``, None where the engine could not list it."""

    at: int
    used: int
    build_cache: int | None


def looks_to_keep(looks, look):
    """Return the Looks that are worth keeping, in order of time, after one more: at most one an hour.

    What is older than FORGOTTEN_AFTER is left out, and so is what claims to come later: the clock went backwards.
    """
    kept = sorted(one for one in looks if look.at - FORGOTTEN_AFTER <= one.at <= look.at)
    if not kept or look.at - kept[-1].at >= HOUR:
        kept.append(look)
    return kept[-MOST_LOOKS:]


def growth(looks):
    """Return the trend of the disk's used bytes over Looks: ``bytes_per_day``, ``build_cache_bytes_per_day``, ``since``
    (seconds since the epoch) and ``looks``, their number; None where they tell too little.

    It is the median of the slopes between any two looks, which single cleanups and large builds do not bend (the
    estimator of Theil, 1950, and Sen, 1968).
    """
    if len(looks) < _FEWEST or looks[-1].at - looks[0].at < _SHORTEST:
        return None
    return {
        "bytes_per_day": _per_day([(one.at, one.used) for one in looks]),
        "build_cache_bytes_per_day": _per_day([(one.at, one.build_cache) for one in looks]),
        "since": float(looks[0].at),
        "looks": len(looks),
    }


def _per_day(points):
    known = [(at, size) for at, size in points if size is not None]
    slopes = [(size - before) / (at - then) for (then, before), (at, size) in combinations(known, 2) if at > then]
    return round(median(slopes) * DAY) if slopes else None
