# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine makes of a GC policy, in daemon.json or in its own report, in our terms. Pure.

Sources: as in dialects.py; docker/go-units (RAMInBytes), Go's time.ParseDuration, and encoding/json; moby,
api/types/time (GetTimestamp).
"""

from __future__ import annotations

import json
import math
import re

from .._base.json_text import names_twice
from .._base.units import SECOND, version_tuple
from .dialects import (
    SIZES_OPTIONAL,
    dialect,
    enabled_by_default,
)
from .policy import TYPES, Policy, PolicyRule, grouped

FLAGS = ("shared", "private", "mutable", "immutable")
"""Filters that are tests of presence: they take no value (BuildKit, cache/manager.go, adaptUsageInfo)."""

AGES = ("until", "unused-for")
_EXPRESSED = ("id", "parent", "type", "description", "inuse", *FLAGS)
"""The filters that the engine makes one expression of (moby, builder-next/builder.go, cacheFields), in any order."""

FILTERS_WITHOUT_VALUE = (23, 0)
"""The first engine that does not crash with a list of filters in which one has no value."""

SIZES_AS_FLOATS = (28, 0)
"""The first engine that is sure to read the number of a size as Go reads a float (docker/go-units 0.5); before, by a
regular expression. Docker's own packages do since 23.0, but Debian's 26.1.5 does not."""

MOMENTS_AS_AGES = (24, 0)
"""The first engine that takes a point in time for the age of a filter (moby, builder-next/builder.go)."""

_LARGEST = 2**63 - 1

_SIZE_BEFORE = re.compile(r"(\d+(?:\.\d+)*) ?([kmgtp])?i?b?", re.IGNORECASE | re.ASCII)
_DIGITS = r"\d+(?:_\d+)*"
_FLOAT = re.compile(rf"[+-]?(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:e[+-]?{_DIGITS})?", re.IGNORECASE | re.ASCII)
_UNIT = re.compile(r"b?|([kmgtp])(?:i?b)?", re.ASCII)

_AGE = re.compile(r"\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_AGE_PART = re.compile(r"(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_AGE_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_MOMENT = re.compile(
    r"\+?\d{1,18}(?:\.\d+)?|\d{4}-\d\d-\d\d(?:T\d\d(?::\d\d){0,2}(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)

# A value of containerd's filter language: bare, or in quotes with the escapes that it shares with JSON.
_VALUE = re.compile(r'([^\s,"/|=~!.][^\s,"]*)|"(?:[^"\\\n\0\ufffd\ud800-\udfff]|\\["\\bfnrt]|\\u[0-9a-fA-F]{4})*"')
# The clauses of an expression, with a comma between them, and what one is made of.
_CLAUSES = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,])+', re.DOTALL)
_CLAUSE = re.compile(r"(?P<key>[a-z]+)(?P<operator>[=~]=)?(?P<value>.*)", re.DOTALL)


def folded(section):
    """Return a dict with its keys in lower case, as Go's decoder takes them; {} for null."""
    return {} if section is None else {key.lower(): value for key, value in section.items()}


class TooLarge(ValueError):
    """A size that an engine takes, and of which it makes what its processor makes of too large a number."""


def engine_size(text, engine_version):
    """Return the bytes that an engine makes of a size, 0 for an empty text.

    Raises ValueError where it refuses it, TooLarge where it does not, and its integers do not hold it.
    """
    if not text:
        return 0
    if version_tuple(engine_version) < SIZES_AS_FLOATS:
        size = _SIZE_BEFORE.fullmatch(text)
        if not size:
            raise ValueError(text)
        number, unit = size.groups()
    else:
        end = max(text.rfind(one) for one in "0123456789. ") + 1
        number, unit = text[:end], _UNIT.fullmatch(text[end:].lower())
        number = number[:-1] if number.endswith(" ") else number
        if not (unit and _FLOAT.fullmatch(number)):
            raise ValueError(text)
        unit = unit.group(1)
    number = float(number)
    found = number * 1024 ** " kmgtp".index((unit or " ").lower())
    if number < 0 or math.isinf(number):
        raise ValueError(text)
    if found > _LARGEST:
        raise TooLarge(text)
    return int(found)


