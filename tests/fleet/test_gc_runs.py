# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engines' own garbage collection leaves under policies that the module wrote: what gc_plan said it would.

dockerd collects garbage a second after its start, so each trial builds while that is off, writes the policy, restarts,
and looks at what is left. That a build sets it off too takes a minute, so it is tried with another policy on each host
at the same time.
"""

from __future__ import annotations

import time

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB
from variants import variants

RUN = 4  # seconds after a start in which the engine has collected garbage

EVERYWHERE = {
    "where many start": [{"reserved_space": "1GB", "unused_for": "1m"}],
    "the same, met": [{"reserved_space": "10MB", "unused_for": "1s"}],
    "a cap": [{"max_used_space": "12MB"}],
    "a cap by types, one after the other": [
        {"types": ["source.local", "regular"], "max_used_space": "12MB"},
        {"max_used_space": "1GB"},
    ],
    "a share of the disk": [{"max_used_space": "0.25%"}],
    "one type by age": [{"types": ["regular"], "unused_for": "1s"}, {"max_used_space": "1GB"}],
    "types that are made again easily": [
        {"types": ["source.local", "exec.cachemount"], "unused_for": "1s", "max_used_space": "1MB"},
        {"max_used_space": "30MB"},
    ],
    "shared records last": [{"unused_for": "1h"}, {"max_used_space": "18MB"}, {"all": True, "max_used_space": "9MB"}],
    "all that is not in use": [{"all": True, "unused_for": "1s"}, {"max_used_space": "1GB"}],
    "private ones": [{"filters": {"private": True}, "max_used_space": "12MB"}, {"max_used_space": "1GB"}],
    "shared ones": [{"all": True, "filters": {"shared": True}, "unused_for": "1s"}, {"max_used_space": "1GB"}],
    "by a part of the id": [{"filters": {"id": "{{ leaf }}"}, "unused_for": "1s"}, {"max_used_space": "1GB"}],
    "nothing so old": [{"unused_for": "30d"}, {"max_used_space": "1PB"}],
}
NOTHING_TO_REMOVE = ("where many start", "nothing so old")
SINCE_28 = {
    "free space": [{"min_free_space": "{{ missing }}"}],
    "free space and a cap": [{"min_free_space": "{{ missing }}", "max_used_space": "1GB", "reserved_space": "8MB"}],
    "by description": [
        {"filters": {"description": "mount / from exec /bin/busybox true"}, "unused_for": "1s"},
        {"types": ["source.local"], "unused_for": "1s"},
        {"max_used_space": "25MB"},
    ],
}

# Chains and forks, of which some records are an image's too, and one cache mount where the frontend knows them.
LEFT = f"{builds.FROM_SCRATCH}{builds.write('/base', 6)}{builds.write('/left', 5)}"
RIGHT = f"{builds.FROM_SCRATCH}{builds.write('/base', 6)}{builds.write('/right', 7)}{builds.do('/bin/busybox true')}"
LONG = f"{builds.FROM_SCRATCH}" + "".join(builds.write(f"/part{number}", number) for number in range(1, 5))


@pytest.fixture(scope="module")
def uncollected(lab):
    """The lab, with its configuration files as they were again in the end."""
    fleet.shell(daemon.KEEP)
    yield lab
    fleet.shell(daemon.PUT_BACK)
    daemon.restart()


def _fill(host):
    mounted = LONG
    if fleet.hosts()[host]["lab_kind"] != "docker20":
        mounted = LONG.replace("RUN ", "RUN --mount=type=cache,target=/cache ", 1)
    return (
        builds.build("left:1", LEFT)
        + builds.build("right:1", RIGHT)
        + builds.build("right:1", RIGHT)
        + builds.build("long:1", mounted)
        + "docker rmi left:1 long:1 >/dev/null\n"
    )


def _collected(on):
    """Return {host: State} once garbage collection has run."""
    time.sleep(RUN)
    return engine.look(on)


def _leaf(state):
    """Return the id of a record that nothing keeps."""
    held = {parent for record in state.records.values() for parent in engine.parents(record)} | state.shared
    return next(name for name in sorted(set(state.records) - held) if not state.records[name]["InUse"])


def _trial(on, rules):
    daemon.put_without_gc(on)
    fleet.shell({host: daemon.RESTART + _fill(host) for host in on})
    before = engine.look(on)
    variables = {
        "rules": rules,
        "missing": "{{ missing_by_host[inventory_hostname] }}",
        "missing_by_host": {host: str(state.free + 14 * MB) for host, state in before.items()},
        "leaf": "{{ leaf_by_host[inventory_hostname] }}",
        "leaf_by_host": {host: _leaf(state)[:12] for host, state in before.items()},
    }
    time.sleep(1)
    _facts, planned, written = fleet.play(
        [
            fleet.task("buildcache_facts", {"records": True}),
            {
                "ansible.builtin.set_fact": {
                    "plan": "{{ ansible_facts.buildcache | buildfleet.buildcache.gc_plan(rules) }}"
                }
            },
            fleet.task("buildcache_gc_policy", {"rules": "{{ rules }}"}),
        ],
        on,
        variables,
    )
    fleet.succeeded(written)
    assert all(result["changed"] and result["restart_required"] for result in written.values()), written
    daemon.restart(on)
    after = _collected(on)
    for host in on:
        plan = fleet.succeeded(planned)[host]["ansible_facts"]["plan"]
        gone = set(before[host].records) - set(after[host].records)
        uncertain = set(plan["uncertain"]["ids"])
        assert gone - uncertain == set(plan["removed"]["ids"]) - uncertain, (host, rules, written[host]["rendered"])
        assert len(gone) == plan["removed"]["count"] or uncertain, (host, rules)
    logged = fleet.shell("journalctl --unit docker --no-pager --since=-30s | grep 'gc error' || true", on)
    assert not any(logged.values()), logged
    return {host: len(before[host].records) - len(after[host].records) for host in on}


@pytest.mark.parametrize("name", variants(EVERYWHERE, first=1))
def test_what_is_collected_is_what_was_planned(uncollected, name):
    gone = _trial(list(uncollected), EVERYWHERE[name])
    print(name, gone)
    assert {bool(number) for number in gone.values()} == {name not in NOTHING_TO_REMOVE}, gone


@pytest.mark.parametrize("name", variants(SINCE_28, first=1))
def test_what_newer_engines_collect_is_what_was_planned(uncollected, name):
    gone = _trial([host for host in uncollected if host.startswith("docker28")], SINCE_28[name])
    print(name, gone)
    assert all(gone.values()), gone


# By size, and of private records: the plan is of a run after a restart, when the removal of a record makes its parents
# young.
AFTER_A_BUILD = {
    "docker20": [{"max_used_space": "10MB"}],
    "docker26": [{"types": ["regular"], "max_used_space": "14MB"}, {"max_used_space": "1GB"}],
    "docker28": [{"filters": {"private": True}, "reserved_space": "6MB"}, {"max_used_space": "1GB"}],
    "docker28c": [{"max_used_space": "12MB", "reserved_space": "5MB"}],
}


def test_a_build_sets_it_off_too(uncollected):
    builds.empty_engines()
    rules = {host: AFTER_A_BUILD[known["lab_kind"]] for host, known in uncollected.items()}
    fleet.succeeded(fleet.run("buildcache_gc_policy", per_host={"rules": rules}))
    daemon.restart()
    # After the start's own run, and within the minute after it; the next one comes when that is over.
    time.sleep(RUN)
    fleet.shell(builds.build("stages", builds.stages(dict.fromkeys(("one", "two", "three", "four"), 4))))
    before = engine.look()
    _facts, planned = fleet.play(
        [
            fleet.task("buildcache_facts", {"records": True}),
            {
                "ansible.builtin.set_fact": {
                    "plan": "{{ ansible_facts.buildcache | buildfleet.buildcache.gc_plan(rules[inventory_hostname]) }}"
                }
            },
        ],
        variables={"rules": rules},
    )
    end = time.monotonic() + 90
    while any(len(engine.look()[host].records) == len(state.records) for host, state in before.items()):
        assert time.monotonic() < end, "No garbage was collected."
        time.sleep(3)
    after = _collected(list(uncollected))
    for host, result in fleet.succeeded(planned).items():
        plan = result["ansible_facts"]["plan"]
        gone, uncertain = set(before[host].records) - set(after[host].records), set(plan["uncertain"]["ids"])
        assert gone - uncertain == set(plan["removed"]["ids"]) - uncertain, (host, gone, plan["removed"])
