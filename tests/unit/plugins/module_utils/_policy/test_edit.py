# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import BadConfig, parse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import parse_size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import ConfigFile
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import (
    edited,
    policy_result,
    wanted_policy,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon, gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.policies import CEILING, ENGINES, reported, rule_lists

GB = 2**30
NEWEST = ENGINES[-1]
unhurried = settings(deadline=None, max_examples=examples(100))


def run(text, version=NEWEST, disk=None, **options):
    """One run of the module on a file that holds ``text``, up to the writing: the Edited."""
    options = {"state": "present", "enabled": True, "rules": None, "unsupported": "approximate", **options}
    config = ConfigFile("daemon.json", text, parse(text or ""), None)
    in_file = gc_status(Daemon(config=config.data, text=text), version).in_file
    return edited(config, wanted_policy(options, version, disk, in_file), version, in_file)


@pytest.mark.parametrize(
    ("version", "options", "problem"),
    [
        ("18.09.1", {}, "Engine 18.09.1 knows no GC policy"),
        (NEWEST, {"state": "absent", "rules": [CEILING]}, "no effect with state=absent"),
        (NEWEST, {"rules": []}, "gc_policy_empty"),
        (NEWEST, {"rules": [{"types": ["regular"], "max_used_space": "1GB"}]}, "gc_no_ceiling"),
        (NEWEST, {"rules": [{"all": False}]}, "gc_empties_cache"),
        (NEWEST, {"rules": [{"filters": {"private": True}}, CEILING]}, "gc_empties_cache"),
        (NEWEST, {"rules": [{"unused_for": "8760h"}]}, "gc_no_ceiling"),
        (NEWEST, {"rules": [{"types": ["internal"]}, CEILING]}, "gc_policy_never_matches"),
        (NEWEST, {"rules": [{"max_used_space": "9000P"}]}, "gc_bad_size"),
        (NEWEST, {"rules": [{"filters": {"description": "\ufffd"}}, CEILING]}, "gc_filter_unreadable"),
        (NEWEST, {"rules": [{"max_used_space": "15%"}]}, "a percentage needs the size"),
        ("26.1.5", {"rules": [{"min_free_space": "1GB"}, CEILING], "unsupported": "fail"}, "gc_rule_unsupported"),
        ("26.1.5", {"rules": [{"types": ["regular"], **CEILING}, {"min_free_space": "1GB"}]}, "gc_no_ceiling"),
    ],
)
def test_what_would_not_do_what_it_looks_like_is_refused(version, options, problem):
    with pytest.raises(BadOption, match=problem):
        run("{}", version, **options)


@unhurried
@given(rule_lists, st.sampled_from(ENGINES), st.booleans())
def test_a_policy_that_was_written_is_sound_in_force_after_a_restart_and_not_written_again(rules, version, enabled):
    first = run('{"debug": true}', version, rules=rules, enabled=enabled)
    assert first.changed or not enabled
    assert [trap for trap in traps(first.data, version) if not trap.idle] == []
    again = run(first.text, version, rules=rules, enabled=enabled)
    assert (again.changed, again.text) == (False, first.text)
    if first.changed and version in ENGINES[-6:]:
        entries = reported(first.data["builder"]["gc"]) if enabled else []
        status = gc_status(Daemon(config=first.data, reported=entries), version)
        assert status.in_effect.restart_required is False


def respelled(section, random):
    """Return a policy of daemon.json in another spelling that means the same."""
    rules = []
    for rule in section["policy"]:
        filters = rule.pop("filter", [])
        if isinstance(filters, list):
            filters = random.sample(filters, len(filters))
            if random.random() < 0.5:
                filters = {key: {value: False} for key, _equals, value in (text.partition("=") for text in filters)}
            else:
                filters = [f" {text.replace('=', ' = ', 1)} " for text in filters] + ["label=any"]
        if set(rule) - {"all"} == {"maxUsedSpace"}:
            rule[random.choice(["keepStorage", "reservedSpace"])] = rule.pop("maxUsedSpace")
        for key, value in rule.items():
            if key != "all" and value != "0":
                size = parse_size(value, key).in_bytes(0)
                rule[key] = random.choice([str(size), f"{size}b"] + [f"{size // 1024} KiB"] * (size % 1024 == 0))
        rule.setdefault("all", False)
        names = random.sample([*rule, "filter"], len(rule) + 1)
        rules.append({random.choice([str.lower, str.upper])(key): {**rule, "filter": filters}[key] for key in names})
    return {"Policy": rules, "ENABLED": True}


@unhurried
@given(rule_lists, st.sampled_from(ENGINES), st.randoms())
def test_a_file_that_says_the_same_in_other_words_is_left_alone(rules, version, random):
    section = parse(run(None, version, rules=rules).text)["builder"]["gc"]
    text = json.dumps({"builder": {"GC": respelled(section, random)}})
    found = run(text, version, rules=rules)
    assert (found.changed, found.text) == (False, text)
    assert found.data is found.before


@pytest.mark.parametrize("version", ENGINES)
@pytest.mark.parametrize("wobble", [0.99, 0.995, 1.005, 1.01])
def test_percentages_are_written_once(version, wobble):
    rules = [
        {"unused_for": "14d", "reserved_space": "5%"},
        {"reserved_space": "10%", "max_used_space": "60%", "min_free_space": "15%"},
    ]
    for disk in range(400 * 10**9, 408 * 10**9, 10**9 - 1):
        first = run(None, version, disk, rules=rules)
        assert first.changed
        assert not run(first.text, version, int(disk * wobble), rules=rules).changed


@pytest.mark.parametrize(
    ("version", "gc"),
    [
        (NEWEST, {"enabled": "true", "policy": [{"maxUsedSpace": "20GB"}]}),
        (NEWEST, {"enabled": 1, "policy": [{"maxUsedSpace": "20GB"}]}),
        (NEWEST, {"policy": [{"maxUsedSpace": "20GB", "all": 0}]}),
        (NEWEST, {"policy": [{"maxUsedSpace": "20GB", "minFreeSpace": "5%"}]}),
        (NEWEST, {"policy": [{"maxUsedSpace": "20GB", "filter": ["id=a", "id=b"]}]}),
        (NEWEST, {"policy": [{"reservedSpace": "0", "keepStorage": "20GB"}]}),
        ("28.1.1", {"policy": [{"maxUsedSpace": "20GB"}]}),
        ("26.1.5", {"enabled": True, "policy": [{"maxUsedSpace": "20GB"}]}),
    ],
)
def test_what_only_looks_the_same_is_put_right(version, gc):
    found = run(json.dumps({"builder": {"gc": gc}}), version, rules=[CEILING])
    assert found.changed
    assert found.policy.enabled and traps(found.data, version) == []


STOPPING_RULES = [
    '{"maxUsedSpace": "20GB", "filter": ["unused-for=2d"]}',
    '{"maxUsedSpace": "20GB", "filter": {"unused-for": {"48h": "true"}}}',
    '{"maxUsedSpace": "20GB", "filter": ["unused-for=48h"], "all": "no", "all": false}',
]


@pytest.mark.parametrize("rule", STOPPING_RULES)
def test_a_file_that_stops_dockerd_is_never_left_as_equal(rule):
    text = f'{{"builder": {{"gc": {{"enabled": true, "policy": [{rule}, {{"maxUsedSpace": "20GB"}}]}}}}}}'
    found = run(text, rules=[{"max_used_space": "20GB", "unused_for": "2d"}, CEILING])
    assert found.changed
    assert traps(found.data, NEWEST) == []


@pytest.mark.parametrize(
    ("text", "version", "where"),
    [
        ('{"Builder": {}, GC}', NEWEST, "Builder"),
        ('{"builder": {"history": {"maxAge": 3600}, GC}}', NEWEST, "builder.history.maxAge"),
        ('{"builder": {"entitlements": [], GC}}', "20.10.24", "builder.entitlements"),
        ("\ufeff{}", "20.10.24", "the file"),
    ],
)
@pytest.mark.parametrize("options", [{"rules": [CEILING]}, {}, {"state": "absent"}])
def test_a_file_that_stops_dockerd_whatever_the_policy_is_refused(text, version, where, options):
    policy = '"gc": {"enabled": true, "policy": [{"keepStorage": "20GB"}]}'
    with pytest.raises(BadConfig, match=rf"^daemon.json: dockerd would not start with it.* {where}: .*\[gc_"):
        run(text.replace("GC", policy if "builder" in text else f'"builder": {{{policy}}}'), version, **options)


def test_an_empty_file_that_stops_an_old_engine_is_filled():
    assert run("", "20.10.24", rules=[CEILING]).changed
    with pytest.raises(BadConfig, match=r"Write \{\} into it"):
        run("", "20.10.24", state="absent")
    assert not run("", NEWEST, state="absent").changed


def test_a_missing_size_that_an_older_engine_refuses_is_added():
    rules = [{"unused_for": "48h"}, CEILING]
    policy = '[{"filter": ["unused-for=48h"]}, {"keepStorage": "20GB"}]'
    text = f'{{"builder": {{"gc": {{"enabled": true, "policy": {policy}}}}}}}'
    assert run(text, "27.4.1", rules=rules).data["builder"]["gc"]["policy"][0]["keepStorage"] == "0"
    assert not run(text, "27.5.1", rules=rules).changed


BEFORE = """{
  "proxies": {"http-proxy": "http://me:hush@proxy:3128"},
  "Builder-like": 1.50,
  "builder": {"Entitlements": {}, "GC": {
    "Enabled":false ,
    "DefaultKeepStorage": "5GB"
  }},
\t"debug" :true
}
"""


@pytest.mark.parametrize(
    ("options", "old", "new"),
    [
        ({"enabled": False}, "", ""),
        ({}, '"Enabled":false ,', '"Enabled":true ,'),
        ({"state": "absent"}, '"Enabled":false ,\n    ', ""),
        (
            {"rules": [{"max_used_space": "9GB"}]},
            '"Enabled":false ,\n    "DefaultKeepStorage": "5GB"\n',
            '"Enabled":true ,\n    "policy": [\n      {\n        "maxUsedSpace": "9GB"\n      }\n    ]\n',
        ),
    ],
)
def test_every_other_byte_stays(options, old, new):
    found = run(BEFORE, **options)
    assert found.text == BEFORE.replace(old, new)
    assert found.changed is (old != new)
    assert not run(found.text, **options).changed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", ""),
        ('{"builder": {"gc": {}}}', '{"builder": {"gc": {}}}'),
        ('{"builder": {"gc": {"enabled": true, "policy": []}}}', "{}"),
        ('{"a": 1, "builder": {"gc": {"Policy": []}}}', '{"a": 1}'),
        ('{"builder": {"gc": {"policy": []}, "history": {}}}', '{"builder": {"history": {}}}'),
        ('{"builder": {"gc": {"enabled": "?", "x": 1}}}', '{"builder": {"gc": {"x": 1}}}'),
    ],
)
def test_absent_removes_what_the_module_writes_and_what_that_leaves_empty(text, expected):
    found = run(text, state="absent")
    assert (found.text, found.changed) == (expected, text != expected)


