# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies that gc_advice makes, beside the engine's default and 20 GB for all, on simulated fleets.

They build for a fortnight under the default; from that same state each policy goes on with the same builds. "rebuilt"
are the bytes of layers that a build had to make though they had been made before; "held" is the mean size of the build
cache after a build, and "disk at its fullest" that of the fullest disk, with what else it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .figures import Row

DEFAULT, FIXED, ONCE, WEEKLY = "engine's default", "20GB", "advised once", "advised weekly"
LONGER, NO_AGE = "advised weekly for 30d", "advised weekly, without its first rule"
COMPARED = ((FIXED, DEFAULT), *((way, other) for way in (ONCE, WEEKLY, LONGER, NO_AGE) for other in (DEFAULT, FIXED)))


@dataclass(frozen=True)
class Length:
    """Days that are simulated, a fortnight of which all hosts obey the default, and hosts of each fleet."""

    days: int = 60
    hosts: int = 3


def advice_rows(found: dict[str, dict[str, dict[str, float]]]) -> list[Row]:
    """Return the Rows of what policies.main() has written."""
    rows = []
    for fleet, ways in found.items():
        name = f"advice, {fleet}"
        for figure, unit in (("rebuilt", "GiB"), ("held", "GiB")):
            rows.append(Row(name, f"{DEFAULT}: {figure}", ways[DEFAULT][figure], unit))
            for way, baseline in COMPARED:
                value, other = ways[way][figure], ways[baseline][figure]
                ratio = value / other if other else 1.0 if not value else math.inf
                rows.append(Row(name, f"{way}: {figure}", value, unit, baseline, ratio))
        rows += [Row(name, f"{way}: disk at its fullest", figures["disk"], "%") for way, figures in ways.items()]
        rows += [Row(name, f"{way}: builds with a full disk", figures["full"], "") for way, figures in ways.items()]
        rows += [Row(name, f"{way}: size", ways[way]["size"], "GiB") for way in (ONCE, WEEKLY, LONGER, NO_AGE)]
    return rows
