# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import parse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.reader import from_daemon_json
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.policies import ENGINES

OLD = tuple(version for version in ENGINES if int(version.split(".")[0]) < 28)
BEFORE_23 = tuple(version for version in ENGINES if int(version.split(".")[0]) < 23)
BEFORE_24 = tuple(version for version in ENGINES if int(version.split(".")[0]) < 24)
NEW = tuple(version for version in ENGINES if version not in OLD)
NEWEST = ENGINES[-1]
ROOM = {"keepStorage": "1GB"}


def codes(gc, version=NEWEST, **builder):
    """The codes for a section builder.gc on one engine."""
    return [trap.code for trap in traps({"builder": {"gc": gc, **builder}}, version)]


def engines_with(code, gc):
    """The engines on which a section has this trap and no other; on the rest it has none."""
    found = {version: codes(gc, version) for version in ENGINES}
    assert all(one in ([], [code]) for one in found.values()), found
    return tuple(version for version, one in found.items() if one)


def gc(*rules, **keys):
    return {"enabled": True, "policy": list(rules), **keys}


def rule(*filters, **keys):
    """A section of two rules: one with these filters, and a last one that limits everything."""
    return gc({**ROOM, "filter": list(filters), **keys}, ROOM)


SOUND = [
    {},
    None,
    {"enabled": False},
    {"enabled": True, "defaultKeepStorage": "20GB"},
    gc({"keepStorage": "1GB", "filter": ["unused-for=1m"]}),
    gc(ROOM),
    gc({"keepstorage": "1.5 GiB", "ALL": True, "FILTER": None}),
    gc(
        {"keepStorage": "512k", "filter": ["unused-for=72h"]},
        {"keepStorage": "1P", "filter": ["unused-for=48h"]},
        {"keepStorage": "1073741824"},
    ),
    rule("type=regular", "unused-for=1h30m", "id=abc123"),
    rule("TYPE = regular", "until=48h"),
    rule("type=internal", all=True),
    rule("id=^abc$"),
    gc({**ROOM, "filter": {"unused-for": {"48h": True}, "type": {"regular": True}, "private": {}}}, ROOM),
    gc({**ROOM, "filter": {"shared": None}, "all": True}, ROOM),
    gc({**ROOM, "filter": {"mutable": {}}}, ROOM),
    gc(*({**ROOM, "filter": [f"type={kind}"]} for kind in ("regular", "source.local", "source.git.checkout")), ROOM),
]


@pytest.mark.parametrize("section", SOUND, ids=json.dumps)
@pytest.mark.parametrize("version", ENGINES)
def test_nothing_is_wrong_with_what_works(section, version):
    assert codes(section, version) == []


def test_the_default_rules_are_broken_where_their_free_space_is():
    for version in ENGINES:
        assert codes({"enabled": True}, version) == ["gc_min_free_broken"] * (version == "28.0.1"), version
        assert codes({"enabled": True, "defaultKeepStorage": "9GB"}, version) == []


