# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache import order as _order
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import (
    Rule,
    keep_bytes,
    reason_to_keep,
    removals,
    total_bytes,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import NOW, observation, options, record

HOUR = 3600 * SECOND
ENGINES = ("20.10.24", "26.1.5", "28.1.1", "28.5.2", "29.7.2")


def removed(records, engine="28.5.2", **rule):
    return [one.id for one in removals(records, Rule(**rule), engine, NOW).records]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"reserved": 50}, 50),
        ({"max_used": 70}, 70),
        ({"max_used": 70, "reserved": 90}, 90),
        ({"min_free": 40}, 101),  # met: nothing is to go, so the cap is out of reach
        ({"min_free": 60}, 90),  # 10 more wanted, so 90 of 100 may stay
        ({"min_free": 500}, 0),  # more than there is: everything may go
        ({"min_free": 60, "max_used": 70}, 70),
        ({"min_free": 60, "max_used": 95}, 90),
        ({"min_free": 40, "max_used": 95}, 95),
        ({"min_free": 500, "reserved": 30}, 30),
        ({"min_free": 40, "reserved": 30}, 101),
    ],
)
def test_three_limits_make_one_cap(limits, expected):
    assert keep_bytes(100, 50, **limits) == expected


def test_shared_records_do_not_count_against_a_limit():
    assert total_bytes([record("a", 10), record("b", 20, shared=True), record("c", 30, in_use=True)]) == 40


@pytest.mark.parametrize(
    ("traits", "rule", "reason"),
    [
        ({}, {}, None),
        ({"in_use": True}, {"all": True}, "in_use"),
        ({"shared": True}, {}, "shared"),
        ({"shared": True}, {"all": True}, None),
        ({"type": "internal"}, {}, "internal"),
        ({"type": "frontend"}, {}, "internal"),
        ({"type": "frontend"}, {"all": True}, None),
        ({}, {"unused_for": HOUR}, None),
        ({}, {"unused_for": HOUR + 1}, "too_young"),
        ({"last_used_at": None}, {"unused_for": 1000 * HOUR}, None),
        ({}, {"type": "regular"}, None),
        ({}, {"type": "source.local"}, "not_selected"),
        ({}, {"id": "ex"}, None),
        ({}, {"id": "xe"}, "not_selected"),
        ({"description": "[1/2] COPY"}, {"description": "[1/2] COPY"}, None),
        ({"description": "[1/2] COPY"}, {"description": "COPY"}, "not_selected"),
        ({"shared": True}, {"all": True, "shared": True}, None),
        ({"shared": True}, {"all": True, "shared": False}, "not_selected"),
        ({}, {"shared": False}, None),
    ],
)
def test_reasons_to_keep(traits, rule, reason):
    assert reason_to_keep(record("example", **traits), Rule(**rule), NOW) == reason


def test_children_go_before_their_parents():
    chain = [record("a"), record("b", parents=("a",)), record("c", parents=("b",))]
    assert removed(chain) == ["c", "b", "a"]


def test_a_child_that_stays_keeps_its_ancestors():
    chain = [record("a"), record("b", parents=("a",)), record("c", parents=("b",), in_use=True), record("d")]
    assert removed(chain) == ["d"]


def test_removal_stops_once_less_than_the_cap_is_left():
    records = [record(name, 100, used=f"2026-01-0{day}T00:00:00Z") for day, name in enumerate("abcd", 1)]
    assert removed(records, keep_bytes=401) == []
    assert removed(records, keep_bytes=400) == ["a"]
    assert removed(records, keep_bytes=250) == ["a", "b"]


def test_use_count_weighs_as_much_as_last_use():
    # With ranks from 1: popular 2/4 + 3/3, old 3/4 + 2/3, young 4/4 + 2/3. The oldest of all is not the first to go.
    records = [
        record("popular", used="2026-01-01T00:00:00Z", usage_count=9),
        record("old", used="2026-01-02T00:00:00Z", usage_count=1),
        record("young", used="2026-01-03T00:00:00Z", usage_count=1),
    ]
    assert removed(records, keep_bytes=300) == ["old"]


def test_records_of_one_rank_of_which_not_all_go_are_uncertain():
    twins = [record("a"), record("b"), record("c", used="2026-01-10T11:30:00Z")]
    assert removals(twins, Rule(keep_bytes=250), "28.5.2", NOW).uncertain == {"a", "b"}
    assert removals(twins, Rule(keep_bytes=150), "28.5.2", NOW).uncertain == frozenset()


