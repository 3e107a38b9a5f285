# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_edit import with_value
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import (
    GC_PATH,
    BadConfig,
    parse,
    value_at,
)
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples

GC = {"enabled": True, "policy": [{"all": True}]}


@pytest.mark.parametrize("text", ["", " \r\n\t", "\ufeff", "{}", "\ufeff{ }\n"])
def test_a_blank_document_is_an_empty_one(text):
    assert parse(text) == {}


def test_keys_outside_the_builder_and_keys_of_another_case_at_the_top_are_left_to_the_daemon():
    text = '{"log-opts": {"a": 1, "a": 2}, "Debug": true, "debug": true, "builder": null}'
    assert parse(text) == {"log-opts": {"a": 2}, "Debug": True, "debug": True, "builder": None}


@pytest.mark.parametrize(
    ("text", "place", "trouble"),
    [
        ('{\n  "token": "hush",\n}', "line 3, column 1|line 2, column 18", "trailing commas"),
        ('{\n  // hush\n  "a": 1\n}', "line 2, column 3", "comments"),
        ('{"a": 1} hush', "line 1, column 10", "JSON"),
        ('{"token": "hush\n"}', "line 1, column 16", "JSON"),
        ('\ufeff{"token": "hush" 1}', "line 1, column 18", "JSON"),
        ("\ufeff\ufeff{}", "line 1, column 1", "JSON"),
        ('\n["hush"]', "line 2, column 1", "object"),
        ("null", "line 1, column 1", "object"),
        ('{"builder": "hush"}', "line 1, column 13", "object"),
        ('{"builder": {"GC":\n ["hush"]}}', "line 2, column 2", "object"),
        ('{"a": "\\"NaN hush", "b": [NaN]}', "line 1, column 27", "NaN"),
        ('{"a": "hush", "b": -Infinity}', "line 1, column 20", "Infinity"),
        ('{"hush": 1,\n "hush": 2}', "line 2, column 2", "already has"),
        ('{"hush": 1,\n "\\u0068ush": 2}', "line 2, column 2", "already has"),
        ('{"builder": {"gc": {}, "GC": {}}}', "line 1, column 24", "already has"),
        ('{"builder": {"gc": {"policy": [],\r\n"Policy": ["hush"]}}}', "line 2, column 1", "already has"),
    ],
)
def test_what_the_daemon_refuses_or_may_read_in_two_ways_is_refused_without_quoting_it(text, place, trouble):
    with pytest.raises(BadConfig, match=f"^({place}): .*{trouble}.*Correct the file") as refusal:
        parse(text)
    assert "hush" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 200_000, id="deep"),
        pytest.param(
            '{"a": ' + "9" * 5000 + "}",
            id="long number",
            marks=pytest.mark.skipif(
                not hasattr(sys, "set_int_max_str_digits"), reason="this Python reads numbers of any length"
            ),
        ),
    ],
)
def test_what_python_cannot_hold_is_refused(text):
    with pytest.raises(BadConfig, match="thousands of digits, or values nested"):
        parse(text)


def test_a_value_is_found_whatever_the_case_of_the_keys_below_the_top():
    assert value_at({"builder": {"Gc": GC}}, GC_PATH) == GC
    assert value_at({"Builder": {"gc": GC}}, GC_PATH) is None
    assert value_at({"builder": None}, GC_PATH) is None


