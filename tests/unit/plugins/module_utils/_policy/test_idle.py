# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Idle rules against the algorithm itself: with them and without them, on any cache and with any disk."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import (
    Rule,
    engine_keep_bytes,
    removals,
    total_bytes,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import ConfigFile
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import edited, wanted_policy, warnings
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.idle import Idle, idle_rules, idle_traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import (
    Policy,
    PolicyRule,
)
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import NOW, record

LIMITED = ("27.5.1", "28.1.1", "28.5.2")
KINDS = ("regular", "source.local", "exec.cachemount", "internal")
GB = 2**30


def a_cache(pick, shared=True):
    """Some records in chains and forks. ``pick`` draws from a list."""
    records = []
    for number in range(pick(range(1, 9))):
        second = pick(range(6))
        ids = [one.id for one in records]
        records.append(
            record(
                f"r{number}" + pick("ab"),
                size=pick((0, 10, 40, 70)),
                used=pick((None, f"2026-01-10T11:59:0{second}.00000000{second}Z")),
                type=pick(KINDS),
                shared=shared and pick((False, False, True)),
                in_use=pick(range(10)) == 0,
                usage_count=pick(range(3)),
                created_at=pick(("2026-01-01T00:00:00Z", "2026-01-11T00:00:00Z")),
                parents=tuple({pick(ids) for _each in range(pick(range(3)))}) if ids else (),
            )
        )
    return records


def a_rule(pick):
    """A rule of few words, so that those of one policy meet."""
    include_all = pick((False, False, True))
    kinds = KINDS if include_all else KINDS[:-1]
    return PolicyRule(
        types=tuple(dict.fromkeys(pick(kinds) for _each in range(pick((0, 0, 0, 1, 1, 2))))),
        unused_for=pick((0, 0, 57 * SECOND, 58 * SECOND)),
        all=include_all,
        reserved_space=pick((0, 0, 50, 100)),
        max_used_space=pick((0, 50, 100, 200)),
        min_free_space=pick((0, 0, 0, 80)),
        id=pick((None, None, None, "a", "1a")),
        shared=pick((None, None, None, False, True) if include_all else (None, None, None, False)),
    )


def a_policy(pick):
    return [a_rule(pick) for _each in range(pick((2, 3, 4)))]


def left_by(rules, records, free, version, started_at, without=()):
    """The ids that a policy leaves. ``free`` has the bytes that are free when each rule begins."""
    left = list(records)
    for number, rule in enumerate(rules):
        for kind in () if number in without else rule.types or (None,):
            limits = (rule.reserved_space, rule.max_used_space, rule.min_free_space)
            cap = engine_keep_bytes(total_bytes(left), free[number], version, *limits)
            one = Rule(rule.all, rule.unused_for, kind, rule.id, rule.description, rule.shared, cap)
            gone = removals(left, one, version, NOW, started_at=started_at)
            ids = {record.id for record in gone.records}
            left = [gone.used.get(record.id, record) for record in left if record.id not in ids]
    return {one.id for one in left}


def differs(pick, rules, without, shared=True, order=True):
    """Whether a cache, drawn with ``pick``, shows that rules matter. ``order`` is whether removals that count as uses,
    whose order BuildKit leaves open where a rule has no size, do so."""
    records, free = a_cache(pick, shared), [pick((0, 30, 60, 90)) for _rule in rules]
    version, started_at = pick(LIMITED), pick((None, NOW)) if order else None
    whole = left_by(rules, records, free, version, started_at)
    return whole != left_by(rules, records, free, version, started_at, without)


seeds = st.integers(0, 2**32).map(random.Random)


@settings(max_examples=examples(300), deadline=None)
@given(seeds)
def test_no_cache_shows_a_difference_without_the_idle_rules(chance):
    rules = a_policy(chance.choice)
    found = [one for one in idle_rules(rules) if not one.but_for_shared]
    numbers = {one.number for one in found}
    in_order = all(max(one.by) < one.number for one in found)
    for without in [numbers, *({one} for one in numbers)]:
        assert not any(differs(chance.choice, rules, without, order=in_order) for _try in range(15 if without else 0))


@settings(max_examples=examples(300), deadline=None)
@given(seeds)
def test_no_cache_without_shared_records_shows_a_difference_without_those_that_only_an_oddity_keeps(chance):
    rules = a_policy(chance.choice)
    found = idle_rules(rules)
    numbers = {one.number for one in found}
    in_order = all(max(one.by) < one.number for one in found)
    if any(one.but_for_shared for one in found):
        assert not any(differs(chance.choice, rules, numbers, shared=False, order=in_order) for _try in range(15))


def test_most_rules_that_are_not_called_idle_are_seen_to_matter():
    chance = random.Random(12)
    seen, all_of_them = 0, 0
    while all_of_them < examples(120):
        rules = a_policy(chance.choice)
        idle = {one.number for one in idle_rules(rules)}
        for number in set(range(len(rules))) - idle:
            all_of_them += 1
            seen += any(differs(chance.choice, rules, {number}) for _try in range(400))
    said = f"{seen} of {all_of_them} rules that are not called idle matter on a cache that was found"
    print(said)
    # Some matter only where a handful of records meet that are seldom drawn together.
    assert seen >= 0.85 * all_of_them, said


def policy(*options):
    return Policy(rules=rules_from_options(options))


