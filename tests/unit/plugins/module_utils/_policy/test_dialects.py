# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, version_tuple
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import engine_keep_bytes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import BOUNDLESS, Policy, PolicyRule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.reader import from_daemon_json, from_report
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.spelling import (
    supported,
    to_buildkitd_toml,
    to_daemon_json,
)
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.policies import CEILING, ENGINES, rule_lists

GB = 2**30
NEWEST = ENGINES[-1]
unhurried = settings(deadline=None, max_examples=examples(150))
each_engine = pytest.mark.parametrize("version", ENGINES)


def policy(*options, enabled=True):
    return Policy(enabled, rules_from_options(options))


FULL = policy(
    {
        "types": ["regular", "internal"],
        "unused_for": "2d",
        "all": True,
        "reserved_space": "1GB",
        "max_used_space": "2GB",
        "min_free_space": "3GB",
        "filters": {"id": "x7", "description": 'a "b", c'},
    },
    {"filters": {"private": True, "id": "x7"}, "unused_for": "1500ms"},
    CEILING,
)
CLAUSES = ["unused-for=48h", "id=x7", r'description="a \"b\", c"']
FLAGGED = {"unused-for": {"1.5s": True}, "id": {"x7": True}, "private": {}}


@each_engine
def test_a_policy_is_spelled_for_each_engine(version):
    if version_tuple(version) < (28,):
        whole, none, last = {"keepStorage": "2GB"}, {"keepStorage": "0"}, {"keepStorage": "20GB"}
    else:
        whole = {"reservedSpace": "1GB", "maxUsedSpace": "2GB", "minFreeSpace": "3GB"}
        none, last = {}, {"maxUsedSpace": "20GB"}
    assert to_daemon_json(FULL, version) == {
        "enabled": True,
        "policy": [
            {"all": True, "filter": ["type=regular", *CLAUSES], **whole},
            {"all": True, "filter": ["type=internal", *CLAUSES], **whole},
            {"filter": FLAGGED, **none},
            last,
        ],
    }
    assert to_daemon_json(Policy(enabled=False), version) == {"enabled": False}


EXPRESSIONS = [f"type=={kind}" + r',id~=x7,description=="a \"b\", c"' for kind in ("regular", "internal")]
THREE = {"reservedSpace": "1GB", "maxUsedSpace": "2GB", "minFreeSpace": "3GB"}


@pytest.mark.parametrize(
    ("version", "first", "second", "last"),
    [
        ("0.10.6", ({"keepBytes": 2 * GB}, 172800), ({"keepBytes": 0}, 2), {"keepBytes": 20 * GB}),
        ("0.12.5", ({"keepBytes": "2GB"}, "48h"), ({"keepBytes": "0"}, "1.5s"), {"keepBytes": "20GB"}),
        ("0.17.3", (THREE, "48h"), ({}, "1.5s"), {"maxUsedSpace": "20GB"}),
        ("0.25.2", (THREE, "48h"), ({}, "1.5s"), {"maxUsedSpace": "20GB"}),
    ],
)
def test_a_policy_is_spelled_for_each_buildkit(version, first, second, last):
    assert to_buildkitd_toml(FULL, version) == {
        "gc": True,
        "gcpolicy": [
            {"all": True, "keepDuration": first[1], "filters": EXPRESSIONS, **first[0]},
            {"all": False, "keepDuration": second[1], "filters": ["id~=x7,private"], **second[0]},
            {"all": False, **last},
        ],
    }
    assert to_buildkitd_toml(Policy(rules=()), version) == {"gc": False}
    assert to_buildkitd_toml(Policy(enabled=False), version) == {"gc": False}


@unhurried
@given(rule_lists, st.sampled_from(["0.10.6", "0.12.5", "0.17.3", "0.25.2"]))
def test_nothing_is_dropped_on_the_way_to_buildkit(options, version):
    asked, _missing = supported(policy(*options), version, approximate=True, product="BuildKit")
    for rule, written in zip(asked.rules, to_buildkitd_toml(asked, version)["gcpolicy"]):
        read = from_report([{"filter": [text]} for text in written.get("filters", [""])])
        assert tuple(kind for one in read for kind in one.types) == rule.types
        assert {(one.id, one.description, one.shared, one.other) for one in read} == {
            (rule.id, rule.description, rule.shared, ())
        }
        assert bool(rule.unused_for) == ("keepDuration" in written)
        assert written["all"] is rule.all