LAYOUTS = {
    "no file": (None, '{\n    "builder": {\n        "gc": {\n            "enabled": true\n        }\n    }\n}\n'),
    "an empty object": ("{}", '{\n    "builder": {\n        "gc": {\n            "enabled": true\n        }\n    }\n}'),
    "two spaces": (
        '{\n  "debug": true\n}\n',
        '{\n  "debug": true,\n  "builder": {\n    "gc": {\n      "enabled": true\n    }\n  }\n}\n',
    ),
    "tabs, CRLF and an empty line": (
        '{\r\n\t"a": 1,\r\n\r\n\t"b": 2\r\n}',
        '{\r\n\t"a": 1,\r\n\r\n\t"b": 2,\r\n\t"builder": {\r\n\t\t"gc": {\r\n\t\t\t"enabled": true\r\n'
        "\t\t}\r\n\t}\r\n}",
    ),
    "no indentation": ('{\n"a": 1\n}', '{\n"a": 1,\n"builder": {\n"gc": {\n"enabled": true\n}\n}\n}'),
    "one line": ('{"a": 1}\n', '{"a": 1, "builder": {"gc": {"enabled": true}}}\n'),
    "a byte order mark": ('\ufeff{"a":1}', '\ufeff{"a":1, "builder": {"gc": {"enabled": true}}}'),
    "a builder with other keys": (
        '{\n  "builder": {\n    "Entitlements": {}\n  },\n  "a": 1\n}',
        '{\n  "builder": {\n    "Entitlements": {},\n    "gc": {\n      "enabled": true\n    }\n  },\n  "a": 1\n}',
    ),
    "a builder on one line": (
        '{\n  "builder": {"history": {}}\n}',
        '{\n  "builder": {"history": {}, "gc": {\n    "enabled": true\n  }}\n}',
    ),
    "an empty builder": (
        '{\n  "builder": {\n  }\n}',
        '{\n  "builder": {\n    "gc": {\n      "enabled": true\n    }\n  }\n}',
    ),
    "a builder of null": ('{"builder":null, "a":1}', '{"builder":{"gc": {"enabled": true}}, "a":1}'),
    "a policy in another case": ('{ "builder" : {"GC" :{ "x":1 }} }', '{ "builder" : {"GC" :{"enabled": true}} }'),
}


@pytest.mark.parametrize(("text", "expected"), LAYOUTS.values(), ids=list(LAYOUTS))
def test_a_value_is_laid_out_as_the_document_is(text, expected):
    assert with_value(text, GC_PATH, {"enabled": True}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("\n", "\n"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"builder": null}', '{"builder": null}'),
        ('{"builder": {}}', '{"builder": {}}'),
        ('{\n  "builder": {"gc": {}}\n}\n', "{}\n"),
        ('{"a": 1 , "builder": {"gc": {}} }', '{"a": 1 }'),
        ('{"builder": {"gc": {}} , "a": 1 }', '{"a": 1 }'),
        ('{"a": 1,\n "builder": {"gc": {}},\n "b": 1}', '{"a": 1,\n "b": 1}'),
        ('{"builder": {"x": 1, "GC": {}}}', '{"builder": {"x": 1}}'),
        ('{"builder": {"gc": null, "x": 1}}', '{"builder": {"x": 1}}'),
    ],
)
def test_removing_takes_the_comma_and_the_objects_left_empty(text, expected):
    assert with_value(text, GC_PATH, None) == expected


def test_values_of_any_kind_are_set_and_removed_one_by_one():
    text = '{\n  "builder": {\n    "GC": {\n      "Enabled": false\n    }\n  }\n}\n'
    text = with_value(text, (*GC_PATH, "enabled"), True)
    text = with_value(text, (*GC_PATH, "policy"), [{"all": True}])
    assert text == (
        '{\n  "builder": {\n    "GC": {\n      "Enabled": true,\n      "policy": [\n        {\n          "all": true\n'
        "        }\n      ]\n    }\n  }\n}\n"
    )
    text = with_value(text, (*GC_PATH, "ENABLED"), None)
    assert parse(text) == {"builder": {"GC": {"policy": [{"all": True}]}}}
    assert with_value(text, (*GC_PATH, "policy"), None) == "{}\n"


def test_a_path_through_something_else_than_objects_is_refused():
    with pytest.raises(BadConfig, match="^line 1, column 7: no object"):
        with_value('{"a": 1}', ("a", "b"), {})


# A busy machine is no failure.
unhurried = settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Documents as people write them: values and blank space in every spelling that JSON has.
blanks = st.text(alphabet=" \t\r\n", max_size=3)
keys = st.one_of(st.sampled_from(["debug", "Builder", "gc", "GC", 'a"b', "\\", "é", "}"]), st.text(max_size=4))
scalars = st.one_of(
    st.sampled_from(
        ["1.50", "-0", "1E400", "12345678901234567890", "true", "null", '"\\/"', '"}, \\"gc\\": {"', '"é"']
    ),
    st.text(max_size=6).map(json.dumps),
)


