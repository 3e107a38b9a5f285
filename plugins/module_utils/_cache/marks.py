# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marks: how full a file system may get before a run acts, and how far it goes then. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from .._base.errors import BadOption
from .._base.units import Size, parse_size

MARKS = ("high_watermark", "low_watermark", "high_inodes", "low_inodes")
"""The options, each high one before its low one."""

_COUNT = re.compile(r"[0-9]{1,18}")


class Need(NamedTuple):
    """What is to come back: bytes and inodes, 0 or less where that is enough."""

    bytes: int = 0
    inodes: int = 0

    @property
    def met(self):
        """Whether nothing more has to."""
        return self.bytes <= 0 and self.inodes <= 0

    def less(self, size, inodes=0):
        """Return what is still to come back once so much has."""
        return Need(self.bytes - size, self.inodes - inodes)


class Goal(NamedTuple):
    """How much is to be available when a run ends, in bytes and in inodes, 0 where that does not matter."""

    bytes: int = 0
    inodes: int = 0

    def need(self, filesystem):
        """Return the Need of a file system."""
        missing = self.bytes - filesystem.available if self.bytes else 0
        return Need(missing, self.inodes - filesystem.inodes_available if self.inodes else 0)


class Marks(NamedTuple):
    """The marks as they were given, None for those that were not: each a share that is used, or what is available."""

    high: Size | None = None
    low: Size | None = None
    high_inodes: Size | None = None
    low_inodes: Size | None = None

    def goal(self, filesystem):
        """Return the Goal of a run on this file system, None where it is below its high marks.

        Where one high mark is passed, the low marks of both hold.
        """
        # As df has it: without the blocks that are root's.
        room = filesystem.total - filesystem.free + filesystem.available
        inodes = filesystem.inodes_total
        if not (
            _passed(self.high, room, filesystem.available)
            or (inodes and _passed(self.high_inodes, inodes, filesystem.inodes_available))
        ):
            return None
        return Goal(_available_at(self.low, room), _available_at(self.low_inodes, inodes) if inodes else 0)


def _available_at(mark, total):
    """Return what is available where a mark is just met, 0 without one."""
    if mark is None:
        return 0
    return max(1, int(total * (100 - mark.value) / 100)) if mark.percent else int(mark.value)


def _passed(mark, total, available):
    if mark is None:
        return False
    return available < (total * (100 - mark.value) / 100 if mark.percent else mark.value)


def marks_from_options(options):
    """Return the Marks that the options ask for, None where they ask for none.

    Raises BadOption for half a pair, and where the low mark is not below the high one (kubelet refuses the same:
    pkg/kubelet/images/image_gc_manager.go, NewImageGCManager).
    """
    given = {name: _mark(options, name) for name in MARKS}
    for high, low in (MARKS[:2], MARKS[2:]):
        one, other = given[high], given[low]
        if (one is None) != (other is None):
            missing, there = (low, high) if other is None else (high, low)
            raise BadOption(
                f"{there}: it needs {missing} beside it. Above the high mark a run acts, below the low one it stops."
            )
        if one is None:
            continue
        if one.percent != other.percent:
            raise BadOption(
                f"{low}: give both marks as a percentage that is used, or both as what is to be available, not one of "
                f"each ({high} is {options[high]!r})."
            )
        if (one.value <= other.value) if one.percent else (one.value >= other.value):
            wrong = "below" if one.percent else "more than"
            raise BadOption(
                f"{low}: {options[low]!r} is not {wrong} {options[high]!r}, which is {high}: a run would have nowhere "
                "to stop."
            )
    marks = Marks(*given.values())
    return marks if any(marks) else None


def _mark(options, name):
    text = options[name]
    if text is None:
        return None
    if not text.strip():
        raise BadOption(f"{name}: it is empty. Leave the option out where no mark is meant.")
    if name.endswith("inodes"):
        if _COUNT.fullmatch(text.strip()) and int(text) > 0:
            return Size(int(text))
        if not text.strip().endswith("%"):
            raise BadOption(
                f"{name}: {text!r} is no number of inodes. Write the percentage that is used, such as 90%, or how many "
                "are to be available, such as 100000."
            )
    return parse_size(text, name)
