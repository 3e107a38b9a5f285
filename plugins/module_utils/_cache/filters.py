# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters for build-cache records that engines really obey, and why the others are refused. Pure."""

from __future__ import annotations

import re

from .._base.errors import BadOption

FIRST_WITH_DESCRIPTION = (27, 0)
"""The first engine that fills in a record's description when it prunes (BuildKit 0.14, cache/manager.go)."""

# Why a filter of `docker builder prune` that looks usable is not (BuildKit, cache/manager.go, adaptUsageInfo in a
# prune fills in the id, type, description, mutability and sharing only).
_UNUSABLE_FILTERS = {
    "until": "use the option unused_for",
    "unused-for": "use the option unused_for",
    "type": "use the option types, which can name several",
    "label": "engines accept it and ignore it, and so remove everything",
    "parent": "engines never match it when they prune",
    "parents": "engines ignore it, and so remove everything",
    "inuse": "engines never match it when they prune; what is in use is never removed",
    "mutable": "the engine does not tell which records are mutable, so no preview could be true; use types",
    "immutable": "the engine does not tell which records are mutable, so no preview could be true; use types",
}


def record_filters(filters, include_all):
    """Return the parts of a Rule that the option ``filters`` asks for. Raises BadOption."""
    rule = {}
    for key, value in named_filters("filters", filters):
        if key in _UNUSABLE_FILTERS:
            raise BadOption(f"filters: {key!r} cannot be used: {_UNUSABLE_FILTERS[key]}.")
        if key in ("shared", "private"):
            if str(value).lower() not in ("true", "yes", "1"):
                raise BadOption(f"filters: {key} can only be true; shared and private are each other's opposite.")
            if "shared" in rule:
                raise BadOption("filters: shared and private together match nothing. Name one of them.")
            if key == "shared" and not include_all:
                raise BadOption("filters: shared records are only removed with all=true, which is not set.")
            rule["shared"] = key == "shared"
        elif key == "id":
            if not re.fullmatch(r"[a-z0-9]+", str(value)):
                raise BadOption(f"filters: {value!r} is not a record's id, nor a part of one: those are a-z and 0-9.")
            rule[key] = str(value)
        elif key == "description":
            rule[key] = str(value)
        else:
            raise BadOption(
                f"filters: {key!r} is not a filter for build cache; known are id, description, shared and private."
            )
    return rule


def named_filters(option, filters):
    """Yield the filters, refusing empty ones. A filter that lost its value must not come to mean "all"."""
    if filters is not None and not filters:
        raise BadOption(f"{option}: it is empty. Leave the option out where no filter is meant.")
    for key, value in (filters or {}).items():
        if value is None or value == [] or not str(value).strip():
            raise BadOption(f"{option}: {key} has no value. Give it one, or leave it out.")
        yield key, value