def test_where_older_engines_divide_by_zero_every_record_is_uncertain():
    unused = [record(name, usage_count=0, used=None) for name in "abc"]
    assert removals(unused, Rule(keep_bytes=250), "26.1.5", NOW).uncertain == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("engine", "started_at", "expected"),
    [
        ("28.5.2", NOW, ["child"]),  # the parent counts as used by the removal, and is too young
        ("28.5.2", NOW - 3 * 24 * HOUR, ["child", "parent"]),  # the engine has made the records itself
        ("28.5.2", None, ["child", "parent"]),
        ("20.10.24", NOW, ["child", "parent"]),
    ],
)
def test_a_removal_after_a_start_is_a_use_of_the_parents(engine, started_at, expected):
    family = [
        record("parent", used="2026-01-08T12:00:00Z", created_at="2026-01-08T12:00:00Z"),
        record("child", used="2026-01-08T12:00:00Z", created_at="2026-01-08T12:00:00Z", parents=("parent",)),
    ]
    found = removals(family, Rule(unused_for=HOUR), engine, NOW, started_at=started_at)
    assert [one.id for one in found.records] == expected
    assert [one.usage_count - family[0].usage_count for one in found.used.values()] == [1] * (2 - len(expected))


def test_a_parent_that_looks_used_is_the_last_to_go_under_a_cap():
    kept = [record("other", used="2026-01-09T12:00:00Z", usage_count=2)]
    family = [record("parent", used="2026-01-01T00:00:00Z"), record("child", used="2026-01-01T00:00:00Z")]
    family[1] = family[1]._replace(parents=("parent",))
    for started_at, expected in ((None, ["child", "parent"]), (NOW, ["child", "other"])):
        found = removals(kept + family, Rule(keep_bytes=150), "28.5.2", NOW, started_at=started_at)
        assert [one.id for one in found.records] == expected


def test_uses_by_a_later_rule_come_after_those_by_an_earlier_one():
    used = [record("old", used="2026-01-01T00:00:00Z"), record("used", used="2026-01-10T12:00:01Z", usage_count=2)]
    family = [record("parent", used="2026-01-01T00:00:00Z", created_at="2026-01-01T00:00:00Z")]
    family.append(family[0]._replace(id="child", parents=("parent",)))
    found = removals(used + family, Rule(keep_bytes=1), "28.5.2", NOW, started_at=NOW)
    assert [one.id for one in found.records][2:] == ["used", "parent"]


def test_what_follows_from_a_choice_among_equals_is_uncertain_too():
    twins = [record("a"), record("b"), record("parent", used="2026-01-01T00:00:00Z")]
    twins[0] = twins[0]._replace(parents=("parent",))
    assert removals(twins, Rule(keep_bytes=150), "28.5.2", NOW).uncertain == {"b", "parent"}


def first_of(candidates, engine):
    """Return the candidates of which BuildKit removes any one first: sortDeleteRecords as it stands."""
    start = 1 if tuple(map(int, engine.split(".")[:2])) >= (28, 2) else 0
    times = sorted({parse_timestamp(one.last_used_at) for one in candidates if one.last_used_at})
    counts = sorted({one.usage_count for one in candidates} - {0})
    if not (start + len(times) and start + len(counts)):
        return candidates

    def key(one):
        time = times.index(parse_timestamp(one.last_used_at)) + 1 if one.last_used_at else 0
        count = counts.index(one.usage_count) + 1 if one.usage_count else 0
        return (start + time) / (start + len(times)) + (start + count) / (start + len(counts))

    best = min(map(key, candidates))
    return [one for one in candidates if key(one) == best]


def ways(records, rule, engine):
    """Yield whatever BuildKit's loop may remove, as sets of ids, trying every choice among equals.

    The loop stands as in cache/manager.go: everything sorted anew for every single removal.
    """
    todo, seen = [(frozenset(records), total_bytes(records))], set()
    while todo:
        left, total = todo.pop()
        if left in seen:
            continue
        seen.add(left)
        parents = {parent for one in left for parent in one.parents}
        candidates = [one for one in left if one.id not in parents and reason_to_keep(one, rule, NOW) is None]
        if not candidates or total < rule.keep_bytes:
            yield {one.id for one in records if one not in left}
        else:
            todo += [(left - {one}, total - one.size) for one in first_of(candidates, engine)]


