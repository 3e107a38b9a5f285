# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import engine_keep_bytes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.what_if import gc_plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, observation, record

HELD = observation(
    [
        record("mount", 300, used="2026-01-01T00:00:00Z", type="exec.cachemount"),
        record("old", 200, used="2026-01-02T00:00:00Z"),
        record("new", 100, used="2026-01-10T11:00:00Z", usage_count=5),
        record("shared", 50, shared=True),
        record("busy", 10, in_use=True),
    ],
    filesystems=[filesystem(total=1000, free=400)],
)


def removed(rules, version=None, held=HELD):
    return gc_plan(facts(held, Daemon({}), with_records=True), rules, version)["removed"]["ids"]


@pytest.mark.parametrize(
    ("limits", "engine", "expected"),
    [
        ({}, "28.5.2", 0),
        ({"reserved": 50}, "20.10.24", 50),
        ({"reserved": 50, "max_used": 70}, "20.10.24", 70),
        ({"max_used": 70}, "28.5.2", 70),
        ({"min_free": 60}, "28.5.2", 90),
        ({"min_free": 40}, "28.5.2", 100),  # met, but not strictly less: one record goes at every run
        ({"min_free": 40}, "28.0.4", 0),  # met, and taken for no limit: every match goes
        ({"min_free": 40, "reserved": 30}, "28.0.4", 30),
        ({"min_free": 40, "max_used": 70}, "28.0.4", 70),
    ],
)
def test_each_engine_makes_its_own_cap_of_the_limits(limits, engine, expected):
    assert engine_keep_bytes(100, 50, engine, **limits) == expected


def test_a_limit_that_an_engine_does_not_know_is_refused():
    with pytest.raises(BadOption, match="27.4 is the first"):
        engine_keep_bytes(100, 50, "26.1.5", min_free=10)


def test_rules_run_in_order_on_what_the_earlier_ones_left():
    rules = [{"types": ["exec.cachemount"], "unused_for": "2d"}, {"max_used_space": "200"}]
    plan = gc_plan(facts(HELD, Daemon({}), with_records=True), rules)
    assert plan["removed"] == {"count": 2, "bytes": 500, "ids": ["mount", "old"]}
    assert plan["remaining_bytes"] == 160
    assert {one["reason"]: one["bytes"] for one in plan["kept"]} == {"within_limit": 100, "shared": 50, "in_use": 10}


def test_several_types_are_alternatives():
    assert removed([{"types": ["regular", "exec.cachemount"], "unused_for": "2d"}]) == ["old", "mount"]


def test_percentages_are_of_the_engines_own_file_system():
    two = HELD._replace(
        filesystems=(filesystem(total=10**6)._replace(path="/var/lib/containerd"), filesystem(total=1000))
    )
    assert removed([{"max_used_space": "20%"}], held=two) == ["mount", "old"]


def test_another_version_shows_what_an_upgrade_would_change():
    rules = [{"min_free_space": "500", "max_used_space": "700"}]
    assert removed(rules, "28.5.2") == ["mount"]
    with pytest.raises(BadOption, match="28.0.2 is the first"):
        removed(rules, "28.0.1")


def test_enough_free_space_alone_removes_nothing():
    assert removed([{"min_free_space": "300"}], "28.5.2") == []


def test_what_one_rule_frees_counts_for_the_next():
    rules = [{"types": ["exec.cachemount"], "unused_for": "2d"}, {"min_free_space": "600"}]
    assert removed(rules, "28.5.2") == ["mount"]


def test_no_rules_remove_nothing():
    plan = gc_plan(facts(HELD, Daemon({}), with_records=True), [])
    assert plan["removed"]["count"] == 0
    assert [one["reason"] for one in plan["kept"]] == ["no_rules"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"keep": "1GB"}, "rules[0]: keep is not known"),
        ({"max_used_space": "much"}, "rules[0]: max_used_space: 'much' is not a size"),
        ({"unused_for": "long"}, "rules[0]: unused_for: 'long' is not a duration"),
        ({"filters": {"label": "x"}}, "and so remove everything"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(rule, message):
    with pytest.raises(BadOption) as refusal:
        removed([rule])
    assert message in str(refusal.value)


def test_facts_without_records_are_refused():
    with pytest.raises(BadOption, match="records=true"):
        gc_plan(facts(HELD, Daemon({})), [])