ON_EVERY_ENGINE = [
    ("gc_wrong_type", [], "builder.gc"),
    ("gc_wrong_type", {"enabled": "true"}, "builder.gc.enabled"),
    ("gc_wrong_type", {"enabled": True, "policy": {}}, "builder.gc.policy"),
    ("gc_wrong_type", gc(ROOM, "all"), "builder.gc.policy[1]"),
    ("gc_wrong_type", gc(ROOM, {**ROOM, "all": 1}), "builder.gc.policy[1].all"),
    ("gc_wrong_type", gc({"keepStorage": 10**9}), "builder.gc.policy[0].keepStorage"),
    ("gc_key_ignored", gc({**ROOM, "KeepStorage": "2GB"}), "builder.gc.policy[0]"),
    ("gc_wrong_type", gc({**ROOM, "filter": "type=regular"}), "builder.gc.policy[0].filter"),
    ("gc_wrong_type", gc({**ROOM, "filter": [1]}), "builder.gc.policy[0].filter"),
    ("gc_wrong_type", gc({**ROOM, "filter": {"type": ["regular"]}}), "builder.gc.policy[0].filter"),
    ("gc_key_ignored", gc({**ROOM, "keepDuration": "48h"}), "builder.gc.policy[0].keepduration"),
    ("gc_key_ignored", gc(ROOM, keepStorage="1GB"), "builder.gc.keepstorage"),
    ("gc_percentage", gc({"keepStorage": "15%"}), "builder.gc.policy[0].keepStorage"),
    ("gc_percentage", {"enabled": True, "defaultKeepStorage": "15 %"}, "builder.gc.defaultKeepStorage"),
    ("gc_bad_size", gc({"keepStorage": "10Q"}), "builder.gc.policy[0].keepStorage"),
    ("gc_bad_size", gc({"keepStorage": "9000P"}), "builder.gc.policy[0].keepStorage"),
    ("gc_bad_size", gc({"keepStorage": "9" * 400}), "builder.gc.policy[0].keepStorage"),
    ("gc_policy_empty", gc(), "builder.gc.policy"),
    ("gc_no_ceiling", gc({**ROOM, "filter": ["type=regular"]}), "builder.gc.policy"),
    ("gc_empties_cache", gc({"keepStorage": "0"}), "builder.gc.policy[0]"),
    ("gc_empties_cache", gc({"keepStorage": "0.5"}), "builder.gc.policy[0]"),
    ("gc_empties_cache", gc({"keepStorage": "0", "filter": {"private": {}}}, ROOM), "builder.gc.policy[0]"),
    ("gc_empties_cache", gc({"keepStorage": "0", "filter": {"immutable": {}}}, ROOM), "builder.gc.policy[0]"),
    ("gc_no_ceiling", gc({"keepStorage": "0", "filter": ["unused-for=8760h"]}), "builder.gc.policy"),
    ("gc_no_ceiling", gc({**ROOM, "filter": ["unused-for=48h"]}), "builder.gc.policy"),
    ("gc_policy_never_matches", rule("type=internal"), "builder.gc.policy[0]"),
]


@pytest.mark.parametrize(("code", "section", "where"), ON_EVERY_ENGINE, ids=str)
def test_what_is_wrong_on_every_engine_has_a_code_and_a_place(code, section, where):
    for version in ENGINES:
        assert [(trap.code, trap.where) for trap in traps({"builder": {"gc": section}}, version)] == [(code, where)]


@pytest.mark.parametrize(
    ("code", "filters"),
    [
        ("gc_filter_without_value", ["private"]),
        ("gc_filter_without_value", ["type"]),
        ("gc_filter_without_value", {"type": {}}),
        ("gc_filter_without_value", {"unused-for": {}}),
        ("gc_until_and_unused_for", ["until=1h", "unused-for=1h"]),
        ("gc_two_values", ["type=regular", "type=internal"]),
        ("gc_two_values", {"id": {"a": True, "b": True}}),
        ("gc_policy_never_matches", ["private=true"]),
        ("gc_policy_never_matches", {"mutable": {"true": True}}),
        ("gc_policy_never_matches", {"shared": {}}),
        ("gc_policy_never_matches", ["parent=abc"]),
        ("gc_policy_never_matches", ["inuse=true"]),
        ("gc_policy_never_matches", ["type=layer"]),
        ("gc_filter_ignored", ["parents=abc"]),
        ("gc_filter_ignored", ["label=x"]),
        ("gc_filter_ignored", ["type!=regular"]),
        ("gc_filter_ignored", {"Type": {"regular": True}}),
        ("gc_filter_ignored", ["unused-for>=48h"]),
        ("gc_filter_operator", ["type==regular"]),
        ("gc_filter_operator", ["id=~abc"]),
        ("gc_filter_comma", ["type=source.local,type==exec.cachemount"]),
        ("gc_filter_unreadable", ["type="]),
        ("gc_filter_unreadable", ["id=/abc/"]),
        ("gc_filter_unreadable", ["id=a|b"]),
        ("gc_filter_unreadable", ["id=.*"]),
        ("gc_bad_duration", ["unused-for=2d"]),
        ("gc_bad_duration", ["until=0"]),
        ("gc_bad_duration", ["until=0s"]),
        ("gc_bad_duration", ["until=48"]),
        ("gc_bad_duration", ["until=-48h"]),
        ("gc_bad_duration", ["until=2024-01-01"]),
        ("gc_bad_duration", ["unused-for=" + "9" * 400 + "h"]),
    ],
)
def test_filters_that_do_not_do_what_they_look_like(code, filters):
    section = gc({**ROOM, "filter": filters}, ROOM)
    assert engines_with(code, section) == tuple(ENGINES)


