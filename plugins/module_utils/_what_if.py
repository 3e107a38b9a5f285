# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a GC policy would remove from a build cache, by collected facts. Pure."""

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._gc import (
    Rule,
    engine_keep_bytes,
    reason_to_keep,
    removals,
    total_bytes,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import record_filters
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import Record, children_by_id
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration, parse_size

_KEYS = {"types", "unused_for", "all", "reserved_space", "max_used_space", "min_free_space", "filters"}
_LIMITS = {"reserved": "reserved_space", "max_used": "max_used_space", "min_free": "min_free_space"}


def gc_plan(facts, rules, engine_version=None):
    """Return what one run of an engine's GC would remove.

    ``facts`` are those of buildcache_facts with records, ``rules`` a list of dicts by the names of the public
    interface, ``engine_version`` another version than the host has. The answer is a dict: ``removed`` and
    ``uncertain`` (``count``, ``bytes``, ``ids``), ``remaining_bytes``, and ``kept`` (``reason``, ``count``, ``bytes``).
    Raises BadOption where the facts have no records or a rule cannot be used.
    """
    builder = facts["builders"][0]
    if "records" not in builder:
        raise BadOption("gc_plan: the facts have no records. Collect them with records=true.")
    left = [Record(**dict(record, parents=tuple(record["parents"]))) for record in builder["records"]]
    by_id = {record.id: record for record in left}
    version = engine_version or facts["engine"]["version"]
    now = int(facts["engine"]["observed_at"] * SECOND)
    disk = _root_disk(facts)
    removed, uncertain, asked = [], set(), []
    for number, rule in enumerate(rules, 1):
        for one in _rules(rule, f"rule {number}", left, disk, version):
            asked.append(one)
            gone = removals(left, one, version, now)
            removed += gone.records
            uncertain |= gone.uncertain
            ids = {record.id for record in gone.records}
            left = [record for record in left if record.id not in ids]
    return {
        "removed": _summary(removed),
        "uncertain": _summary([by_id[name] for name in sorted(uncertain)]),
        "remaining_bytes": sum(record.size for record in left),
        "kept": _kept(left, asked, now),
    }


def _root_disk(facts):
    """The engine measures limits on the file system of its own directory, whichever holds the layers."""
    disks = facts["filesystems"]
    root = facts["engine"]["root_dir"]
    return next((disk for disk in disks if disk["path"] == root), disks[0] if disks else None)


def _rules(rule, name, records, disk, version):
    """Yield a Rule for each type that a rule names; the cap is what the engine makes of the limits at this point."""
    unknown = set(rule) - _KEYS
    if unknown:
        raise BadOption(f"{name}: {', '.join(sorted(unknown))} is not known; known are {', '.join(sorted(_KEYS))}.")
    limits = {}
    for part, option in _LIMITS.items():
        if rule.get(option):
            size = parse_size(str(rule[option]), f"{name}: {option}")
            if disk is None and (size.percent or part == "min_free"):
                raise BadOption(f"{name}: {option} needs disk figures, and the facts have none.")
            limits[part] = size.in_bytes(disk["total_bytes"] if disk else 0)
    cap = engine_keep_bytes(total_bytes(records), disk["free_bytes"] if disk else 0, version, **limits)
    include_all = bool(rule.get("all"))
    unused_for = parse_duration(rule["unused_for"], f"{name}: unused_for") if rule.get("unused_for") else 0
    for kind in rule.get("types") or [None]:
        yield Rule(
            all=include_all,
            unused_for=unused_for,
            type=kind,
            keep_bytes=cap,
            **record_filters(rule.get("filters"), include_all),
        )


def _kept(left, rules, now):
    children = children_by_id(left)
    groups = {}
    for record in left:
        reasons = [reason_to_keep(record, rule, now) for rule in rules] or ["no_rules"]
        if None in reasons:
            reason = "has_child" if record.id in children else "within_limit"
        else:
            reason = next((reason for reason in reasons if reason != "not_selected"), "not_selected")
        groups.setdefault(reason, []).append(record)
    found = [{"reason": reason, "count": len(group), "bytes": _bytes(group)} for reason, group in groups.items()]
    return sorted(found, key=lambda one: -one["bytes"])


def _summary(records):
    return {"count": len(records), "bytes": _bytes(records), "ids": [record.id for record in records]}


def _bytes(records):
    return sum(record.size for record in records)
