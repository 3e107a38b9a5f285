# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cleaning a host costs the builds that come next.

A trace of builds fills an engine. From that same state the host is cleaned in one way after the other, and the trace
goes on each time with the same builds. What those make and how long they take, beyond what they do on a host that was
not cleaned, is what the cleaning has cost.

Those that can are told how much to free: parts of what `docker system prune -af` frees, all that there is to free. One
that frees less "fell short": it has spared the builds by that, and its ratios have no aim.

"rebuilt" are the bytes of build-cache records of steps that the next builds made, less those that they make on a host
that was not cleaned; sent sources are none. "time of rebuilding" is that of the steps of bases and dependencies which
they ran, and "time" all that they took, with whatever else the machine did meanwhile.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .build_host import BuildHost, Seconds
from .cleaners import BUILDER_PRUNE, KEEP_STORAGE, OURS, SYSTEM_PRUNE, clean
from .figures import BenchmarkError, Row
from .trace import builds

MIB = 1 << 20
NOT_CLEANED = "not cleaned"
ALL_AT_ONCE = (BUILDER_PRUNE, SYSTEM_PRUNE)
TO_A_SIZE = (OURS, KEEP_STORAGE)
AIM_OF_ALL, AIM_AT_SIZE = 0.3, 1.0
ENOUGH = 0.99
"""Which part of the bytes that were asked for counts as all of them: the disk has blocks and directories of its own."""


@dataclass(frozen=True)
class Length:
    """How many builds fill the host, how many come after, which parts of what can be freed are, and the seconds that a
    layer of a base or of dependencies takes."""

    past: int = 50
    next: int = 10
    parts: tuple[float, ...] = (0.25, 0.5, 0.75)
    pause: float = 1.5


@dataclass(frozen=True)
class Cost:
    """Bytes that cleaning has freed; bytes of the results of steps that the next builds made, and what those took."""

    freed: int
    made: int
    seconds: Seconds


def next_builds(host: BuildHost, length: Length) -> list[Row]:
    """Return the Rows; each is of one run."""
    trace = list(islice(builds(), length.past + length.next))
    past, coming = trace[: length.past], trace[length.past :]
    host.prepare()
    with host.emptied(), tempfile.TemporaryDirectory(prefix="kept-", dir=host.lab.directory) as kept:
        host.build(past, length.pause)
        host.keep(Path(kept))
        filled = host.look()

        def cost(way: str, wanted: int = 0) -> Cost:
            host.put_back(Path(kept))
            before = host.look()
            if before.records != filled.records:
                raise BenchmarkError(f"{host.host.name} does not hold what it held before it was cleaned.")
            after = before if way == NOT_CLEANED else clean(way, host, before, wanted)
            seconds = host.build(coming, length.pause)
            end = host.look()
            if after.records.keys() - end.records.keys():
                raise BenchmarkError(f"The engine of {host.host.name} has removed records by itself: its disk is full.")
            return Cost(after.free - before.free, end.made_since(after), seconds)

        control = cost(NOT_CLEANED)
        others = {way: cost(way) for way in ALL_AT_ONCE}
        at_sizes = {}
        for part in length.parts:
            wanted = int(others[SYSTEM_PRUNE].freed * part)
            at_sizes[part, wanted] = {way: cost(way, wanted) for way in TO_A_SIZE}
    name = f"next {length.next} builds"
    rows = _all_at_once(name, control, others)
    for (part, wanted), costs in at_sizes.items():
        rows += _to_a_size(f"{name}, {part:.0%} freed", wanted, control, others, costs)
    return rows


def _all_at_once(name: str, control: Cost, costs: dict[str, Cost]) -> list[Row]:
    rows = [Row(name, f"{NOT_CLEANED}: time", control.seconds.clock, "s")]
    for way, cost in costs.items():
        rows.append(Row(name, f"{way}: freed", cost.freed / MIB, "MiB"))
        rows += [Row(name, f"{way}: {what}", *beyond(cost, control)) for what, beyond in BEYOND.items()]
        rows.append(_time(name, way, cost, control))
    return rows


def _to_a_size(name: str, wanted: int, control: Cost, others: dict[str, Cost], costs: dict[str, Cost]) -> list[Row]:
    short = {way: cost.freed < wanted * ENOUGH for way, cost in costs.items()}
    us, peer = (f"{way}, fell short" if short[way] else way for way in TO_A_SIZE)
    ours, theirs = (costs[way] for way in TO_A_SIZE)
    asked = f"the {wanted / MIB:.0f} asked for"
    rows = [
        Row(name, f"{way}: freed", cost.freed / MIB, "MiB", asked, cost.freed / wanted)
        for way, cost in ((us, ours), (peer, theirs))
    ]
    compared = [(peer, theirs, None if any(short.values()) else AIM_AT_SIZE)]
    compared += [(way, cost, None if short[OURS] else AIM_OF_ALL) for way, cost in others.items()]
    for what, beyond in BEYOND.items():
        rows.append(Row(name, f"{peer}: {what}", *beyond(theirs, control)))
        value, unit = beyond(ours, control)
        for way, cost, aim in compared:
            rows.append(Row(name, f"{us}: {what}", value, unit, way, _ratio(value, beyond(cost, control)[0]), aim))
    return [*rows, _time(name, peer, theirs, control), _time(name, us, ours, control)]


def _time(name: str, way: str, cost: Cost, control: Cost) -> Row:
    value, baseline = cost.seconds.clock, control.seconds.clock
    return Row(name, f"{way}: time", value, "s", NOT_CLEANED, value / baseline)


def _rebuilt(cost: Cost, control: Cost) -> tuple[float, str]:
    # Rounded, as records of the same step differ by some bytes, to which there is no ratio.
    return round(max(0, cost.made - control.made) / MIB, 1), "MiB"


def _rebuilding(cost: Cost, control: Cost) -> tuple[float, str]:
    return max(0.0, cost.seconds.layers - control.seconds.layers), "s"


BEYOND = {"rebuilt": _rebuilt, "time of rebuilding": _rebuilding}
"""What the next builds had to do that a host that was not cleaned spares them, and its unit."""


def _ratio(value: float, baseline: float) -> float:
    """The ratio; 1 where both are nothing, infinite where the baseline alone is."""
    if baseline:
        return value / baseline
    return math.inf if value else 1.0
