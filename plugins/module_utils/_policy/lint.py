# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a GC policy in daemon.json that dockerd does not say, or says only by not starting. Pure.

Each Trap has a row in docs/gc_policy_traps.md with what each engine version makes of it. Sources: as in dialects.py.
"""

from __future__ import annotations

import re

from .._base.json_text import names_twice
from .._base.units import version_tuple
from .dialects import (
    DEFAULT_SIZE_KEYS,
    FIRST_WITH_MIN_FREE,
    SIZES_OPTIONAL,
    dialect,
    enabled_by_default,
)
from .idle import idle_traps
from .lint_filters import filter_traps
from .policy import Trap, policy_traps, sizes_contradict
from .reader import (
    TooLarge,
    engine_size,
    folded,
    from_daemon_json,
    is_filter,
    is_history_age,
)

_LARGEST = 2**62
"""Bytes: half of what the engine's integers hold."""

# What every version's size parser takes (docker/go-units, RAMInBytes; a regular expression until 2021).
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kmgtp])i?)?b?", re.IGNORECASE | re.ASCII)

_BROKEN = (
    "every run of the GC of engines before 28.0.2 fails with it on the graph driver (BuildKit issue 5821). Upgrade, or "
    "take it out."
)

_BUILDER_KEYS = {"gc", "entitlements", "history"}
_ALIAS = "defaultKeepStorage"
_ENTITLEMENTS = ("network-host", "security-insecure")

BLANK_IS_EMPTY = (23, 0)
FIRST_WITH_HISTORY = (24, 0)
HISTORY_AGE_AS_TEXT = (25, 0)
"""Moby, daemon/config: getConflictFreeConfiguration in config.go, BuilderHistoryConfig in builder.go."""

_RULE_SIZES = ("keepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace")


def traps(config, engine_version, text=None):
    """Return the Traps in ``config``, the dict of a daemon.json, for an engine of that version; ``text`` is the whole
    file, None where there is none."""
    found = list(_text_traps(text, engine_version))
    found += [
        Trap(
            "gc_key_ignored",
            key,
            'dockerd knows it only as "builder", in lower case, and refuses to start.',
            stops=True,
        )
        for key in config
        if key != "builder" and key.lower() == "builder"
    ]
    try:
        found += _builder(config.get("builder"), engine_version)
    except _WrongType as wrong:
        found.append(wrong.trap)
    return found


class _WrongType(Exception):
    """A value of a type that dockerd refuses; what lies below it is not looked at."""

    def __init__(self, where, expected):
        super().__init__(where)
        self.trap = Trap("gc_wrong_type", where, f"dockerd refuses to start: this must be {expected}.", stops=True)


def _text_traps(text, version):
    """Yield what is wrong with the file as text, though it holds a good configuration."""
    if text is None or version_tuple(version) >= BLANK_IS_EMPTY:
        return
    what = ""
    if text.startswith("\ufeff"):
        what = "a byte order mark. Save the file without one"
    elif not text.strip():
        what = "a file without anything in it. Write {} into it, or remove it"
    if what:
        yield Trap("gc_file_unreadable", "the file", f"engines before 23.0 refuse to start with {what}.", stops=True)


def _section(value, where):
    """Return a dict with its keys folded, refusing other types."""
    if not isinstance(value, (dict, type(None))):
        raise _WrongType(where, "an object")
    return folded(value)


def _of_type(section, key, where, kind, expected):
    value = section.get(key.lower())
    if value is not None and not isinstance(value, kind):
        raise _WrongType(f"{where}.{key}", expected)
    return value


def _builder(spelled, version):
    history = {"history"} if version_tuple(version) < FIRST_WITH_HISTORY else set()
    yield from _keys_twice(spelled, "builder", _BUILDER_KEYS - history)
    builder = _section(spelled, "builder")
    newer = {"proxy-network"} if version_tuple(version) >= (29,) else set()
    yield from _unknown_keys(builder, _BUILDER_KEYS | newer, "builder")
    yield from _around(builder, version)
    where = "builder.gc"
    section = _section(builder.get("gc"), where)
    yield from _keys_twice(builder.get("gc"), where, _lower("enabled", "policy", _ALIAS, *dialect(version).defaults))
    yield from _unknown_keys(section, _lower("enabled", "policy", *DEFAULT_SIZE_KEYS), where)
    enabled = _of_type(section, "enabled", where, bool, "true or false, without quotes")
    rules = _of_type(section, "policy", where, list, "a list of rules")
    found = _default_rules(section, where, version) if rules is None else _policy(section, rules, where, version)
    if enabled is False:
        # Only types are looked at; sizes and filters are never parsed.
        found = [trap for trap in found if trap.code == "gc_wrong_type"]
    elif enabled is None and not enabled_by_default(version):
        # Nor are they here, until somebody switches it on.
        found = [trap._replace(stops=trap.stops and trap.code in ("gc_wrong_type", "gc_key_ignored")) for trap in found]
    yield from found


