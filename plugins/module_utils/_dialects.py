# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each version of the engine, and of BuildKit alone, spells a GC policy: from our terms and back. Pure.

Sources: moby, daemon/config/builder.go and builder-next/controller.go (getGCPolicy), builder-next/builder.go
(toBuildkitPruneInfo), 19.03 to 29; BuildKit, cmd/buildkitd/config (0.10 to 0.32).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import FIRST_WITH_DESCRIPTION
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import (
    BOUNDLESS,
    TYPES,
    Policy,
    PolicyRule,
    settled,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import (
    SECOND,
    docker_size,
    go_duration,
    parse_duration,
    parse_size,
    version_tuple,
)

FIRST_WITH_GC = (19, 3)
"""The first engine with builder.gc in daemon.json (moby, daemon/config/builder.go)."""

ENABLED_BY_DEFAULT = (28, 2)
"""The first engine that collects garbage unless told not to (moby, daemon/config/builder.go, IsEnabled)."""

SIZES_OPTIONAL = (27, 5)
"""The first engine that starts with a rule without keepStorage (moby, builder-next/controller.go, getGCPolicy)."""

FIRST_WITH_MIN_FREE = (28, 0, 2)
"""28.0.0 has the key, but every run of its GC fails with the graph driver (BuildKit issue 5821)."""

_FIRST_WITH = {
    "engine": {"min_free_space": FIRST_WITH_MIN_FREE, "description": FIRST_WITH_DESCRIPTION},
    "BuildKit": {"min_free_space": (0, 17), "description": (0, 14)},
}

FLAGS = ("shared", "private", "mutable", "immutable")
"""Filters that are tests of presence: they take no value (BuildKit, cache/manager.go, adaptUsageInfo)."""

_AGES = ("until", "unused-for")
_EXPRESSED = ("id", "parent", "type", "description", "inuse", *FLAGS)
"""The filters that the engine makes one expression of (moby, builder-next/builder.go, cacheFields), in any order."""

READABLE_VALUE = re.compile(
    r'[^\s,"/|=~!.][^\s,"]*|"(?:[^"\\\n\0\ufffd\ud800-\udfff]|\\["\\bfnrt]|\\u[0-9a-fA-F]{4})*"'
)
"""A value of containerd's filter language: bare, or in quotes with the escapes that it shares with JSON."""

# The clauses of an expression, with a comma between them, and what one is made of.
_CLAUSES = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,])+', re.DOTALL)
_CLAUSE = re.compile(r"(?P<key>[a-z]+)(?P<operator>[=~]=)?(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Dialect:
    """The keys for sizes since a version: of a rule, and of the default rules. One key: there is only one cap."""

    since: tuple
    sizes: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    text: bool = True


_ENGINES = (
    Dialect(
        (28, 0, 0),
        ("reservedSpace", "maxUsedSpace", "minFreeSpace"),
        ("defaultReservedSpace", "defaultMaxUsedSpace", "defaultMinFreeSpace"),
    ),
    Dialect((0, 0, 0), ("keepStorage",), ("defaultKeepStorage",)),
)
# ``text``: whether sizes and durations may be text; before, they are bytes and seconds.
_BUILDKITS = (
    Dialect((0, 17, 0), ("reservedSpace", "maxUsedSpace", "minFreeSpace")),
    Dialect((0, 12, 0), ("keepBytes",)),
    Dialect((0, 0, 0), ("keepBytes",), text=False),
)

DEFAULT_SIZE_KEYS = tuple(sorted({key for row in _ENGINES for key in row.defaults}))
"""What shapes the default rules, in any version's spelling."""


def dialect(engine_version):
    """Return the Dialect of an engine's daemon.json."""
    return next(row for row in _ENGINES if version_tuple(engine_version) >= row.since)


def enabled_by_default(engine_version):
    """Whether an engine collects garbage where daemon.json does not say."""
    return version_tuple(engine_version) >= ENABLED_BY_DEFAULT


def supported(policy, version, approximate=False, product="engine"):
    """Return the Policy as far as an engine (or, by ``product``, a "BuildKit") can obey it, and what is missing as
    sentences.

    Raises BadOption, naming rule and version, where it cannot do what a rule asks; with ``approximate`` the rule is
    replaced by the nearest that removes no more, or left out.
    """
    rules, missing = [], []
    for number, rule in enumerate(policy.rules or ()):
        lack = _lack(rule, version_tuple(version), _FIRST_WITH[product])
        if not lack:
            # Free space that never counts is not asked for, since engines before 28.0.2 fail with the mere key.
            rules.append(settled(rule) if rule.min_free_space else rule)
            continue
        what, first, instead = lack
        what = (
            f"rules[{number}]: {product} {version} does not know {what}; {'.'.join(map(str, first))} is the first "
            "that does"
        )
        if not approximate:
            raise BadOption(
                f"{what}. With unsupported=approximate the nearest rule that removes no more takes its place. "
                "[gc_rule_unsupported]"
            )
        rules += instead
        missing.append(f"{what}. The rule is {'kept without it' if instead else 'left out'}.")
    if policy.rules and not rules:
        raise BadOption(f"No rule is left: {' '.join(missing)} [gc_rule_unsupported]")
    return (replace(policy, rules=tuple(rules)) if policy.rules else policy), missing


def _lack(rule, version, first_with):
    """Return what a version cannot do of a rule, the first that can, and what may stand in its place; None for
    nothing."""
    if rule.description and version < first_with["description"]:
        return "the filter description", first_with["description"], []
    if settled(rule).min_free_space and version < first_with["min_free_space"]:
        # Free space only ever lowers the cap below max_used_space. Without that, the rule may have to keep everything.
        bounded = rule.max_used_space < BOUNDLESS
        return "min_free_space", first_with["min_free_space"], [replace(rule, min_free_space=0)] if bounded else []
    return None


def to_daemon_json(policy, engine_version):
    """Return what ``builder.gc`` of daemon.json holds for a Policy: a dict of ``enabled`` and, where the policy has
    rules, ``policy``."""
    section = {"enabled": policy.enabled}
    if policy.rules is not None:
        keys = dialect(engine_version).sizes
        section["policy"] = [_daemon_rule(rule, kind, keys) for rule in policy.rules for kind in rule.types or (None,)]
    return section


def _daemon_rule(rule, kind, keys):
    """Return one rule of daemon.json: an engine cannot say "this type or that", so ``kind`` is one of them or None."""
    filters = {}
    if kind:
        filters["type"] = kind
    if rule.unused_for:
        filters["unused-for"] = go_duration(rule.unused_for)
    if rule.id:
        filters["id"] = rule.id
    if rule.description:
        # The engine glues key and value together to an expression of containerd's filter language.
        filters["description"] = json.dumps(rule.description, ensure_ascii=False)
    found = {}
    if rule.all:
        found["all"] = True
    if rule.shared is not None:
        # Only the older form of filters, an object, can name one without a value.
        flag = {"shared" if rule.shared else "private": {}}
        found["filter"] = {**{key: {value: True} for key, value in filters.items()}, **flag}
    elif filters:
        found["filter"] = [f"{key}={value}" for key, value in filters.items()]
    found.update(_spelled_sizes(rule, keys, docker_size))
    return found


def _spelled_sizes(rule, keys, spell):
    if len(keys) == 1:
        return {keys[0]: spell(max(rule.reserved_space, rule.max_used_space))}
    sizes = (rule.reserved_space, rule.max_used_space, rule.min_free_space)
    return {key: spell(size) for key, size in zip(keys, sizes) if size}


def to_buildkitd_toml(policy, buildkit_version):
    """Return what a worker's section of buildkitd.toml holds for a Policy: a dict of ``gc`` and, where the policy has
    rules, ``gcpolicy``. An empty list of rules means the default rules there, and is therefore written as gc = false.
    """
    if policy.rules == ():
        return {"gc": False}
    section = {"gc": policy.enabled}
    if policy.rules is not None:
        row = next(row for row in _BUILDKITS if version_tuple(buildkit_version) >= row.since)
        section["gcpolicy"] = [_buildkitd_rule(rule, row) for rule in policy.rules]
    return section


def _buildkitd_rule(rule, row):
    found = {"all": rule.all}
    if rule.unused_for:
        # Rounded up where only whole seconds can be said: never younger than asked.
        found["keepDuration"] = go_duration(rule.unused_for) if row.text else -(-rule.unused_for // SECOND)
    shared_filters = [f"id~={rule.id}"] if rule.id else []
    if rule.description:
        shared_filters.append(f"description=={json.dumps(rule.description, ensure_ascii=False)}")
    if rule.shared is not None:
        shared_filters.append("shared" if rule.shared else "private")
    # A list is an OR, a comma an AND.
    alternatives = [",".join([f"type=={kind}", *shared_filters]) for kind in rule.types]
    if alternatives or shared_filters:
        found["filters"] = alternatives or [",".join(shared_filters)]
    found.update(_spelled_sizes(rule, row.sizes, docker_size if row.text else int))
    return found


def folded(section):
    """Return a dict with its keys in lower case, as Go's decoder takes them; {} for null."""
    return {} if section is None else {key.lower(): value for key, value in section.items()}


def from_daemon_json(builder, engine_version):
    """Return the Policy that an engine reads from the section ``builder`` of daemon.json.

    What the engine ignores is left out; filters without a name among our terms stand in ``other``, as BuildKit has
    them. None where the engine would refuse the section. One that is not enabled may hold any size and filter.
    """
    enabled = None
    try:
        section = folded(folded(builder).get("gc"))
        enabled = _of_type(section.get("enabled"), bool)
        if enabled is None:
            enabled = enabled_by_default(engine_version)
        defaults = (*_sizes_read(section, dialect(engine_version).defaults, "defaultkeepstorage"), 0, 0)[:3]
        rules = _of_type(section.get("policy"), list)
        if rules is None:
            return Policy(enabled, default_sizes=defaults)
        return Policy(enabled, tuple(_rule_read(folded(rule), engine_version, defaults) for rule in rules))
    except (AttributeError, TypeError):
        return None
    except (BadOption, ValueError, OverflowError):
        return None if enabled else Policy(enabled=False)


def _of_type(value, kind):
    if not isinstance(value, (kind, type(None))):
        raise TypeError
    return value


def _rule_read(rule, engine_version, defaults):
    keys = dialect(engine_version).sizes
    sizes = _sizes_read(rule, keys, "keepstorage")
    if len(keys) == 1:
        if not rule.get("keepstorage") and version_tuple(engine_version) < SIZES_OPTIONAL:
            raise ValueError
        sizes = (0, sizes[0] or defaults[0], 0)
    found = PolicyRule(
        all=bool(_of_type(rule.get("all"), bool)),
        reserved_space=sizes[0],
        max_used_space=sizes[1],
        min_free_space=sizes[2],
    )
    clauses = []
    for key, values in filters_of(rule.get("filter")):
        if len(values) > 1 or (key in _AGES and found.unused_for):
            raise ValueError
        value = values[0] if values else None
        if key in _AGES and re.fullmatch(r"[0-9.a-zµ]*[1-9][0-9.a-zµ]*", value or ""):
            found = replace(found, unused_for=parse_duration(value, key))
        elif key in (*_AGES, *_EXPRESSED):
            clauses.append(key if value is None else f"{key}{'~=' if key == 'id' else '=='}{value}")
    return _with_expression(found, ",".join(clauses))


def _sizes_read(section, keys, alias):
    """Return the bytes of these keys; ``alias`` is an older name for the first of them."""
    first, *others = (section.get(key.lower()) for key in keys)
    older = _of_type(section.get(alias), str)
    return tuple(_size(text) for text in (older if first in (None, "") else first, *others))


def _size(text):
    if not _of_type(text, str):
        return 0
    size = re.fullmatch("([0-9.]+)( ?[A-Za-z]*)", text)
    if not size:
        raise ValueError
    return int(float(size[1]) * parse_size(f"1{size[2]}", "size").value)


def filters_of(filters):
    """Return the filters of a rule of daemon.json, in either form, as pairs of a key and the list of its values."""
    if isinstance(filters, dict):
        return [(key, list(_of_type(values, dict) or ())) for key, values in filters.items()]
    found = {}
    for text in _of_type(filters, list) or ():
        key, _equals, value = text.partition("=")
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
            rule = replace(rule, **term)
        else:
            other.append(clause)
    return replace(rule, other=tuple(other))


def _term(key, operator, value):
    """Return what a clause is among the terms of a PolicyRule, as a dict; {} where it has no name there."""
    if key in ("shared", "private") and not operator and not value:
        return {"shared": key == "shared"}
    if (key, operator) == ("type", "==") and value in TYPES:
        return {"types": (value,)}
    if (key, operator) == ("id", "~=") and re.fullmatch("[a-z0-9]+", value):
        return {"id": value}
    if (key, operator) == ("description", "==") and READABLE_VALUE.fullmatch(value):
        return {"description": json.loads(value, strict=False) if value[0] == '"' else value}
    return {}


def from_report(entries):
    """Return the rules that a running engine says it obeys: PolicyRules of the GCPolicy entries of `buildx ls`.

    Ages are cut to whole seconds (see _in_effect).
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
    found = [_with_expression(rule, text) for text in filters or [""]]
    if len(found) > 1 and all(one.types and replace(one, types=found[0].types) == found[0] for one in found):
        return replace(found[0], types=tuple(kind for one in found for kind in one.types))
    return found[0] if len(found) == 1 else replace(rule, other=tuple(filters))
