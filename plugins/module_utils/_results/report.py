# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a fleet, from what is known of each host: the model that its page, JSON and CSV are made of. Pure."""

from __future__ import annotations

import csv

from .._base.errors import BuildcacheError
from .._base.records import EMBEDDED
from .._base.units import parse_timestamp
from .._cache import disk
from .._cache.findings import SEVERITIES
from .._policy.advice import gc_advice
from .._policy.compare import compare
from .._policy.what_if import gc_plan

OK, FAILED, UNREACHABLE = "ok", "failed", "unreachable"
"""Whether a host could be looked at, and if not why not."""

IN_FORCE, AS_IN_FILE = "in force", "as in the file"
"""What there is to say of a policy where nothing has drifted: from the wanted one, or else from the file."""

FREE, REST, CONTAINERS = "free", "rest", "containers"

PARTS = {
    "images": "images alone",
    "shared": "images and build cache",
    "cache": "build cache alone",
    "in_use": "build cache in use",
    CONTAINERS: "containers and volumes",
    disk.LEFTOVERS: "unaccounted",
    REST: "everything else",
    FREE: "free",
}
"""What a disk is divided into, in the order of a bar, each with its label."""

_PART_OF_HOLDER = {
    disk.IMAGES: "images",
    disk.BOTH: "shared",
    disk.BUILD_CACHE: "cache",
    disk.CONTAINER_LAYERS: CONTAINERS,
    disk.CONTAINER_LOGS: CONTAINERS,
    disk.VOLUMES: CONTAINERS,
    disk.LEFTOVERS: disk.LEFTOVERS,
}
"""The part that a holder of a measured disk is in; any other is in the rest."""

_DAYS_SOON = 7


def report(hosts, made_at, advise=None):
    """Return the model of a fleet's report: ``made_at`` (seconds since the epoch), ``totals``, ``findings`` grouped
    over the fleet, ``advice`` as advice.gc_advice has it for these options of it (``advise``; null without them), and
    ``hosts``, one each, the most severe first. Raises BadOption where these options cannot be meant.

    ``hosts`` is {name: what is known}, all of it optional: ``facts`` of buildcache_facts, ``failure`` (a text) and
    ``unreachable`` where there are none, ``preview``, the result of buildcache_prune in check mode, and ``wanted``, the
    options of buildcache_gc_policy, or ``problem``, what is wrong with them. All sizes in bytes; null is what is not
    known.
    """
    rows = [_row(name, known) for name, known in hosts.items()]
    rows.sort(key=lambda row: (_rank(row), -(row["used_percent"] or 0), row["host"]))
    return {
        "made_at": made_at,
        "totals": _totals(rows),
        "findings": _grouped(rows),
        "advice": gc_advice({row["host"]: row["facts"] or row["why"] for row in rows}, **advise)
        if advise and rows
        else None,
        "hosts": rows,
    }


def _rank(row):
    """Return where a host stands by what is wrong with it; one that is not known is worst."""
    if row["status"] != OK:
        return -1
    return SEVERITIES.index(row["severity"]) if row["severity"] else len(SEVERITIES)


def _row(name, known):
    facts = known.get("facts") or None
    status = OK if facts else UNREACHABLE if known.get("unreachable") else FAILED
    engine = (facts or {}).get("engine") or {}
    first = _first_disk(facts or {})
    used = first.get("total_bytes") and first["total_bytes"] - first["free_bytes"]
    worked_with = _own_builder(facts or {}).get("working_set") or {}
    growth = worked_with.get("growth") or {}
    parts, measured = _parts(facts, first) if facts else ({}, False)
    findings = (facts or {}).get("findings") or []
    return {
        "host": name,
        "status": status,
        "why": "" if facts else known.get("failure") or "nothing is known of the host",
        "severity": min((one["severity"] for one in findings), key=SEVERITIES.index, default=None),
        "engine_version": engine.get("version"),
        "image_store": engine.get("image_store"),
        "observed_at": engine.get("observed_at"),
        "path": first.get("path"),
        "total_bytes": first.get("total_bytes"),
        "used_bytes": used,
        "free_bytes": first.get("available_bytes"),
        "used_percent": first.get("used_percent"),
        "parts": parts,
        "measured": measured,
        "images": ((facts or {}).get("images") or {}).get("count"),
        "records": _sum(one.get("record_count") for one in (facts or {}).get("builders") or ()),
        "growth_bytes_per_day": growth.get("bytes_per_day"),
        "days_until_full": _days_until_full(first.get("available_bytes"), growth.get("bytes_per_day")),
        "used_within": worked_with.get("used_within") or {},
        "last_cleanup": (facts or {}).get("last_cleanup"),
        "cleanup": _preview(known.get("preview") or {}),
        "policy": _policy(facts) if facts else None,
        "drift": _drift(facts, known.get("wanted")) if facts else None,
        "findings": findings,
        "facts": facts,
    }