def _default_rules(section, where, version):
    """Yield what is wrong with the sizes of the default rules."""
    limits = dialect(version).defaults
    yield from _sizes(section, DEFAULT_SIZE_KEYS, limits, _ALIAS, where, version)
    if len(limits) == 1:
        return
    policy = from_daemon_json({"gc": {**section, "enabled": True}}, version)
    contradiction = sizes_contradict(*policy.default_sizes[:2]) if policy else ""
    if contradiction:
        yield Trap("gc_sizes_contradict", where, contradiction)
    broken = version_tuple(version) < FIRST_WITH_MIN_FREE
    if broken and section.get("enabled") and not any(_is_set(section.get(key.lower())) for key in (*limits, _ALIAS)):
        yield Trap(
            "gc_min_free_broken",
            where,
            "the default rules have a minimum of free space, with which every run of the GC of engines before 28.0.2 "
            "fails on the graph driver (BuildKit issue 5821). Upgrade, or give rules without one.",
        )
    if not _is_set(section.get("defaultminfreespace")):
        return
    if broken:
        yield Trap("gc_min_free_broken", f"{where}.defaultMinFreeSpace", _BROKEN)
    elif not _is_set(section.get("defaultmaxusedspace")):
        yield Trap(
            "gc_min_free_alone",
            f"{where}.defaultMinFreeSpace",
            "without defaultMaxUsedSpace an engine removes a record at every run even where enough is free, or all of "
            "them before 28.1. Write defaultMaxUsedSpace beside it.",
        )


def _policy(section, rules, where, version):
    """Yield what is wrong with a policy's rules, and with what stands beside them."""
    one_cap = len(dialect(version).sizes) == 1
    for key in DEFAULT_SIZE_KEYS:
        if key in dialect(version).defaults or key == _ALIAS:
            _of_type(section, key, where, str, 'text such as "20GB"')
    if one_cap:
        yield from _sizes(section, DEFAULT_SIZE_KEYS, dialect(version).defaults, _ALIAS, where, version)
    if section.get("enabled") is None and not enabled_by_default(version):
        yield Trap("gc_disabled", where, f'engine {version} ignores the policy unless "enabled" is true. Add it.')
    defaults = [key for key in DEFAULT_SIZE_KEYS if section.get(key.lower())]
    if defaults and not one_cap:
        yield Trap(
            "gc_key_ignored",
            f"{where}.{defaults[0]}",
            "it shapes the default rules only, and is ignored beside a policy. Give each rule its sizes.",
        )
    intact = True
    for number, rule in enumerate(rules):
        found = list(_rule(rule, f"{where}.policy[{number}]", version, section.get("defaultkeepstorage")))
        intact = intact and not found
        yield from found
    policy = from_daemon_json({"gc": {**section, "enabled": True}}, version)
    if intact and policy:
        # Of a policy that is wrong as it stands, it is too early to say what is idle.
        yield from list(policy_traps(policy, f"{where}.policy")) or idle_traps(policy, f"{where}.policy")


def _keys_twice(section, where, read=None):
    """Yield the keys that stand in an object twice.

    ``read`` are the keys that this version reads, in lower case, as Go's decoder of a struct takes them; None for a
    map, of which it reads all, as they stand.
    """
    for name, values in names_twice(section, exact=read is None).items():
        yield Trap(
            "gc_key_ignored",
            where,
            f"{name} stands here twice; dockerd takes the last, and refuses to start where either is of a wrong type. "
            "Keep one.",
            # One of two types is the wrong one, but for filters, which have two.
            stops=(read is None or name in read)
            and len({type(value) for value in values if value is not None}) > 1
            and not (name == "filter" and all(map(is_filter, values))),
        )


def _lower(*keys):
    return {key.lower() for key in keys}


def _unknown_keys(section, known, where):
    for key in section:
        if key not in known:
            yield Trap(
                "gc_key_ignored", f"{where}.{key}", "dockerd knows no such key here, and ignores it. Take it out."
            )