def engine_age(text, engine_version):
    """Return the nanoseconds that an engine makes of an age, 0 where it then matches any.

    Raises ValueError where the engine refuses it, and where it is no age but a point in time (see is_moment) or lies in
    the future.
    """
    if text in ("+0", "-0") or (text == "0" and version_tuple(engine_version) < MOMENTS_AS_AGES):
        return 0
    if not _AGE.fullmatch(text):
        raise ValueError(text)
    found = 0
    for whole, fraction, unit in _AGE_PART.findall(text):
        found += int(whole or 0) * _AGE_UNITS[unit] + int(fraction or 0) * _AGE_UNITS[unit] // 10 ** len(fraction)
    if found > _LARGEST:
        raise ValueError(text)
    return found


def is_moment(text, engine_version):
    """Whether an engine takes the text of an age for a point in time: each does with less than nothing, which lies in
    the future; newer ones with all that looks like one."""
    ahead = re.match(r"-[\d.]", text) and _AGE.fullmatch(text[1:])
    return bool(ahead or (version_tuple(engine_version) >= MOMENTS_AS_AGES and _MOMENT.fullmatch(text)))


def is_history_age(text):
    """Whether an engine takes the text for the age in builder.history (BuildKit, cmd/buildkitd/config, Duration)."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return not text or bool(re.fullmatch(r"[+-]?\d+", text, re.ASCII) or _AGE.fullmatch(text[text[0] == "-" :]))


def is_readable(value):
    """Whether containerd's filter language reads ``value`` as it looks. Bare, each character has to be a visible one
    (containerd, pkg/filters/scanner.go, isValueRune)."""
    found = _VALUE.fullmatch(value)
    return bool(found) and (found.group(1) is None or value.isprintable())


def is_filter(filters):
    """Whether a value has a type that dockerd takes for the filters of a rule."""
    if isinstance(filters, dict):
        leaves = [one for one in filters.values() if one is not None]
        return all(
            isinstance(values, dict) and all(isinstance(leaf, (bool, type(None))) for leaf in values.values())
            for values in leaves
        )
    # Go reads null for a text as an empty one.
    return filters is None or (
        isinstance(filters, list) and all(isinstance(text, (str, type(None))) for text in filters)
    )


def bare_filters(filters):
    """Return the keys of the filters without a value in a list of them; none where they are an object."""
    texts = filters if isinstance(filters, list) else []
    return [(text or "").strip().lower() for text in texts if "=" not in (text or "")]


def crashes(filters, engine_version):
    """Whether an engine crashes with these filters: it did not expect one without a value in a list."""
    return bool(bare_filters(filters)) and version_tuple(engine_version) < FILTERS_WITHOUT_VALUE


def from_daemon_json(builder, engine_version):
    """Return the Policy that an engine reads from the section ``builder`` of daemon.json.

    What the engine ignores is left out; filters without a name among our terms stand in ``other``, as BuildKit has
    them. None where the engine would refuse the section ``gc``, and where what it makes of it is not certain: a key
    twice in one object, a point in time for an age. One that is not enabled may hold any size and filter.
    """
    enabled = None
    try:
        section = folded(_typed(folded(_typed(builder, dict)).get("gc"), dict))
        enabled = _typed(section.get("enabled"), bool)
        if enabled is None:
            enabled = enabled_by_default(engine_version)
        rules = _typed(section.get("policy"), list)
        # Whatever is wrong with a value, a type is refused before.
        spelled = None if rules is None else [_typed_rule(rule, engine_version) for rule in rules]
        defaults = _typed_sizes(section, dialect(engine_version).defaults, "defaultkeepstorage")
    except TypeError:
        return None
    try:
        if spelled and len(defaults) > 1:
            # They are not even looked at.
            defaults = ()
        sizes = (*(engine_size(text, engine_version) for text in defaults), 0, 0, 0)[:3]
        if spelled is None:
            return Policy(enabled, default_sizes=sizes)
        return Policy(enabled, tuple(_rule_read(rule, engine_version, sizes) for rule in spelled))
    except ValueError:
        return None if enabled else Policy(enabled=False)


def _typed(value, kind):
    if not isinstance(value, (kind, type(None))) or names_twice(value):
        raise TypeError
    return value


def _typed_rule(rule, engine_version):
    """Return a rule with its keys folded. Raises TypeError for a type that the engine refuses."""
    rule = folded(_typed(rule, dict))
    _typed(rule.get("all"), bool)
    filters = rule.get("filter")
    if not is_filter(filters) or (isinstance(filters, dict) and names_twice(filters, exact=True)):
        raise TypeError
    _typed_sizes(rule, dialect(engine_version).sizes, "keepstorage")
    return rule


def _typed_sizes(section, keys, alias):
    """Return the texts of these keys; ``alias`` is an older name for the first of them."""
    first, *others = (_typed(section.get(key.lower()), str) for key in keys)
    return (first or _typed(section.get(alias), str), *others)


def _rule_read(rule, engine_version, defaults):
    keys = dialect(engine_version).sizes
    sizes = tuple(engine_size(text, engine_version) for text in _typed_sizes(rule, keys, "keepstorage"))
    if len(keys) == 1:
        if not rule.get("keepstorage") and version_tuple(engine_version) < SIZES_OPTIONAL:
            raise ValueError
        sizes = (0, sizes[0] or defaults[0], 0)
    pairs = filters_of(rule.get("filter"))
    if crashes(rule.get("filter"), engine_version):
        raise ValueError
    ages = [value for key, values in pairs if key in AGES for value in values]
    if len(ages) > 1 or any(len(values) > 1 for key, values in pairs if key in _EXPRESSED):
        raise ValueError
    found = PolicyRule(
        unused_for=engine_age(ages[0], engine_version) if ages else 0,
        all=bool(rule.get("all")),
        reserved_space=sizes[0],
        max_used_space=sizes[1],
        min_free_space=sizes[2],
    )
    clauses = [
        f"{key}{'~=' if key == 'id' else '=='}{values[0]}" if values else key
        for key, values in pairs
        if key in _EXPRESSED
    ]
    return _with_expression(found, ",".join(clauses))


def filters_of(filters):
    """Return the filters of a rule of daemon.json, in either form, as pairs of a key and the list of its values."""
    if isinstance(filters, dict):
        return [(key, list(values or ())) for key, values in filters.items()]
    found = {}
    for text in filters or ():
        key, _equals, value = (text or "").partition("=")
        found.setdefault(key.strip().lower(), {})[value.strip()] = True
    return [(key, list(values)) for key, values in found.items()]


def _with_expression(rule, text):
    """Return the rule with a filter of BuildKit: clauses of which all must hold, in any order."""
    other = []
    for clause in sorted(_CLAUSES.findall(text)):
        parts = _CLAUSE.fullmatch(clause)
        term = _term(**parts.groupdict()) if parts else {}
        # A second clause about the same is one more condition.
        if term and all(getattr(rule, name) in ((), None) for name in term):
            rule = rule._replace(**term)
        else:
            other.append(clause)
    return rule._replace(other=tuple(other))


def _term(key, operator, value):
    """Return what a clause is among the terms of a PolicyRule, as a dict; {} where it has no name there."""
    if key in ("shared", "private") and not operator and not value:
        return {"shared": key == "shared"}
    if (key, operator) == ("type", "==") and value in TYPES:
        return {"types": (value,)}
    if (key, operator) == ("id", "~=") and re.fullmatch("[a-z0-9]+", value):
        return {"id": value}
    if (key, operator) == ("description", "==") and is_readable(value):
        return {"description": json.loads(value, strict=False) if value[0] == '"' else value}
    return {}


def from_report(entries):
    """Return the rules that a running engine says it obeys: PolicyRules of the GCPolicy entries of `buildx ls`.

    Ages are cut to whole seconds (see in_effect).
    """
    return tuple(_reported_rule(entry) for entry in entries)


def _reported_rule(entry):
    rule = PolicyRule(
        unused_for=entry.get("keepDuration", 0) // SECOND * SECOND,
        all=bool(entry.get("all")),
        reserved_space=entry.get("reservedSpace", 0),
        max_used_space=entry.get("maxUsedSpace", 0),
        min_free_space=entry.get("minFreeSpace", 0),
    )
    return rule_with_alternatives(rule, entry.get("filter") or ())


def rule_with_alternatives(rule, filters):
    """Return the PolicyRule with a list of filters of BuildKit, of which any may match; "" matches everything.

    Only buildkitd.toml can name several. Those that differ in their type alone are one rule of ours.
    """
    filters = [text for text in filters if text]
    found = list(grouped(_with_expression(rule, text) for text in filters or [""]))
    return found[0] if len(found) == 1 else rule._replace(other=tuple(filters))