@unhurried
@given(rule_lists, st.sampled_from(ENGINES), st.booleans())
def test_an_engine_reads_what_was_asked_for_and_nothing_is_wrong_with_it(options, version, enabled):
    asked, _missing = supported(policy(*options, enabled=enabled), version, approximate=True)
    section = {"gc": to_daemon_json(asked, version)}
    assert from_daemon_json(section, version).meaning == asked.meaning
    # A random rule may find nothing to do after those before it.
    assert [trap for trap in traps({"builder": section}, version) if not trap.idle] == []


def test_types_that_two_rules_share_do_not_make_another_policy():
    old = {"unused_for": "1h"}
    asked = policy(
        {**old, "types": ["regular"]}, {**old, "types": ["source.local", "regular"]}, {"max_used_space": "9GB"}
    )
    assert from_daemon_json({"gc": to_daemon_json(asked, "28.5.2")}, "28.5.2").meaning == asked.meaning


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", PolicyRule()),
        ("private,type==regular", PolicyRule(types=("regular",), shared=False)),
        ("type==regular,private", PolicyRule(types=("regular",), shared=False)),
        ("type==a,type==regular", PolicyRule(types=("regular",), other=("type==a",))),
        ("shared,private", PolicyRule(shared=False, other=("shared",))),
        ("id~=^x7,mutable", PolicyRule(other=("id~=^x7", "mutable"))),
        ("shared==true", PolicyRule(other=("shared==true",))),
        ('description=="a', PolicyRule(other=('description=="a',))),
        ('type==regular,description=="a\\"', PolicyRule(types=("regular",), other=('description=="a\\"',))),
        ('description=="\t,\\u0041",id~=a', PolicyRule(id="a", description="\t,A")),
    ],
)
def test_an_expression_is_read_clause_by_clause(text, rule):
    assert from_report([{"filter": [text]}]) == (rule,)


def test_alternatives_are_left_as_they_are():
    assert from_report([{"filter": ["id~=a", "private"]}]) == (PolicyRule(other=("id~=a", "private")),)


FREE = {"min_free_space": "5GB"}


@pytest.mark.parametrize(
    ("options", "version", "missing", "left"),
    [
        ([CEILING], "19.03.15", None, [CEILING]),
        ([FREE, CEILING], "28.0.4", None, [FREE, CEILING]),
        ([FREE, CEILING], "28.0.1", "min_free_space; 28.0.2 is the first", [CEILING]),
        ([{**FREE, **CEILING}], "26.1.5", "min_free_space; 28.0.2 is the first", [CEILING]),
        ([{**FREE, "reserved_space": "1GB"}, CEILING], "27.5.1", "min_free_space", [CEILING]),
        ([{**FREE, **CEILING, "reserved_space": "20GB"}], "28.0.1", None, [CEILING]),
        ([{"filters": {"description": "a"}}, CEILING], "26.1.5", "filter description; 27.0 is the first", [CEILING]),
        (
            [{**FREE, "filters": {"description": "a"}}, CEILING],
            "28.0.4",
            None,
            [{**FREE, "filters": {"description": "a"}}, CEILING],
        ),
    ],
)
def test_an_older_engine_gets_the_nearest_rule_only_where_that_is_wanted(options, version, missing, left):
    asked = policy(*options)
    found, sentences = supported(asked, version, approximate=True)
    assert found.meaning == policy(*left).meaning
    assert [missing in sentence for sentence in sentences] == ([True] if missing else [])
    # What the engine would fail with is not even written.
    found = traps({"builder": {"gc": to_daemon_json(found, version)}}, version)
    assert [trap for trap in found if not trap.idle] == []
    if missing:
        with pytest.raises(BadOption, match=r"rules\[0\]: engine .* does not know .*gc_rule_unsupported"):
            supported(asked, version)


def test_a_policy_of_which_nothing_is_left_is_refused():
    with pytest.raises(BadOption, match="No rule is left"):
        supported(policy(FREE), "26.1.5", approximate=True)
    assert supported(Policy(), "19.03.15") == (Policy(), [])


bytes_or_none = st.one_of(st.none(), st.integers(1, 300))


