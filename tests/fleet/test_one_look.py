# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the playbooks ask a host, and that one look says what several do."""

from __future__ import annotations

import json

import builds
import daemon
import fleet
import pytest
from test_gc_policy_role import AT_ONCE, RULES, changes
from variants import variants

pytestmark = pytest.mark.any_engine

ON_THE_CONTROLLER = {"assert", "debug", "fail", "include_tasks", "set_fact", "validate_argument_spec"}
POLICY = {**AT_ONCE, "gc_policy_rules": RULES}


@pytest.fixture(scope="module")
def right(lab):
    """The lab with the policy in force, and as it was again in the end."""
    builds.empty_engines()
    fleet.shell(daemon.KEEP)
    changes()
    yield lab
    fleet.shell(daemon.BACK)


def asked(name, *arguments, **variables):
    """Run a playbook, and return {host: how many of its tasks ran a module there}."""
    variables = {**POLICY, **variables}
    results = fleet.playbook_results(name, "-e", json.dumps(variables), *arguments)
    counts = dict.fromkeys(fleet.hosts(), 0)
    for ran in results.values():
        for host, result in ran.items():
            assert not result["failed"], result
            counts[host] += result["action"].rpartition(".")[2] not in ON_THE_CONTROLLER
    return counts, results


@pytest.mark.parametrize("mode", variants([(), ("--check",)], first=1))
@pytest.mark.parametrize("name", ["site", "audit", "cleanup", "gc_policy"])
def test_a_host_that_is_right_is_asked_once(right, name, mode):
    counts, _results = asked(name, *mode)
    assert counts == dict.fromkeys(right, 1)


def test_the_report_by_one_look_is_that_of_the_facts(right, empty):
    fleet.shell(builds.generations("app:latest", 2, 8))
    for mode in (("--check",), ()):
        _counts, results = asked("site", *mode)
        (shown,) = results["Show what each host holds, and why space is not coming back"].values()
        _counts, alone = asked("facts")
        (expected,) = alone["Show what each host holds, and why space is not coming back"].values()
        assert shown["msg"] == expected["msg"] and set(shown["msg"]) == set(right)


def test_the_facts_of_a_prune_are_those_of_buildcache_facts(empty):
    fleet.shell(builds.generations("app:latest", 2, 8))
    for check in (True, False):
        found = fleet.prune({"facts": True}, check=check)
        known = fleet.facts()
        for host, result in found.items():
            told = result["ansible_facts"]["buildcache"]
            assert result["changed"] and _settled(told) == _settled(known[host]), host
    assert "ansible_facts" not in next(iter(fleet.prune().values()))


def _settled(facts):
    """The facts without what goes on between two looks: the clock, by which an age is reckoned, and the free space of a
    disk that is in use."""
    engine = {name: value for name, value in facts["engine"].items() if not name.endswith("_at")}
    disks = [(disk["path"], disk["total_bytes"]) for disk in facts["filesystems"]]
    return {**facts, "engine": engine, "filesystems": disks}


def test_a_host_that_is_not_right_is_put_right_as_ever(right):
    counts, results = asked("site", gc_policy_rules=[{"max_used_space": "5GB"}])
    assert all(count > 3 for count in counts.values()), counts
    written = results["Write the policy into daemon.json"]
    assert all(result["changed"] for result in written.values()) and set(written) == set(right)
    assert asked("site", gc_policy_rules=[{"max_used_space": "5GB"}])[0] == dict.fromkeys(right, 1)