def result(text, version=NEWEST, daemon=None, **options):
    options = {"state": "present", "enabled": True, "rules": None, "unsupported": "approximate", **options}
    config = ConfigFile("daemon.json", text, parse(text or ""), 1.0)
    daemon = Daemon(config=config.data, changed_at=1.0, now=3.0, **(daemon or {}))
    status = gc_status(daemon, version)
    wanted = wanted_policy(options, version, None, status.in_file)
    new = edited(config, wanted, version, status.in_file)
    found = policy_result(daemon, status, wanted, new, version, with_diff=True)
    return {**found, "warnings": warnings(wanted, new, version)}


@pytest.mark.parametrize(("version", "warned"), [("19.03.15", True), ("20.10.0", False)])
def test_an_engine_that_was_never_tried_is_warned_of(version, warned):
    found = result(None, version=version, rules=[CEILING])["warnings"]
    assert any("is older than 20.10" in warning and "Upgrade" in warning for warning in found) is warned


def test_no_key_outside_the_builder_shows():
    for options in ({"rules": [CEILING]}, {"state": "absent"}, {}, {"enabled": False}):
        for daemon in ({}, {"started_at": 2.0}, {"reported": []}):
            found = result(BEFORE, daemon=daemon, **options)
            assert "Entitlements" in found["diff"]["before"]
            assert "hush" not in json.dumps(found) and "proxies" not in json.dumps(found)