@unhurried
@given(
    st.fixed_dictionaries(dict.fromkeys(("reserved_space", "max_used_space", "min_free_space"), bytes_or_none)),
    st.sampled_from(ENGINES),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_the_nearest_rule_never_removes_more(sizes, version, total, free):
    (rule,) = asked = rules_from_options([{name: size and f"{size}B" for name, size in sizes.items()}])
    left, _missing = supported(Policy(rules=(*asked, PolicyRule(id="last"))), version, approximate=True)
    if len(left.rules) == 1:
        assert rule.min_free_space and rule.max_used_space == BOUNDLESS
        return
    section = to_daemon_json(Policy(rules=left.rules[:1]), version)

    def cap(one, engine):
        return engine_keep_bytes(total, free, engine, one.reserved_space, one.max_used_space, one.min_free_space)

    (read,) = from_daemon_json({"gc": {"enabled": True, **section}}, version).rules
    # With a cap of 0 every match goes.
    assert cap(read, version) >= cap(rule, "28.5.2")


SAME = [
    [{"keepStorage": "1GB", "filter": ["unused-for=1h", "type=regular"]}],
    [{"KEEPSTORAGE": "1024MB", "FILTER": [" Type = regular ", "until=60m"], "All": False}],
    [{"keepStorage": "1073741824", "filter": {"type": {"regular": True}, "unused-for": {"3600s": False}}}],
    [{"keepStorage": "1 gib", "filter": ["unused-for=1h", "type=regular", "label=x", "parents=y"], "keepDuration": 5}],
]


@each_engine
def test_what_an_engine_reads_alike_has_one_meaning(version):
    read = [from_daemon_json({"GC": {"Enabled": True, "POLICY": rules}}, version) for rules in SAME]
    expected = policy({"types": ["regular"], "unused_for": "1h", "max_used_space": "1GB"}).meaning
    assert [one.meaning for one in read] == [expected] * len(SAME)


@pytest.mark.parametrize(
    ("gc", "version", "expected"),
    [
        (None, "28.1.1", Policy(enabled=False)),
        (None, "28.2.0", Policy()),
        ({"enabled": True, "policy": None}, "20.10.24", Policy()),
        ({"enabled": True, "policy": []}, "20.10.24", Policy(rules=())),
        ({"enabled": True, "defaultKeepStorage": "1GB"}, "26.1.5", Policy(default_sizes=(GB, 0, 0))),
        ({"defaultKeepStorage": "1GB", "defaultMinFreeSpace": "2GB"}, NEWEST, Policy(default_sizes=(GB, 0, 2 * GB))),
        ({"defaultKeepStorage": "1GB", "defaultReservedSpace": "2GB"}, NEWEST, Policy(default_sizes=(2 * GB, 0, 0))),
        ({"defaultKeepStorage": "1GB", "defaultReservedSpace": "0"}, NEWEST, Policy()),
        ({"defaultMaxUsedSpace": "1GB", "enabled": True}, "26.1.5", Policy()),
        ({"policy": [{"keepStorage": "1GB", "reservedSpace": "0"}]}, NEWEST, Policy(rules=(PolicyRule(),))),
        ({"policy": [{"keepStorage": "0.5"}]}, NEWEST, Policy(rules=(PolicyRule(),))),
        # Up to 27 a cap of nothing is the one of the default rules; later nothing comes of those beside a policy.
        (
            {"enabled": True, "defaultKeepStorage": "1GB", "policy": [{"keepStorage": "0"}]},
            "27.5.1",
            Policy(rules=(PolicyRule(max_used_space=GB),)),
        ),
        ({"defaultKeepStorage": "1GB", "policy": [{}]}, NEWEST, Policy(rules=(PolicyRule(),))),
        # What is off is not looked into.
        ({"policy": [{"keepStorage": "10%"}]}, "26.1.5", Policy(enabled=False)),
    ],
)
def test_defaults_aliases_and_nothings_are_read_as_each_engine_does(gc, version, expected):
    assert from_daemon_json({"gc": gc}, version) == expected


@pytest.mark.parametrize("version", ["20.10.24", "26.1.5", NEWEST])
@pytest.mark.parametrize(
    "gc",
    [
        [],
        {"enabled": "true"},
        {"enabled": 1},
        {"policy": {}},
        {"policy": ["all"]},
        {"policy": [{"keepStorage": 10}]},
        {"policy": [{"keepStorage": "10%"}]},
        {"policy": [{"keepStorage": "GB"}]},
        {"policy": [{"keepStorage": "-1GB"}]},
        {"policy": [{"keepStorage": "1GB", "all": "true"}]},
        {"policy": [{"keepStorage": "1GB", "filter": "type=regular"}]},
        {"policy": [{"keepStorage": "1GB", "filter": {"type": ["regular"]}}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["type=regular", "type=internal"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["until=1h", "unused-for=1h"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["unused-for=1d2"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["unused-for=2d"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["until=1.5.5h"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": {"unused-for": {"48h": "true"}}}]},
        {"policy": [{"keepStorage": "1GB", "filter": {"unused-for": {" 48h": True}}}]},
        # Whatever it comes to: it is no age.
        {"policy": [{"keepStorage": "1GB", "filter": ["until=2024-01-01"]}]},
        {"policy": [{"keepStorage": "1GB", "filter": ["until=-48h"]}]},
    ],
)
def test_what_an_engine_refuses_says_no_policy(gc, version):
    gc = {"enabled": True, **gc} if isinstance(gc, dict) else gc
    assert from_daemon_json({"gc": gc}, version) is None


def test_engines_before_27_5_refuse_a_rule_without_a_size():
    section = {"gc": {"enabled": True, "policy": [{"filter": ["unused-for=1h"]}]}}
    assert [version for version in ENGINES if from_daemon_json(section, version) is None] == list(ENGINES[:6])


@pytest.mark.parametrize(
    ("text", "version", "size"),
    [
        ("1.5GB", "20.10.24", 3 * GB // 2),
        ("1iB", "26.1.5", 1),
        ("1iB", NEWEST, None),
        ("1e9", "26.1.5", None),
        ("1e9", NEWEST, 10**9),
        ("+.5e1kb", NEWEST, 5 * 1024),
        ("20 ", NEWEST, 20),
        ("1.GB", NEWEST, GB),
        ("1e999", NEWEST, None),
        ("1.5.5GB", "20.10.24", None),
        ("-1GB", NEWEST, None),
        ("20  GB", NEWEST, None),
        ("0x1GB", NEWEST, None),
        ("GB", NEWEST, None),
        ("1EB", NEWEST, None),
        ("9" * 5000, NEWEST, None),
    ],
)
def test_a_size_is_read_as_the_engine_reads_it(text, version, size):
    found = from_daemon_json({"gc": {"enabled": True, "defaultKeepStorage": text}}, version)
    assert found == (None if size is None else Policy(default_sizes=(size, 0, 0)))


@pytest.mark.parametrize(
    ("text", "version", "age"),
    [
        ("48h", "20.10.24", 48 * 3600 * SECOND),
        ("+1h30m", NEWEST, 5400 * SECOND),
        (".5h", NEWEST, 1800 * SECOND),
        ("1.s", NEWEST, SECOND),
        ("1.5h", NEWEST, 5400 * SECOND),
        ("1µs", NEWEST, 1000),
        ("1μs", "20.10.24", 1000),
        ("0s", NEWEST, 0),
        ("0", "23.0.1", 0),
        ("0", "24.0.7", None),
        (".h", NEWEST, None),
        ("1_0h", NEWEST, None),
        ("24H", NEWEST, None),
        ("3000000h", NEWEST, None),
        ("9" * 5000 + "h", NEWEST, None),
    ],
)
def test_an_age_is_read_as_go_reads_it(text, version, age):
    rule = {"keepStorage": "1GB", "filter": [f"unused-for={text}"]}
    found = from_daemon_json({"gc": {"enabled": True, "policy": [rule]}}, version)
    assert (found and found.rules[0].unused_for) == age


@pytest.mark.parametrize("version", ENGINES)
def test_what_stands_beside_a_policy_is_read_only_where_it_counts(version):
    section = {"gc": {"enabled": True, "defaultKeepStorage": "10%", "policy": [{"keepStorage": "1GB"}]}}
    assert (from_daemon_json(section, version) is None) is (version_tuple(version) < (28,))
    section["gc"]["defaultKeepStorage"] = 10
    assert from_daemon_json(section, version) is None


def test_a_type_is_refused_also_where_nothing_is_collected():
    rules = [{"keepStorage": "10%"}, {"keepStorage": "1GB", "all": "yes"}]
    assert from_daemon_json({"gc": {"enabled": False, "policy": rules}}, NEWEST) is None
    assert from_daemon_json({"gc": {"enabled": False, "policy": rules[:1]}}, NEWEST) == Policy(enabled=False)