@pytest.mark.parametrize(
    ("rule", "versions"),
    [
        ({"filter": ["until=-48h"]}, ()),
        ({"filter": ["until=-0"]}, ()),
        ({"filter": ["until=-48"]}, ENGINES),
        ({"filter": ["until=48"]}, BEFORE_24),
        ({"filter": ["until=2026-01-01T05:06"]}, BEFORE_24),
        ({"filter": ["until=2026-01-01x"]}, ENGINES),
        ({"filter": ["unused-for"]}, ENGINES),
        ({"filter": ["private", "until=2d"]}, ENGINES),
        ({"filter": ["private"]}, BEFORE_23),
        ({"filter": ["type", "type=regular"]}, ENGINES),
        ({"filter": [None]}, BEFORE_23),
        ({"Filter": ["type=regular"], "filter": {"type": {"regular": True}}}, ()),
        ({"Filter": ["type=regular"], "filter": {"type": ["regular"]}}, ENGINES),
        ({"keepStorage": "9000P"}, ()),
        ({"keepStorage": "9" * 400}, ENGINES),
        ({"keepStorage": "1_0GB"}, OLD),
    ],
    ids=json.dumps,
)
def test_only_what_dockerd_cannot_read_stops_it(rule, versions):
    found = {version: traps({"builder": {"gc": gc({**ROOM, **rule}, ROOM)}}, version) for version in ENGINES}
    assert all(found.values())
    assert [version for version in ENGINES if any(trap.stops for trap in found[version])] == list(versions)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("make", None),
        ("[2/3]", None),
        ("größe", None),
        ("a\u0001b", "gc_filter_unreadable"),
        ("a\u200bb", "gc_filter_unreadable"),
        ('"a\u200bb"', None),
        ('"[2/3] RUN make, test"', None),
        (r'"a \"quote\", a \\ and\ta tab"', None),
        ('"a raw\ttab"', None),
        (r'"\u0001"', None),
        ("two words", "gc_filter_unreadable"),
        (".hidden", "gc_filter_unreadable"),
        ("/path", "gc_filter_unreadable"),
        ('"open', "gc_filter_unreadable"),
        (r'"\d"', "gc_filter_unreadable"),
        ('"\n"', "gc_filter_unreadable"),
        ('"\ufffd"', "gc_filter_unreadable"),
        ("a,b", "gc_filter_comma"),
        ("=make", "gc_filter_operator"),
    ],
)
def test_descriptions_are_values_of_the_filter_language_and_matched_since_27(value, code):
    assert codes(rule(f"description={value}")) == [code][: bool(code)]
    assert codes(rule("description=make"), "26.1.5") == ["gc_policy_never_matches"]
    assert codes(rule("description=make"), "27.4.1") == []


@pytest.mark.parametrize(
    ("code", "section", "engines"),
    [
        ("gc_disabled", {"policy": [ROOM]}, ENGINES[: ENGINES.index("28.2.0")]),
        ("gc_keep_storage_missing", gc({"filter": ["unused-for=48h"]}, ROOM), ENGINES[: ENGINES.index("27.5.1")]),
        ("gc_zero_falls_back", gc({"keepStorage": "0"}, ROOM, defaultKeepStorage="2GB"), OLD),
        ("gc_key_ignored", gc(ROOM, defaultKeepStorage="2GB"), NEW),
        ("gc_key_ignored", {"enabled": True, "defaultMaxUsedSpace": "2GB"}, OLD),
        ("gc_key_ignored", gc({**ROOM, "maxUsedSpace": "2GB"}), OLD),
        ("gc_key_ignored", gc({**ROOM, "reservedSpace": "2GB"}), ENGINES),
    ],
)
def test_some_is_wrong_on_some_engines_only(code, section, engines):
    if code == "gc_zero_falls_back":
        # Later engines take it for a rule that empties the cache, beside a default that they ignore.
        assert {version for version in ENGINES if codes(section, version) == [code]} == set(engines)
        assert codes(section) == ["gc_key_ignored", "gc_empties_cache"]
    else:
        assert engines_with(code, section) == tuple(engines)


