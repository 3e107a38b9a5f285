# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the filters of a rule in daemon.json; a part of lint.py. Pure.

Sources: as in dialects.py, and containerd's filter language (pkg/filters).
"""

from __future__ import annotations

import re

from .._base.units import version_tuple
from .._cache.filters import FIRST_WITH_DESCRIPTION
from .policy import TYPES, Trap
from .reader import (
    AGES,
    FLAGS,
    bare_filters,
    crashes,
    engine_age,
    filters_of,
    is_moment,
    is_readable,
)

_LONGEST = 2**62
"""Nanoseconds: half of what the engine's integers hold."""

_PLAIN_ID = re.compile(r"\^?[a-z0-9]+\$?")


def filter_traps(filters, where, engine_version, include_all):
    """Yield the Traps in the filters of a rule, for an engine of that version."""
    bare = bare_filters(filters)
    if bare:
        yield Trap(
            "gc_filter_without_value",
            where,
            f"{bare[0]!r} has no value: engines to 20.10 crash; later ones refuse to start where it is an age, and "
            "fail at every GC where it is not, and skip the rules after it. Write key=value; in the older form of an "
            'object, {"private": {}} can stand without.',
            stops=crashes(filters, engine_version) or any(text in AGES for text in bare),
        )
    pairs = filters_of(filters)
    if set(AGES) <= {key for key, values in pairs if values}:
        yield Trap(
            "gc_until_and_unused_for",
            where,
            "dockerd refuses to start with both until and unused-for. They mean the same: keep one.",
            stops=True,
        )
    for key, values in pairs:
        if len(values) > 1 and (key in _FILTERS or key in FLAGS):
            yield Trap(
                "gc_two_values",
                where,
                f"dockerd refuses to start with two values for {key}. Write a rule for each.",
                stops=True,
            )
        elif values != [""] or key not in bare:
            yield from _filter(key, values[0] if values else None, where, engine_version, include_all)


def _filter(key, value, where, engine_version, include_all):
    if key in FLAGS:
        if value is not None:
            yield Trap(
                "gc_policy_never_matches",
                where,
                f"{key} takes no value, and with one matches no record. Write "
                f'the filter as an object, {{"{key}": {{}}}}.',
            )
        elif key == "shared" and not include_all:
            yield Trap("gc_policy_never_matches", where, "shared records are only removed by a rule with all: true.")
    elif key not in _FILTERS:
        operator = "; there is no operator but =" if key[-1:] in "!~<>" else ""
        yield Trap(
            "gc_filter_ignored",
            where,
            f"engines know no filter {key!r}{operator}, and drop it: the rule "
            "removes what it was to spare. Take it out.",
        )
    elif value is None:
        yield Trap(
            "gc_filter_without_value",
            where,
            f"{key} needs a value; without one every GC fails, or the filter matches every record.",
        )
    else:
        yield from _FILTERS[key](key, value, where, engine_version, include_all)


def _age(key, value, where, engine_version, _all):
    try:
        good, refused = 0 < engine_age(value, engine_version) < _LONGEST, False
    except ValueError:
        good, refused = False, not is_moment(value, engine_version)
    if not good:
        yield Trap(
            "gc_bad_duration",
            where,
            f"{key} needs a duration larger than zero such as 48h; dockerd knows "
            "neither days nor weeks, and refuses to start with what it cannot read, or takes it for a point in "
            "time.",
            stops=refused,
        )


def _value(key, value, where):
    """Yield what is wrong with a value as a part of an expression of the filter language."""
    if value[:1] in ("=", "~", "!"):
        yield Trap(
            "gc_filter_operator",
            where,
            f"{key}= is the only way to write it; a second operator makes every GC fail, and skip the rules after it.",
        )
    elif "," in value and not value.startswith('"'):
        yield Trap(
            "gc_filter_comma",
            where,
            f"a comma in the value of {key} begins another condition, all of which must hold; "
            "no record meets both, or every GC fails. Write a rule for each.",
        )
    elif not is_readable(value):
        yield Trap(
            "gc_filter_unreadable",
            where,
            f"the value of {key} makes every GC fail, and skip the rules after it. Put it in double quotes.",
        )


def _type(key, value, where, _version, include_all):
    unreadable = list(_value(key, value, where))
    yield from unreadable
    if not unreadable and value not in TYPES:
        yield Trap("gc_policy_never_matches", where, f"no record is of type {value!r}; types are {', '.join(TYPES)}.")


def _id(key, value, where, _version, _all):
    unreadable = list(_value(key, value, where))
    yield from unreadable
    if not unreadable and not _PLAIN_ID.fullmatch(value):
        yield Trap(
            "gc_filter_unreadable",
            where,
            "id is a regular expression that is put into another expression; "
            "only a part of an id (a-z, 0-9), with ^ and $ at its ends, is sure to be read as it looks.",
        )


def _description(key, value, where, engine_version, _all):
    yield from _value(key, value, where)
    if version_tuple(engine_version) < FIRST_WITH_DESCRIPTION:
        yield Trap(
            "gc_policy_never_matches",
            where,
            "engines before 27.0 do not look at descriptions when they collect garbage: the rule matches no record.",
        )


def _never(key, _value, where, _version, _all):
    yield Trap(
        "gc_policy_never_matches",
        where,
        f"engines do not fill in {key} when they collect garbage: the rule matches no record.",
    )


_FILTERS = {
    "until": _age,
    "unused-for": _age,
    "type": _type,
    "id": _id,
    "description": _description,
    "parent": _never,
    "inuse": _never,
}
"""The filters with a value (moby, builder-next/builder.go, cacheFields)."""