def _first_disk(facts):
    """Return the file system of the engine's own directory, or else the first."""
    disks, root = facts.get("filesystems") or [], (facts.get("engine") or {}).get("root_dir")
    return next((one for one in disks if one["path"] == root), disks[0] if disks else {})


def _own_builder(facts):
    """Return what facts tell of the engine's own builder, {} for nothing."""
    return next((one for one in facts.get("builders") or () if one["name"] == EMBEDDED), {})


def _parts(facts, first):
    """Return {part: bytes} of a disk, which add up to what is used and available, and whether they were measured.

    What was not measured goes by the engine's account, where layers that images and records hold count as shared.
    """
    if not first:
        return {}, False
    measured = next((one for one in facts.get("disks") or () if one["path"] == first["path"]), None)
    own = _own_builder(facts)
    used = first["total_bytes"] - first["free_bytes"]
    in_use, shared = own.get("in_use_bytes") or 0, own.get("shared_bytes") or 0
    parts = dict.fromkeys(PARTS, 0)
    if measured:
        for one in measured["parts"]:
            parts[_PART_OF_HOLDER.get(one["holder"], REST)] += one["bytes"]
        in_use = min(in_use, parts["cache"])
        parts.update(cache=parts["cache"] - in_use, in_use=in_use)
    else:
        images = (facts.get("images") or {}).get("size_bytes") or 0
        private = max((own.get("size_bytes") or 0) - shared, 0)
        shared, in_use = min(shared, images), min(in_use, private)
        images, cache = images - shared, private - in_use
        # Containerd's store tells of hardly any layer that it is shared. As much as is too much for the disk must be.
        both = min(max(images + shared + private - used, 0), images, cache)
        parts.update(images=images - both, shared=shared + both, cache=cache - both, in_use=in_use)
    held = sum(size for name, size in parts.items() if name != REST)
    parts.update({FREE: first["available_bytes"], REST: max(used - held, 0)})
    return parts, bool(measured)


def _days_until_full(free, per_day):
    return round(free / per_day, 1) if free is not None and per_day and per_day > 0 else None


def _preview(result):
    """Return what a cleanup would remove now; null without a preview, with ``failed`` where there is none to trust."""
    if not result or result.get("skipped"):
        return None
    planned = [step["planned"] for step in result.get("steps") or ()]
    return {
        "bytes": result.get("predicted_bytes"),
        "count": sum(one["count"] for one in planned),
        "failed": result.get("msg", "") if result.get("failed") or result.get("unreachable") else "",
        "kept": result.get("kept") or [],
    }


def _policy(facts):
    """Return what the policy in effect would remove now, ``bytes`` null where that cannot be reckoned, and why not."""
    policy = (facts.get("gc_policy") or {}).get("in_effect")
    own = _own_builder(facts)
    unknown = {"bytes": None, "count": None}
    if policy is None:
        return dict(unknown, why="what dockerd obeys is not known")
    if policy.get("enabled") is False:
        return {"bytes": 0, "count": 0, "why": "garbage collection is off"}
    if policy.get("rules") is None:
        return dict(unknown, why="the engine has its default rules")
    if any("other_filters" in rule for rule in policy["rules"]):
        return dict(unknown, why="a rule has filters that cannot be told")
    if "records" not in own:
        return dict(unknown, why="the facts have no records")
    try:
        removed = gc_plan(dict(facts, builders=[own]), policy["rules"])["removed"]
    except BuildcacheError as problem:
        return dict(unknown, why=str(problem))
    return {"bytes": removed["bytes"], "count": removed["count"], "why": ""}


def _drift(facts, wanted):
    """Return how the wanted policy, that in the file and that in effect stand to each other, ``label`` in words."""
    told = facts.get("gc_policy") or {}
    policies = {"in_file": told.get("in_file"), "in_effect": told.get("in_effect")}
    restart = told.get("restart_required")
    found = {"in_force": None, "warnings": [], "wanted": wanted and wanted.get("rules"), "restart_required": restart}
    if not wanted:
        label = {None: "not known", True: "restart needed", False: AS_IN_FILE}[restart]
        return {**policies, **found, "label": label, "drifted": bool(restart)}
    if "problem" in wanted:
        return {**policies, **found, "label": "not known", "drifted": False, "warnings": [wanted["problem"]]}
    try:
        compared = compare(facts, wanted)
    except BuildcacheError as problem:
        return {**policies, **found, "label": "not known", "drifted": False, "warnings": [str(problem)]}
    found.update(in_force=compared["in_force"], warnings=compared["warnings"])
    if compared["in_force"]:
        label = IN_FORCE
    elif compared["in_file"] is None:
        label = "file not known"
    elif not compared["in_file"]:
        label = "file differs"
    elif compared["in_effect"] is None:
        label = "effect not known"
    else:
        label = "in force with warnings" if compared["in_effect"] else "restart needed"
    return {**policies, **found, "label": label, "drifted": label in ("file differs", "restart needed")}