@st.composite
def values(draw, depth=2):
    kind = draw(st.sampled_from(["scalar", "array", "object"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(scalars)
    if kind == "array":
        return "[" + draw(blanks) + ",".join(draw(st.lists(values(depth - 1), max_size=2))) + draw(blanks) + "]"
    return draw(objects(none, depth - 1))


def anything(name):
    return True


@st.composite
def objects(draw, special, depth=2, allowed=anything):
    """An object of generated members and, somewhere among them, the ``special`` ones."""
    members = [
        json.dumps(name, ensure_ascii=draw(st.booleans())) + draw(blanks) + ":" + draw(blanks) + draw(values(depth))
        for name in draw(st.lists(keys.filter(allowed), max_size=3, unique_by=str.casefold))
    ]
    for member in draw(special):
        members.insert(draw(st.integers(0, len(members))), member)
    spaced = [draw(blanks) + member + draw(blanks) for member in members]
    return "{" + (",".join(spaced) or draw(blanks)) + "}"


def members(names, spelled):
    return st.tuples(st.sampled_from(names), blanks, spelled).map(lambda parts: ['"{}"{}:{}'.format(*parts)])


none = st.just([])


def builder_with(policy):
    return objects(policy, allowed=lambda name: name.casefold() != "gc")


def document_with(builder):
    root = objects(builder, allowed=lambda name: name != "builder")
    return st.tuples(blanks, root, blanks).map("".join)


without_policy = document_with(st.one_of(none, members(["builder"], builder_with(none))))
with_policy = document_with(members(["builder"], builder_with(members(["gc", "GC"], objects(none)))))
new_values = st.dictionaries(
    st.text(alphabet='aé"\\}\n', max_size=3), st.one_of(st.booleans(), st.lists(st.text(max_size=3), max_size=2))
)


@unhurried
@given(st.one_of(without_policy, with_policy), new_values)
def test_the_value_is_set_and_no_other(text, value):
    before, after = parse(text), parse(with_value(text, GC_PATH, value))
    assert value_at(after, GC_PATH) == value
    builder = before.get("builder", {})
    name = next((key for key in builder if key.casefold() == "gc"), "gc")
    assert list(after.items()) == list({**before, "builder": {**builder, name: value}}.items())


@unhurried
@given(st.one_of(without_policy, with_policy), new_values)
def test_removing_removes_the_value_and_no_other(text, value):
    expected = parse(text)
    others = {key: own for key, own in expected.get("builder", {}).items() if key.casefold() != "gc"}
    if others:
        expected["builder"] = others
    else:
        expected.pop("builder", None)
    assert parse(with_value(with_value(text, GC_PATH, value), GC_PATH, None)) == expected


@unhurried
@given(without_policy, new_values)
def test_adding_keeps_every_byte_and_removing_gives_the_text_back(text, value):
    builder = parse(text).get("builder")
    # Of an empty builder and of blank space in an empty document nothing tells, afterwards, that they were there.
    assume(builder != {} and (parse(text) or "{}" in text))
    added = with_value(text, GC_PATH, value)
    # What an empty document gains stands between its braces, in any other it is one piece at the end of an object.
    assert any(added.startswith(text[:at]) and added.endswith(text[at:]) for at in range(len(text) + 1))
    assert with_value(added, GC_PATH, None) == text


@unhurried
@given(st.data(), new_values)
def test_replacing_keeps_every_byte_around(data, value):
    policy = '{"hash": "5a3c"}'
    text = data.draw(document_with(members(["builder"], builder_with(members(["gc", "GC"], st.just(policy))))))
    before, after = text.split(policy)
    replaced = with_value(text, GC_PATH, value)
    assert replaced.startswith(before) and replaced.endswith(after)
    assert parse(before + json.dumps(value) + after) == parse(replaced)
