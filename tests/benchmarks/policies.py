# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What GC policies come to on simulated fleets (simulated.py): python -m tests.benchmarks.policies DAYS HOSTS.

Writes as JSON {fleet: {way: figures}}; advice.py says what they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from statistics import mean

from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.advice import gc_advice
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options

from .advice import DEFAULT, FIXED, LONGER, NO_AGE, ONCE, WEEKLY
from .simulated import DAY, GIB, START, Build, Fleet, Host, builds, default_rules, fleets

FORTNIGHT = 14
FIXED_RULES = [{"max_used_space": FIXED}, {"all": True, "max_used_space": FIXED}]


def main() -> None:
    """Simulate each fleet with each policy."""
    days, hosts = int(sys.argv[1]), int(sys.argv[2])
    print(json.dumps({fleet.name: _simulated(fleet, days) for fleet in fleets(hosts)}))


def _simulated(fleet: Fleet, days: int) -> dict[str, dict[str, float]]:
    traces = [builds(projects, days, f"{fleet.name} {number}") for number, projects in enumerate(fleet.projects)]
    grown = [Host(fleet.disk, fleet.other, default_rules(fleet.disk)) for _trace in traces]
    for day in range(min(FORTNIGHT, days)):
        _build(grown, traces, day)
    found = {}
    for way, wanted in _WAYS.items():
        hosts, size = [host.twin() for host in grown], None
        for day in range(FORTNIGHT, days):
            size = wanted(hosts, day) or size
            _build(hosts, traces, day)
        found[way] = {
            "rebuilt": sum(host.rebuilt for host in hosts) / GIB,
            "held": mean(size for host in hosts for size in host.held) / GIB,
            "disk": 100 * max(host.other + host.highest for host in hosts) / fleet.disk,
            "full": sum(host.full for host in hosts),
            "size": (size or 0) / GIB,
        }
    return found


def _build(hosts: list[Host], traces: list[list[Build]], day: int) -> None:
    for host, trace in zip(hosts, traces, strict=True):
        for build in trace:
            if day <= (build.at - START) // DAY < day + 1:
                host.build(build)


def _keep_the_default(hosts: list[Host], day: int) -> None:
    del hosts, day


def _fixed(hosts: list[Host], day: int) -> None:
    if day == FORTNIGHT:
        _obey(hosts, FIXED_RULES, day)


def _advised(again: int = 0, keep: str = "7d", first: int = 0) -> Callable[[list[Host], int], int | None]:
    """Return what has hosts, which are all alike, obey what is advised, its rules from the ``first`` on, and that anew
    every so many days; that returns its size."""

    def obey_advice(hosts: list[Host], day: int) -> int | None:
        since = day - FORTNIGHT
        if since and (not again or since % again):
            return None
        now = START + day * DAY
        (group,) = gc_advice({str(number): host.facts(now) for number, host in enumerate(hosts)}, keep)["groups"]
        _obey(hosts, group["gc_policy_rules"][first:], day)
        return group["size_bytes"]

    return obey_advice


def _obey(hosts: list[Host], rules: list[dict], day: int) -> None:
    for host in hosts:
        host.obey(rules_from_options(rules, host.disk), START + day * DAY)


_WAYS: dict[str, Callable[[list[Host], int], int | None]] = {
    DEFAULT: _keep_the_default,
    FIXED: _fixed,
    ONCE: _advised(),
    WEEKLY: _advised(again=7),
    LONGER: _advised(again=7, keep="30d"),
    NO_AGE: _advised(again=7, first=1),
}

if __name__ == "__main__":
    main()