def _totals(rows):
    known = [row for row in rows if row["status"] == OK]
    freed = [row["last_cleanup"].get("freed_bytes") for row in known if row["last_cleanup"]]
    return {
        "hosts": len(rows),
        **{status: sum(row["status"] == status for row in rows) for status in (OK, FAILED, UNREACHABLE)},
        "severities": {one: sum(row["severity"] == one for row in known) for one in SEVERITIES},
        "total_bytes": _sum(row["total_bytes"] for row in known),
        "used_bytes": _sum(row["used_bytes"] for row in known),
        "free_bytes": _sum(row["free_bytes"] for row in known),
        "parts": {part: sum(row["parts"].get(part, 0) for row in known) for part in PARTS},
        "measured": sum(row["measured"] for row in known),
        "drifted": sum(row["drift"]["drifted"] for row in known),
        "full_soon": sum(_DAYS_SOON >= days for days in (row["days_until_full"] for row in known) if days is not None),
        "cleanup_bytes": _sum(row["cleanup"] and row["cleanup"]["bytes"] for row in known),
        "policy_bytes": _sum(row["policy"]["bytes"] for row in known),
        "last_freed_bytes": _sum(freed),
    }


def _sum(values):
    """Return the sum of what is known of the values, null where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _grouped(rows):
    """Return the findings of all hosts by their code, the most severe first, then most bytes."""
    groups = {}
    for row in rows:
        for one in row["findings"]:
            new = {"code": one["code"], "severity": one["severity"], "bytes": 0, "hosts": [], "most": -1}
            group = groups.setdefault(one["code"], new)
            group["bytes"] += one["bytes"] or 0
            group["severity"] = min(group["severity"], one["severity"], key=SEVERITIES.index)
            if not group["hosts"] or group["hosts"][-1] != row["host"]:
                group["hosts"].append(row["host"])
            if (one["bytes"] or 0) > group["most"]:
                group.update(most=one["bytes"] or 0, message=one["message"], remedy=one["remedy"], example=row["host"])
    found = sorted(groups.values(), key=lambda one: (SEVERITIES.index(one["severity"]), -one["bytes"], one["code"]))
    return [{name: value for name, value in group.items() if name != "most"} for group in found]


def by_last_use(row):
    """Return the images and the records of a host, each a list of dicts, those that were used last come last."""
    facts = row["facts"] or {}
    images = (facts.get("images") or {}).get("list") or []
    records = [
        dict(record, builder=builder["name"], used_at=_seconds(record["last_used_at"] or record["created_at"]))
        for builder in facts.get("builders") or ()
        for record in builder.get("records") or ()
    ]
    return (
        sorted(images, key=lambda one: (one["last_used_at"] or one["created_at"] or 0, one["id"])),
        sorted(records, key=lambda one: (one["used_at"] or 0, one["id"])),
    )


def _seconds(timestamp):
    moment = parse_timestamp(timestamp)
    return None if moment is None else moment / 10**9


_COLUMNS = (
    "host", "status", "why", "severity", "engine_version", "image_store", "path", "total_bytes", "used_bytes",
    "free_bytes", "used_percent", "images", "records", "growth_bytes_per_day", "days_until_full",
)  # fmt: skip


class _Lines(list):
    """What csv writes to."""

    write = list.append


def report_csv(model):
    """Return a line of CSV for each host of a model, and one with the names of the columns.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    parts = [f"{part}_bytes" for part in PARTS if part != FREE]
    more = ("cleanup_would_free_bytes", "policy_would_remove_bytes", "policy", "last_cleanup_at",
            "last_cleanup_freed_bytes", "findings")  # fmt: skip
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow([*_COLUMNS, *(f"held_by_{part}" for part in parts), *more])
    for row in model["hosts"]:
        last = row["last_cleanup"] or {}
        cells = [
            *(row[name] for name in _COLUMNS),
            *(row["parts"].get(part) for part in PARTS if part != FREE),
            row["cleanup"] and row["cleanup"]["bytes"],
            row["policy"] and row["policy"]["bytes"],
            row["drift"] and row["drift"]["label"],
            last.get("at"),
            last.get("freed_bytes"),
            " ".join(one["code"] for one in row["findings"]),
        ]
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return "".join(lines)


def _harmless(text):
    return (
        f"'{text}"
        if text.lstrip().startswith(("=", "+", "-", "@", "|", "%")) or text[:1] in "\t\r\n" and text
        else text
    )