SMALL, LARGE = {"max_used_space": "1GB"}, {"max_used_space": "5GB"}


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([SMALL, LARGE], [Idle(1, (0,))]),
        ([LARGE, SMALL], [Idle(0, (1,))]),
        ([LARGE, {"min_free_space": "9GB", **SMALL}], []),
        # Without the first the second would not be idle, and do something that the last does not.
        ([SMALL, {"unused_for": "1h", **LARGE}, {"min_free_space": "9GB", **SMALL}], [Idle(1, (0,))]),
        # The bytes of shared records count as removed, and never were counted as held.
        ([{**SMALL, "all": True}, LARGE], [Idle(1, (0,), but_for_shared=True)]),
        ([{**SMALL, "all": True, "filters": {"private": True}}, LARGE], [Idle(1, (0,))]),
        ([SMALL, {**LARGE, "all": True}], []),
        ([{"unused_for": "2d"}, {"unused_for": "7d", **LARGE}], [Idle(1, (0,))]),
        ([{"unused_for": "7d"}, {"unused_for": "2d"}], [Idle(0, (1,))]),
        ([{"unused_for": "7d", **SMALL}, {"unused_for": "2d", **LARGE}], []),
        ([{"types": ["regular"], "unused_for": "2d"}, {"unused_for": "7d"}], []),
        ([{"unused_for": "7d"}, {"types": ["exec.cachemount"], "unused_for": "14d"}, LARGE], [Idle(1, (0,))]),
        # A cache mount that goes in between makes the layer below it removable.
        ([{"unused_for": "7d"}, {"types": ["exec.cachemount"]}, {"unused_for": "14d"}, LARGE], []),
        # Free space can have changed meanwhile.
        ([{**LARGE, "min_free_space": "9GB"}, {**LARGE, "min_free_space": "9GB"}], []),
        ([SMALL, {"reserved_space": "2GB", **LARGE, "min_free_space": "9GB"}], [Idle(1, (0,))]),
        ([SMALL, {"reserved_space": "512MB", **LARGE, "min_free_space": "9GB"}], []),
        ([{"unused_for": "2d"}, {"unused_for": "2d"}, {"unused_for": "1d"}], [Idle(0, (2,)), Idle(1, (0,))]),
        ([{"filters": {"id": "x7"}}, {"filters": {"id": "ax7"}, **LARGE}, LARGE], [Idle(1, (0,))]),
        ([{"filters": {"id": "ax7"}, **SMALL}, {"filters": {"id": "x7"}, **LARGE}], []),
    ],
)
def test_what_is_idle_follows_from_what_rules_select_and_where_they_stop(rules, found):
    assert idle_rules(rules_from_options(rules)) == tuple(found)


def test_types_are_rules_of_their_own_to_an_engine_and_one_to_buildkitd():
    rules = rules_from_options(
        [{"types": ["regular", "exec.cachemount"], "unused_for": "2d"}, {"types": ["regular"], "unused_for": "7d"}]
    )
    # What lies below a cache mount that the second part of the first rule removes is left to the last.
    assert idle_rules(rules) == ()
    assert idle_rules(rules, one_type_each=False) == (Idle(1, (0,)),)


NO_FILE = ConfigFile("/etc/docker/daemon.json", None, {}, None)
ASKED = {"state": "present", "enabled": True, "unsupported": "fail"}


def test_the_module_warns_of_idle_rules_by_the_numbers_of_the_option_and_writes_them():
    rules = [{"types": ["source.local", "exec.cachemount"], "unused_for": "2d"}, SMALL, LARGE]
    wanted = wanted_policy({**ASKED, "rules": rules}, "28.5.2", None, None)
    new = edited(NO_FILE, wanted, "28.5.2", None)
    assert len(new.data["builder"]["gc"]["policy"]) == 4
    (said,) = warnings(wanted, new, "28.5.2")
    assert said.startswith("rules[2]: The rule is idle: after rules[1],") and said.endswith("[gc_rule_idle]")


def test_the_module_refuses_to_reserve_more_than_may_be_used():
    rules = [{"reserved_space": "20GB", "max_used_space": "10GB"}]
    with pytest.raises(BadOption, match=r"rules\[0\]: 20GB is reserved, and only 10GB .*gc_sizes_contradict"):
        wanted_policy({**ASKED, "rules": rules}, "28.5.2", None, None)


def test_a_share_of_a_small_disk_can_be_less_than_what_is_reserved():
    rules = [{"reserved_space": "20GB", "max_used_space": "10%"}]
    assert wanted_policy({**ASKED, "rules": rules}, "28.5.2", 500 * GB, None).policy.rules[0].reserved_space == 20 * GB
    with pytest.raises(BadOption, match="gc_sizes_contradict"):
        wanted_policy({**ASKED, "rules": rules}, "28.5.2", 100 * GB, None)


def test_free_space_that_never_counts_is_said():
    (trap,) = idle_traps(policy({"reserved_space": "5GB", "max_used_space": "5GB", "min_free_space": "9GB"}))
    assert (trap.code, trap.where, trap.severity) == ("gc_limit_idle", "rules[0]", "info")


@pytest.mark.parametrize("version", ["20.10.24", "27.5.1"])
def test_an_idle_rule_in_a_file_is_found_and_does_not_stop_dockerd(version):
    file = {"builder": {"gc": {"enabled": True, "policy": [{"keepStorage": "1GB"}, {"keepStorage": "5GB"}]}}}
    (trap,) = traps(file, version)
    assert (trap.code, trap.where, trap.severity, trap.stops) == (
        "gc_rule_idle",
        "builder.gc.policy[1]",
        "info",
        False,
    )
