# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cleaning a host costs the builds that come next.

A trace of builds fills an engine. From that same state the host is cleaned in one way after the other, and the trace
goes on each time with the same builds. What those make and how long they take, beyond what they do on a host that was
not cleaned, is what the cleaning has cost.

Those that can are told how much to free: parts of what `docker system prune -af` frees, all that there is to free.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean

from .build_host import BuildHost
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
    """How many builds fill the host, how many come after, which parts of what can be freed are, the seconds that a
    layer of a base or of dependencies takes, and how often is measured what the builds cost a host not cleaned."""

    past: int = 50
    next: int = 10
    parts: tuple[float, ...] = (0.25, 0.5, 0.75)
    pause: float = 2.5
    controls: int = 2


@dataclass(frozen=True)
class Cost:
    """Bytes that cleaning has freed; bytes of the results of steps that the next builds made, and their seconds."""

    freed: int
    made: int
    seconds: float


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

        controls = [cost(NOT_CLEANED)]
        others = {way: cost(way) for way in ALL_AT_ONCE}
        at_sizes = {}
        for part in length.parts:
            wanted = int(others[SYSTEM_PRUNE].freed * part)
            at_sizes[part, wanted] = {way: cost(way, wanted) for way in TO_A_SIZE}
        controls += [cost(NOT_CLEANED) for _again in range(length.controls - 1)]
    name = f"next {length.next} builds"
    control = replace(controls[0], seconds=mean(one.seconds for one in controls))
    rows = _controls(name, controls) + _all_at_once(name, control, others)
    for (part, wanted), costs in at_sizes.items():
        rows += _to_a_size(f"{name}, {part:.0%} freed", wanted, control, others, costs)
    return rows


def _controls(name: str, controls: list[Cost]) -> list[Row]:
    """How much alike the times of the same builds are tells how much of a ratio of times is noise."""
    first, *again = (one.seconds for one in controls)
    rows = [Row(name, f"{NOT_CLEANED}: time", first, "s")]
    return rows + [Row(name, f"{NOT_CLEANED}, again: time", one, "s", NOT_CLEANED, one / first) for one in again]


def _all_at_once(name: str, control: Cost, costs: dict[str, Cost]) -> list[Row]:
    rows = []
    for way, cost in costs.items():
        rows.append(Row(name, f"{way}: freed", cost.freed / MIB, "MiB"))
        rows.append(Row(name, f"{way}: rebuilt", _rebuilt(cost, control), "MiB"))
        rows.append(Row(name, f"{way}: time beyond {NOT_CLEANED}", _beyond(cost, control), "s"))
    return rows


def _to_a_size(
    name: str, wanted: int, control: Cost, others: dict[str, Cost], costs: dict[str, Cost]
) -> list[Row]:
    rows = [
        Row(name, f"{way}: freed", cost.freed / MIB, "MiB", f"the {wanted / MIB:.0f} asked for", cost.freed / wanted)
        for way, cost in costs.items()
    ]
    ours, theirs = costs[OURS], costs[KEEP_STORAGE]
    # What has freed less than was asked for has spared the next builds by that: no aim is held against it.
    short = theirs.freed < wanted * ENOUGH
    peer, aim = (f"{KEEP_STORAGE}, which fell short", None) if short else (KEEP_STORAGE, AIM_AT_SIZE)
    rebuilt, beyond = _rebuilt(ours, control), _beyond(ours, control)
    rows.append(Row(name, f"{peer}: rebuilt", _rebuilt(theirs, control), "MiB"))
    rows.append(Row(name, f"{OURS}: rebuilt", rebuilt, "MiB", peer, _ratio(rebuilt, _rebuilt(theirs, control)), aim))
    for way, cost in others.items():
        ratio = _ratio(rebuilt, _rebuilt(cost, control))
        rows.append(Row(name, f"{OURS}: rebuilt", rebuilt, "MiB", way, ratio, AIM_OF_ALL))
    rows.append(Row(name, f"{peer}: time", theirs.seconds, "s"))
    # Here the whole time: of two short times beyond the control's a ratio would be one of noise.
    rows.append(Row(name, f"{OURS}: time", ours.seconds, "s", peer, ours.seconds / theirs.seconds, aim))
    for way, cost in others.items():
        ratio = _ratio(beyond, _beyond(cost, control))
        rows.append(Row(name, f"{OURS}: time beyond {NOT_CLEANED}", beyond, "s", way, ratio, AIM_OF_ALL))
    return rows


def _rebuilt(cost: Cost, control: Cost) -> float:
    """MiB that the next builds made and would have found on a host that was not cleaned."""
    return max(0, cost.made - control.made) / MIB


def _beyond(cost: Cost, control: Cost) -> float:
    return max(0.0, cost.seconds - control.seconds)


def _ratio(value: float, baseline: float) -> float:
    """The ratio; 1 where both are nothing, infinite where the baseline alone is."""
    if baseline:
        return value / baseline
    return math.inf if value else 1.0