def test_the_result_says_what_was_written_what_is_obeyed_and_what_is_missing():
    rules = [{"min_free_space": "5GB"}, CEILING]
    found = result(None, "26.1.5", {"started_at": 2.0}, rules=rules)
    assert found["rendered"] == {"enabled": True, "policy": [{"keepStorage": "20GB"}]}
    assert found["diff"] == {"before": "", "after": json.dumps({"builder": {"gc": found["rendered"]}}, indent=4) + "\n"}
    assert found["in_effect"] == {"enabled": False, "rules": None}
    assert (found["changed"], found["restart_required"], found["in_effect_source"]) == (True, True, "start_time")
    (warning,) = found["warnings"]
    assert warning.startswith("rules[0]: engine 26.1.5 does not know min_free_space")
    assert result(None, state="absent")["rendered"] == {}


@pytest.mark.parametrize(
    ("in_file", "entries", "required"),
    [("20GB", "20GB", False), ("20GB", "9GB", True), ("9GB", "20GB", False), ("9GB", "9GB", True), ("9GB", None, None)],
)
def test_a_restart_is_needed_where_the_daemon_obeys_something_else(in_file, entries, required):
    text = json.dumps({"builder": {"gc": {"policy": [{"maxUsedSpace": in_file}]}}})
    daemon = {"reported": reported({"policy": [{"maxUsedSpace": entries}]}) if entries else None}
    found = result(text, daemon=daemon, rules=[CEILING])
    assert found["changed"] is (in_file != "20GB")
    assert found["restart_required"] is (True if required is None else required)


def test_traps_that_stay_in_the_file_are_warned_of():
    text = '{"builder": {"gc": {"enabled": true, "keepStorage": "1GB"}}}'
    (warning,) = result(text)["warnings"]
    assert warning.startswith("builder.gc.keepstorage: ") and warning.endswith("[gc_key_ignored]")
