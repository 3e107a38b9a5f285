# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import engine_keep_bytes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import (
    BOUNDLESS,
    TYPES,
    Policy,
    PolicyRule,
    policy_traps,
    settled,
    terms,
)
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.policies import CEILING, rule_lists

GB = 2**30
HOUR = 3600 * SECOND
DISK = 500 * 10**9
unhurried = settings(deadline=None, max_examples=examples(150))


def rules(*options, disk=DISK, present=()):
    return rules_from_options(options, disk, present)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"max_used_space": "20GB"}, PolicyRule(max_used_space=20 * GB)),
        ({"unused_for": "2d", "all": True}, PolicyRule(unused_for=48 * HOUR, all=True)),
        ({"types": ["regular", "source.local"]}, PolicyRule(types=("regular", "source.local"))),
        ({"max_used_space": None, "filters": None, "types": None}, PolicyRule()),
        ({"min_free_space": "5GB"}, PolicyRule(min_free_space=5 * GB, max_used_space=BOUNDLESS)),
        ({"min_free_space": "5GB", "max_used_space": "9GB"}, PolicyRule(min_free_space=5 * GB, max_used_space=9 * GB)),
        ({"filters": {"id": "ab1", "description": "[1/2] RUN"}}, PolicyRule(id="ab1", description="[1/2] RUN")),
        ({"filters": {"private": True}}, PolicyRule(shared=False)),
        ({"filters": {"shared": True}, "all": True}, PolicyRule(shared=True, all=True)),
    ],
)
def test_a_rule_is_read_from_options(options, rule):
    assert rules(options) == (rule,)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"keep_storage": "1GB"}, "keep_storage is not known"),
        ({"max_used_space": " "}, "max_used_space is empty"),
        ({"unused_for": ""}, "unused_for is empty"),
        ({"unused_for": "0s"}, "unused_for: '0s' is no time"),
        ({"reserved_space": "0"}, "reserved_space: '0' is less than a byte"),
        ({"reserved_space": "101%"}, "reserved_space: '101%' is not a percentage"),
        ({"types": []}, "types is an empty list"),
        ({"types": ["regular", "layers"]}, "'layers' is no type of records"),
        ({"filters": {"label": "x"}}, "filters: 'label' cannot be used"),
        ({"filters": {"shared": True}}, "only removed with all=true"),
        ({"filters": {"id": None}}, "id has no value"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_by_its_number(options, problem):
    with pytest.raises(BadOption) as refusal:
        rules(CEILING, options)
    assert str(refusal.value).startswith("rules[1]: ")
    assert problem in str(refusal.value)


def test_a_percentage_needs_a_file_system():
    with pytest.raises(BadOption, match=r"rules\[0\]: a percentage needs the size of the file system"):
        rules({"max_used_space": "15%"}, disk=None)


@unhurried
@given(st.integers(10**6, 10**15), st.floats(0.99, 1.01), st.sampled_from(["1%", "7.5%", "15%", "80%", "100%"]))
def test_a_percentage_stays_as_it_was_while_the_file_system_wobbles_by_one_percent(disk, wobble, share):
    first = rules({"max_used_space": share}, disk=disk)
    exact = disk * float(share[:-1]) / 100
    assert first[0].max_used_space == pytest.approx(exact, rel=1 / 128, abs=1)
    present = {first[0].max_used_space, 0, BOUNDLESS}
    assert rules({"max_used_space": share}, disk=int(disk * wobble), present=present) == first


def test_a_percentage_of_another_file_system_or_a_size_is_taken_as_given():
    assert rules({"max_used_space": "10%"}, disk=100 * GB, present={9 * GB})[0].max_used_space == 10 * GB
    assert rules({"max_used_space": "10GB"}, present={10 * GB + 1})[0].max_used_space == 10 * GB


sizes = st.one_of(st.just(0), st.integers(1, 300))


@unhurried
@given(sizes, sizes, sizes, sizes, sizes)
def test_settled_sizes_make_the_same_cap(reserved, max_used, min_free, total, free):
    rule = PolicyRule(reserved_space=reserved, max_used_space=max_used, min_free_space=min_free)
    caps = [
        engine_keep_bytes(total, free, "28.5.2", one.reserved_space, one.max_used_space, one.min_free_space)
        for one in (rule, settled(rule))
    ]
    assert caps[0] == caps[1]


MEANINGS = {
    "one cap": [{"max_used_space": "1GB"}, {"reserved_space": "1024MB"}, {"max_used_space": "1GB", "all": False}],
    "the larger of two": [{"max_used_space": "1GB", "reserved_space": "2GB"}, {"max_used_space": "2GB"}],
    "free space that never counts": [
        {"max_used_space": "4GB", "reserved_space": "4GB", "min_free_space": "3GB"},
        {"max_used_space": "4GB"},
    ],
    "free space alone": [{"min_free_space": "1GB"}, {"min_free_space": "1GB", "max_used_space": "1PB"}],
    "an age": [{"unused_for": "2d"}, {"unused_for": "48h"}, {"unused_for": "2880m"}],
}


@pytest.mark.parametrize("spellings", MEANINGS.values(), ids=list(MEANINGS))
def test_what_comes_to_the_same_has_one_meaning(spellings):
    assert len({Policy(rules=rules(options)).meaning for options in spellings}) == 1


def test_no_two_meanings_are_taken_for_one():
    different = [options[0] for options in MEANINGS.values()]
    different += [{**CEILING, "types": ["regular"]}, {**CEILING, "all": True}, {**CEILING, "filters": {"id": "a"}}]
    assert len({Policy(rules=rules(options)).meaning for options in different}) == len(different)


def test_rules_that_follow_one_another_and_differ_in_their_types_are_one():
    typed = [{"types": [kind], "max_used_space": "1GB"} for kind in TYPES[:3]]
    both = {"types": list(TYPES[:2]), "max_used_space": "1GB"}
    assert Policy(rules=rules(*typed[:2])).meaning == Policy(rules=rules(both)).meaning
    assert Policy(rules=rules(typed[0], CEILING, typed[1])).meaning != Policy(rules=rules(both, CEILING)).meaning
    # With a size, those of the first type go first.
    swapped = {**both, "types": both["types"][::-1]}
    assert Policy(rules=rules(swapped)).meaning != Policy(rules=rules(both)).meaning
    aged, again = ({"types": one["types"] * 2, "unused_for": "1h"} for one in (both, swapped))
    assert Policy(rules=rules(aged)).meaning == Policy(rules=rules(again)).meaning
    assert rules(aged)[0].types == TYPES[:2]
    # A rule for every type is not one more type.
    assert len(Policy(rules=rules({"max_used_space": "1GB"}, typed[0])).meaning) == 2


def test_what_removes_nothing_is_all_the_same():
    assert Policy(enabled=False).meaning == Policy(rules=()).meaning == Policy(False, rules(CEILING)).meaning
    assert Policy().meaning != Policy(default_sizes=(1, 0, 0)).meaning != Policy(enabled=False).meaning


AGED = PolicyRule(unused_for=HOUR)
DAY = 24 * HOUR
CAP = PolicyRule(max_used_space=GB)


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (None, []),
        ((), ["gc_policy_empty"]),
        ((PolicyRule(max_used_space=1),), []),
        # An age limits nothing; beside a size, a short one leaves it a limit.
        ((AGED,), ["gc_no_ceiling"]),
        ((CAP._replace(unused_for=DAY),), []),
        ((CAP._replace(unused_for=DAY + 1),), ["gc_no_ceiling"]),
        ((AGED, CAP._replace(types=("regular",))), ["gc_no_ceiling"]),
        ((AGED._replace(types=("regular",)), CAP), []),
        ((PolicyRule(min_free_space=1, max_used_space=BOUNDLESS),), []),
        ((CAP._replace(id="a"),), ["gc_no_ceiling"]),
        ((CAP._replace(other=("immutable",)),), ["gc_no_ceiling"]),
        ((CAP._replace(shared=True, all=True),), ["gc_no_ceiling"]),
        ((CAP._replace(shared=False),), []),
        # What selects nearly everything.
        ((PolicyRule(shared=False), CAP), ["gc_empties_cache"]),
        ((PolicyRule(other=("immutable",)), CAP), ["gc_empties_cache"]),
        ((PolicyRule(other=("mutable",)), CAP), []),
        ((PolicyRule(shared=True, all=True), CAP), []),
        ((PolicyRule(),), ["gc_empties_cache"]),
        ((PolicyRule(all=True),), ["gc_empties_cache"]),
        ((PolicyRule(types=("regular",)), CAP), ["gc_empties_cache"]),
        ((PolicyRule(types=("source.local",)), CAP), []),
        ((PolicyRule(id="a"), CAP), []),
        ((PolicyRule(id="a"),), ["gc_no_ceiling"]),
        ((AGED._replace(types=("regular", "source.local")),), ["gc_no_ceiling"]),
        (tuple(CAP._replace(types=(kind,)) for kind in TYPES[:4]), []),
        ((CAP, AGED._replace(types=("internal",))), ["gc_policy_never_matches"]),
        ((CAP, AGED._replace(types=("frontend", "regular"), all=True)), []),
        ((CAP, AGED._replace(shared=True)), ["gc_policy_never_matches"]),
        ((CAP, AGED._replace(shared=True, all=True)), []),
    ],
)
def test_traps_in_what_a_policy_asks_for(found, codes):
    assert [trap.code for trap in policy_traps(Policy(rules=found))] == codes


