# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a GC policy would remove from a build cache, by collected facts. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import Record, children_by_id
from .._base.units import SECOND
from .._cache.gc import (
    Rule,
    engine_keep_bytes,
    reason_to_keep,
    removals,
    total_bytes,
)
from .asked import rules_from_options
from .policy import Policy
from .spelling import supported


def gc_plan(facts, rules, engine_version=None):
    """Return what an engine's GC would remove when it starts under the policy that buildcache_gc_policy would write.

    ``facts`` are those of buildcache_facts with records, ``rules`` a list of dicts by the names of the public
    interface, ``engine_version`` another version than the host has. The answer is a dict: ``removed`` and
    ``uncertain`` (``count``, ``bytes``, ``ids``), ``remaining_bytes``, and ``kept`` (``reason``, ``count``, ``bytes``).
    Raises BadOption where the facts have no records or a rule cannot be used.
    """
    records = records_in(facts)
    by_id = {record.id: record for record in records}
    version = engine_version or facts["engine"]["version"]
    now = int(facts["engine"]["observed_at"] * SECOND)
    disk = _root_disk(facts)
    asked = Policy(rules=rules_from_options(rules, disk and disk["total_bytes"]))
    policy, _missing = supported(asked, version)
    if disk is None and any(rule.min_free_space for rule in policy.rules):
        raise BadOption("gc_plan: min_free_space needs disk figures, and the facts have none.")
    # A policy comes into force with a restart, and so finds only records that were there before it.
    run = collected(records, policy.rules, version, now, disk["free_bytes"] if disk else 0, started_at=now)
    return {
        "removed": _summary(run.removed),
        "uncertain": _summary([by_id[name] for name in sorted(run.uncertain)]),
        "remaining_bytes": sum(record.size for record in run.left),
        "kept": _kept(run.left, run.tried, now),
    }


def records_in(facts):
    """Return the Records of the engine's own builder in facts. Raises BadOption where they have none."""
    builder = facts["builders"][0]
    if "records" not in builder:
        raise BadOption("gc_plan: the facts have no records. Collect them with records=true.")
    return [Record(**dict(record, parents=tuple(record["parents"]))) for record in builder["records"]]


class Collected(NamedTuple):
    """What one run of an engine's GC comes to: the records ``removed`` and ``left``, the ids of the ``uncertain`` as
    Removals has them, and the Rules that were ``tried``."""

    removed: list
    left: list
    uncertain: set
    tried: list


def collected(records, rules, version, now, free, started_at=None):
    """Return the Collected of PolicyRules that a version of the engine obeys; ``free`` bytes on the disk, and the rest
    as for removals()."""
    left, removed, uncertain, tried = list(records), [], set(), []
    for rule in rules:
        for kind in rule.types or (None,):
            one = _engine_rule(rule, kind, total_bytes(left), free + total_bytes(removed), version)
            tried.append(one)
            gone = removals(left, one, version, now, started_at=started_at)
            removed += gone.records
            uncertain |= gone.uncertain
            ids = {record.id for record in gone.records}
            left = [gone.used.get(record.id, record) for record in left if record.id not in ids]
    return Collected(removed, left, uncertain, tried)


def _root_disk(facts):
    """The engine measures limits on the file system of its own directory, whichever holds the layers."""
    disks = facts["filesystems"]
    root = facts["engine"]["root_dir"]
    return next((disk for disk in disks if disk["path"] == root), disks[0] if disks else None)


def _engine_rule(rule, kind, total, free, version):
    """Return the Rule that an engine makes of a PolicyRule for one type; the cap is what the limits come to now."""
    cap = engine_keep_bytes(total, free, version, rule.reserved_space, rule.max_used_space, rule.min_free_space)
    return Rule(
        all=rule.all,
        unused_for=rule.unused_for,
        type=kind,
        id=rule.id,
        description=rule.description,
        shared=rule.shared,
        keep_bytes=cap,
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