@st.composite
def caches(draw):
    """Some dozen records in chains and forks, with ties in age and use."""
    records = []
    for number in range(draw(st.integers(1, 14))):
        second = draw(st.integers(0, 6))
        records.append(
            record(
                f"r{number:02}",
                size=draw(st.integers(0, 50)),
                used=draw(st.sampled_from([None, f"2026-01-10T11:59:0{second}.00000000{second}Z"])),
                type=draw(st.sampled_from(["regular", "regular", "source.local", "exec.cachemount", "internal"])),
                shared=draw(st.booleans()) and draw(st.booleans()),
                in_use=draw(st.integers(0, 9)) == 0,
                usage_count=draw(st.integers(0, 4)),
                parents=tuple(
                    sorted(draw(st.sets(st.sampled_from([one.id for one in records]), max_size=2))) if records else ()
                ),
            )
        )
    return records


RULES = st.builds(
    Rule,
    all=st.booleans(),
    unused_for=st.sampled_from([0, 57 * SECOND, 58 * SECOND]),
    type=st.sampled_from([None, None, "regular", "source.local"]),
    id=st.none(),
    description=st.none(),
    shared=st.none(),
    keep_bytes=st.sampled_from([0, 1, 50, 120, 300]),
)


@settings(max_examples=examples(100), deadline=None)
@given(caches(), RULES.filter(lambda rule: rule.keep_bytes), st.sampled_from(ENGINES))
def test_under_a_cap_what_may_go_is_what_the_plain_loop_may_remove(records, rule, engine):
    found = removals(records, rule, engine, NOW)
    gone = {one.id for one in found.records}
    possible = list(ways(records, rule, engine))
    assert gone in possible
    assert found.uncertain == set().union(*possible) - set.intersection(*possible)


@settings(max_examples=examples(100), deadline=None)
@given(caches(), RULES.filter(lambda rule: rule.keep_bytes), st.sampled_from(ENGINES))
def test_under_a_cap_each_record_is_the_first_of_those_that_may_go(records, rule, engine):
    left = list(records)
    for one in removals(records, rule, engine, NOW).records:
        parents = {parent for other in left for parent in other.parents}
        candidates = [other for other in left if other.id not in parents and reason_to_keep(other, rule, NOW) is None]
        assert one in first_of(candidates, engine)
        left.remove(one)


def test_where_there_are_too_many_choices_all_that_may_go_from_there_is_uncertain(monkeypatch):
    monkeypatch.setattr(_order, "_PATIENCE", 0)
    records = [record("first", used=None), record("a"), record("b"), record("last", used="2026-01-10T11:30:00Z")]
    found = removals(records, Rule(keep_bytes=250), "28.5.2", NOW)
    assert [one.id for one in found.records] == ["first", "a"]
    assert found.uncertain == {"a", "b", "last"}


@settings(max_examples=examples(100), deadline=None)
@given(caches(), RULES, st.sampled_from(ENGINES))
def test_what_is_needed_stays(records, rule, engine):
    gone = {one.id for one in removals(records, rule, engine, NOW).records}
    survivors = [one for one in records if one.id not in gone]
    assert not any(one.in_use for one in records if one.id in gone)
    assert not gone & {parent for one in survivors for parent in one.parents}
    assert all(reason_to_keep(one, rule, NOW) is None for one in records if one.id in gone)


@settings(max_examples=examples(100), deadline=None)
@given(caches(), RULES.filter(lambda rule: not rule.keep_bytes), st.sampled_from(ENGINES))
def test_without_a_cap_a_second_prune_finds_nothing(records, rule, engine):
    gone = {one.id for one in removals(records, rule, engine, NOW).records}
    assert removals([one for one in records if one.id not in gone], rule, engine, NOW).records == []


@settings(max_examples=examples(100), deadline=None)
@given(caches(), st.sampled_from(ENGINES), st.integers(1, 200), st.integers(1, 200))
def test_more_space_never_removes_more(records, engine, cap, more):
    tight = removals(records, Rule(keep_bytes=cap), engine, NOW).records
    roomy = removals(records, Rule(keep_bytes=cap + more), engine, NOW).records
    assert roomy == tight[: len(roomy)]


@settings(max_examples=examples(100), deadline=None)
@given(caches(), st.booleans(), st.sampled_from([None, ["regular"], ["source.local", "regular"]]), st.integers(1, 300))
def test_running_a_plan_and_planning_again_finds_nothing(records, include_all, types, limit):
    wanted = wanted_from_options(options(all=include_all, types=types, max_used_space=str(limit)))
    _steps, left = plan(wanted, observation(records))
    assert [step.ids for step in plan(wanted, left)[0]] == [(), (), ()]