@pytest.mark.parametrize(
    ("sizes", "broken", "alone"),
    [
        ({"minFreeSpace": "5GB", "maxUsedSpace": "9GB"}, True, False),
        ({"minFreeSpace": "5GB"}, True, True),
        ({"minFreeSpace": "5GB", "maxUsedSpace": "0"}, True, True),
        ({"minFreeSpace": "5GB", "reservedSpace": "1GB"}, True, True),
        ({"minFreeSpace": "0", "maxUsedSpace": "9GB"}, False, False),
    ],
)
def test_free_space_is_broken_before_28_0_2_and_never_good_alone(sizes, broken, alone):
    found = {version: codes(gc(sizes), version) for version in NEW}
    assert found.pop("28.0.1") == ["gc_min_free_broken"] * broken
    assert set(map(tuple, found.values())) == {("gc_min_free_alone",) * alone}


def test_a_missing_size_is_the_default_one_in_27_5_and_none_later():
    section = gc({"all": True}, defaultKeepStorage="2GB")
    assert codes(section, "27.5.1") == []
    assert codes(section, "28.0.4") == ["gc_key_ignored", "gc_empties_cache"]


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"Builder": {"gc": {}}}, [("gc_key_ignored", "Builder")]),
        ({"builder": []}, [("gc_wrong_type", "builder")]),
        ({"builder": {"GC": {}, "gc": {}}}, [("gc_key_ignored", "builder")]),
        ({"builder": {"keepStorage": "1GB"}}, [("gc_key_ignored", "builder.keepstorage")]),
        ({"builder": {"history": {"maxAge": 3600}}}, [("gc_wrong_type", "builder.history.maxAge")]),
        ({"builder": {"history": {"maxAge": "2d"}}}, [("gc_bad_duration", "builder.history.maxAge")]),
        ({"builder": {"history": {"maxEntries": "50"}}}, [("gc_wrong_type", "builder.history.maxEntries")]),
        ({"builder": {"history": {"maxEntries": 50.0}}}, [("gc_wrong_type", "builder.history.maxEntries")]),
        ({"builder": {"history": {"maxEntries": True}}}, [("gc_wrong_type", "builder.history.maxEntries")]),
        ({"builder": {"history": []}}, [("gc_wrong_type", "builder.history")]),
        ({"builder": {"entitlements": []}}, [("gc_wrong_type", "builder.entitlements")]),
        (
            {"builder": {"entitlements": {"Network-Host": "yes"}}},
            [("gc_wrong_type", "builder.entitlements.network-host")],
        ),
        ({"builder": {"history": {"maxAge": "1h", "maxEntries": 50}, "Entitlements": {"network-host": True}}}, []),
        ({"builder": {"history": {"maxAge": '"-1h"'}, "entitlements": {"device": 1}}}, []),
        ({"builder": {"history": {"maxAge": "3600"}, "entitlements": None}}, []),
        ({"debug": True}, []),
    ],
)
def test_what_lies_around_the_policy_is_looked_at_too(config, found):
    assert [(trap.code, trap.where) for trap in traps(config, NEWEST)] == found


def test_the_age_of_history_is_a_number_in_24_and_text_later():
    for version, good, bad in (("24.0.7", 3600, "1h"), ("24.0.7", 3600, 3600.5), ("26.1.5", "1h", 3600)):
        assert codes({"enabled": True}, version, history={"maxAge": good}) == []
        assert codes({"enabled": True}, version, history={"maxAge": bad}) == ["gc_wrong_type"]