def test_a_trap_says_where_and_what_is_missing():
    (trap,) = policy_traps(Policy(rules=(CAP._replace(types=("regular",)),)), "builder.gc.policy")
    assert str(trap).startswith("builder.gc.policy: No rule keeps records of type source.local, source.git.checkout")
    assert "Add a last rule with a size alone" in str(trap)
    assert str(trap).endswith("[gc_no_ceiling]")


@unhurried
@given(rule_lists)
def test_terms_are_rules_again(options):
    policy = Policy(rules=rules(*options))
    assert Policy(rules=rules(*terms(policy)["rules"])).meaning == policy.meaning


def test_terms_name_every_part_of_a_rule():
    rule = PolicyRule(("regular",), 90 * SECOND, True, 1, 2 * GB, 3, "a", "b", False, ("inuse",))
    assert all(rule[:8]) and rule.other
    assert terms(Policy(rules=(rule,)))["rules"] == [
        {
            "all": True,
            "types": ["regular"],
            "unused_for": "1m30s",
            "reserved_space": "1B",
            "max_used_space": "2GB",
            "min_free_space": "3B",
            "filters": {"id": "a", "description": "b", "private": True},
            "other_filters": ["inuse"],
        }
    ]
    assert terms(Policy(False)) == {"enabled": False, "rules": None}
    assert terms(Policy(default_sizes=(GB, 0, 0)))["default_sizes"] == {"reserved_space": "1GB"}
