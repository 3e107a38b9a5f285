# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit log tells, line by line: what was removed or changed, when, by which run, and why. Pure."""

from __future__ import annotations

import json

from .._base.units import format_timestamp

REMOVED, POLICY_CHANGED = "removed", "policy_changed"
"""The events."""

_RESCUE_OPTIONS = {
    "ballast": ("ballast",),
    "container_logs": ("container_logs_over",),
    "journal": ("journal_over",),
    "package_caches": ("package_caches",),
}
"""The options that choose what each step of a rescue gives up."""


def audit_lines(entries, run, engine):
    """Return the entries as JSON lines, without their ends, with what is the same for a whole run: its id and the
    engine's address. Only ASCII is in them: what is none, and control characters, are escaped."""
    return [json.dumps({"time": one["time"], "run": run, **one, "engine": engine}) for one in entries]


def iso_time(at):
    """Return nanoseconds since the epoch as ISO 8601 in UTC, to the second, so that texts sort as times do."""
    return f"{format_timestamp(at)[:19]}Z"


def policy_change(old, new, file, why, at):
    """Return the entry of a policy in a file that was changed: ``old`` and ``new`` as policy.terms() has them, None for
    none, ``why`` the options that asked for it."""
    return {"time": iso_time(at), "event": POLICY_CHANGED, "file": file, "old": old, "new": new, "why": why}


def removed_by_rescue(given, options, at):
    """Return the entries of what a rescue has Given up."""
    entries = []
    for one in given:
        items = {item.path: item for item in one.planned}
        names = (*_RESCUE_OPTIONS[one.step], "until_free")
        why = {name: options[name] for name in names if options[name]}
        for path in one.paths:
            item = items.get(path)
            entry = {"time": iso_time(at), "event": REMOVED, "kind": one.step, "id": path}
            entries.append({**entry, "bytes": item and item.bytes, "how": item and item.how, "why": why})
    return entries