def test_before_history_came_nothing_is_said_of_it():
    assert codes({"enabled": True}, "23.0.1", history=[]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("", True), (" \n", True), ("\ufeff{}", True), ("{}", False), (None, False)],
)
def test_engines_before_23_read_no_file_without_content_nor_one_with_a_mark(text, found):
    for version in ENGINES:
        expected = ["gc_file_unreadable"] * (found and int(version.split(".")[0]) < 23)
        assert [trap.code for trap in traps({}, version, text) if trap.stops] == expected, version


TWICE = [
    ('{"enabled": true, "policy": [{"keepStorage": "1GB", "keepStorage": "2GB"}]}', False),
    ('{"enabled": true, "policy": [{"keepStorage": "1GB", "KeepStorage": "2GB"}]}', False),
    ('{"enabled": true, "policy": [{"keepStorage": "1GB", "all": "yes", "all": true}]}', True),
    ('{"enabled": true, "policy": [{"keepStorage": "1GB", "nobodys": 1, "Nobodys": "2"}]}', False),
    ('{"enabled": true, "policy": [{"keepStorage": "1GB", "filter": {"id": {"a": true}, "id": {"b": true}}}]}', False),
]


@pytest.mark.parametrize(("text", "stops"), TWICE)
@pytest.mark.parametrize("version", ENGINES)
def test_a_key_that_stands_twice_is_found_and_what_comes_of_it_is_not_certain(text, stops, version):
    config = parse(f'{{"builder": {{"gc": {text}}}}}')
    found = traps(config, version)
    assert {(trap.code, trap.stops) for trap in found if "twice" in trap.message} == {("gc_key_ignored", stops)}
    assert from_daemon_json(config["builder"], version) is None


@pytest.mark.parametrize(
    ("section", "stopped"),
    [
        ('"history": {"maxEntries": "1", "MaxEntries": 2}', [one for one in ENGINES if one not in BEFORE_24]),
        ('"entitlements": {"network-host": "yes", "network-host": true}', list(ENGINES)),
    ],
)
def test_a_key_twice_beside_the_policy_stops_dockerd_where_either_is_of_a_wrong_type(section, stopped):
    config = parse(f'{{"builder": {{{section}}}}}')
    assert [version for version in ENGINES if any(trap.stops for trap in traps(config, version))] == stopped


def test_each_rule_with_a_trap_has_its_own():
    section = gc({**ROOM, "filter": ["type==regular"]}, {"keepStorage": "1%"}, ROOM)
    assert codes(section) == ["gc_filter_operator", "gc_percentage"]


# Any JSON, drawn to what the sections know.
words = st.sampled_from(
    '1GB 0 0.5 15% 1h 0s type=regular type=a,private id=^a description="a\tb" description=" until=1 unused-for=2h = '
    "unused-for=2d until=2d +1h .5h 1e9 1iB shared private".split(" ")
)
keys = st.sampled_from(
    "enabled policy all filter keepStorage maxUsedSpace minFreeSpace type until unused-for id private".split()
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.just(1.5) | words | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
filters_like = anything | st.lists(words | st.text(max_size=4), max_size=3)
rules_like = anything | st.fixed_dictionaries(
    {}, optional={"filter": filters_like, "keepStorage": anything, "maxUsedSpace": words, "minFreeSpace": anything}
)
gc_like = anything | st.fixed_dictionaries(
    {"policy": anything | st.lists(rules_like, max_size=2)}, optional={"enabled": anything, "defaultKeepStorage": words}
)


@settings(deadline=None, max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
@given(anything | st.fixed_dictionaries({"gc": gc_like}, optional={"history": anything}), st.sampled_from(ENGINES))
def test_no_json_is_too_odd(builder, version):
    found = traps({"builder": builder}, version)
    policy = from_daemon_json(builder, version)
    # An engine that would not start with it has a reason.
    assert found or policy is not None
    assert policy is None or not [trap for trap in found if trap.stops and trap.where.startswith("builder.gc")]
    if policy:
        json.dumps([terms(policy), list(map(str, found))])