def _around(builder, version):
    """Yield what is wrong with the sections beside ``gc``. maxAge is seconds in 24 and text since 25."""
    yield from _keys_twice(builder.get("entitlements"), "builder.entitlements", _ENTITLEMENTS)
    entitlements = _section(builder.get("entitlements"), "builder.entitlements")
    for key in _ENTITLEMENTS:
        _of_type(entitlements, key, "builder.entitlements", bool, "true or false, without quotes")
    if version_tuple(version) < FIRST_WITH_HISTORY:
        return
    where = "builder.history"
    yield from _keys_twice(builder.get("history"), where, ("maxentries", "maxage"))
    history = _section(builder.get("history"), where)
    _number(history, "maxEntries", where, "a whole number")
    if version_tuple(version) < HISTORY_AGE_AS_TEXT:
        _number(history, "maxAge", where, "a whole number of seconds")
        return
    age = _of_type(history, "maxAge", where, str, 'text such as "48h"')
    if age and not is_history_age(age):
        yield Trap(
            "gc_bad_duration",
            f"{where}.maxAge",
            "dockerd refuses to start with it. Write a duration such as 48h; it knows neither days nor weeks.",
            stops=True,
        )


def _number(section, key, where, expected):
    # Go takes no 50.0 for a whole number.
    if isinstance(_of_type(section, key, where, int, expected), bool):
        raise _WrongType(f"{where}.{key}", expected)


def _sizes(section, keys, known, alias, where, version):
    """Yield what is wrong with sizes. ``known`` are the keys of this version, ``alias`` an older name for the first."""
    for key in keys:
        if section.get(key.lower()) is None:
            continue
        place = f"{where}.{key}"
        if key not in known and key != alias:
            yield Trap(
                "gc_key_ignored", place, f"this engine does not know it, and ignores it. It knows {', '.join(known)}."
            )
            continue
        text = _of_type(section, key, where, str, 'text such as "20GB"')
        if key not in known and section.get(known[0].lower()):
            yield Trap(
                "gc_key_ignored",
                place,
                f"it is an older name for {known[0]}, which stands beside it and wins. Take it out.",
            )
        elif text.strip().endswith("%"):
            yield Trap(
                "gc_percentage",
                place,
                "dockerd takes no percentages and refuses to start. Give a size such as "
                "20GB, or let buildcache_gc_policy reckon it.",
                stops=True,
            )
        elif text and not _is_size(text):
            yield Trap(
                "gc_bad_size",
                place,
                "dockerd does not take this for a size and refuses to start, or reads it "
                "otherwise in other versions. Write a number and a unit, such as 20GB.",
                stops=not _is_taken(text, version),
            )


def _is_taken(text, version):
    try:
        engine_size(text, version)
    except TooLarge:
        return True
    except ValueError:
        return False
    return True


def _is_size(text):
    size = _SIZE.fullmatch(text)
    return bool(size) and float(size[1]) * 1024 ** (" kmgtp".index((size[2] or " ").lower())) <= _LARGEST


def _is_set(size):
    """Whether a size is more than nothing."""
    return bool(size and re.search("[1-9]", size))


def _rule(rule, where, version, default_size):
    try:
        yield from _rule_in_parts(rule, where, version, default_size)
    except _WrongType as wrong:
        yield wrong.trap


def _rule_in_parts(spelled, where, version, default_size):
    rule = _section(spelled, where)
    number = version_tuple(version)
    known = dialect(version).sizes
    yield from _keys_twice(spelled, where, _lower("all", "filter", "keepStorage", *known))
    yield from _unknown_keys(rule, _lower("all", "filter", *_RULE_SIZES), where)
    include_all = _of_type(rule, "all", where, bool, "true or false, without quotes")
    yield from _sizes(rule, _RULE_SIZES, known, "keepStorage", where, version)
    if len(known) == 1:
        size = rule.get("keepstorage")
        if not size and number < SIZES_OPTIONAL:
            yield Trap(
                "gc_keep_storage_missing",
                where,
                f'engine {version} refuses to start where a rule has no keepStorage. Add one; "0" is no limit.',
                stops=True,
            )
        elif size and not _is_set(size) and _is_set(default_size):
            yield Trap(
                "gc_zero_falls_back",
                f"{where}.keepStorage",
                "a zero is replaced by defaultKeepStorage. Take that out, or give the rule a size.",
            )
    elif _is_set(rule.get("minfreespace")) and number < FIRST_WITH_MIN_FREE:
        yield Trap(
            "gc_min_free_broken",
            f"{where}.minFreeSpace",
            _BROKEN,
        )
    elif _is_set(rule.get("minfreespace")) and not _is_set(rule.get("maxusedspace")):
        yield Trap(
            "gc_min_free_alone",
            f"{where}.minFreeSpace",
            "without maxUsedSpace an engine removes a record at "
            "every run even where enough is free, or all of them before 28.1. Write maxUsedSpace beside it.",
        )
    filters = rule.get("filter")
    if not is_filter(filters):
        raise _WrongType(f"{where}.filter", 'a list of texts such as ["type=regular"]')
    yield from _keys_twice(filters, f"{where}.filter")
    yield from filter_traps(filters, f"{where}.filter", version, include_all)
