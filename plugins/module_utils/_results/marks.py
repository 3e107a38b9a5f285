# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a result says of marks. Pure."""

from __future__ import annotations

from .._base.units import human_size

NOTABLE_SHARE, NOTABLE_BYTES = 0.05, 2**20
"""The share of bytes, and the bytes, from which on a shortfall is explained: below, it may be noise."""

_WAYS = 3
"""How many reasons for what stays a failure names."""


def mark_result(wanted, before, here, after, check_mode):
    """Return what a result says of marks: what was to come back, and what is missing to the low marks in the end, by
    the plan in check mode. ``here`` has all that went, or would, from the engine's own file systems."""
    earlier = before.filesystems[0]
    asked = wanted.goal.need(earlier)
    later = next((one for one in after.filesystems if one.device == earlier.device), earlier)
    missing = wanted.goal.need(later)
    if check_mode:
        missing = asked.less(sum(one.planned.bytes for one in here), sum(one.planned.inodes for one in here))
    told = {"wanted_bytes": max(asked.bytes, 0), "shortfall_bytes": max(missing.bytes, 0)}
    if wanted.marks.high_inodes:
        told["wanted_inodes"], told["shortfall_inodes"] = max(asked.inodes, 0), max(missing.inodes, 0)
        told["freed_inodes"] = later.inodes_available - earlier.inodes_available
    return told


def is_short(marks):
    """Return whether what is missing to a low mark is more than what a file system's own blocks, or its other users,
    make out."""
    return marks["shortfall_bytes"] > max(NOTABLE_SHARE * marks["wanted_bytes"], NOTABLE_BYTES) or marks.get(
        "shortfall_inodes", 0
    ) > NOTABLE_SHARE * marks.get("wanted_inodes", 0)


def missing(result):
    """Return what is missing to the low marks, for people."""
    words = [human_size(result["shortfall_bytes"])] if result["shortfall_bytes"] else []
    words += [f"{result['shortfall_inodes']} inodes"] if result.get("shortfall_inodes") else []
    return " and ".join(words)


def shortfall(result):
    """Return the message for a run that did not reach its low marks, "" for one that did."""
    if "wanted_bytes" not in result or not is_short(result):
        return ""
    ways = [f"{one['reason']} ({one['count']}, {human_size(one['bytes'])}): {one['remedy']}" for one in result["kept"]]
    in_the_way = " ".join(ways[:_WAYS]) or "nothing of the engine."
    return f"{missing(result)} are missing to the low mark. In the way: {in_the_way}"
