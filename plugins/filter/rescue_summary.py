# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts the result of a rescue into one line."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rescue_summary
short_description: The result of a rescue in one line
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says what came back on a host by which step, and whether dockerd was started.
options:
  _input:
    description: The C(hostvars) of a host on which the role P(buildfleet.buildcache.rescue#role) has run.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what came back on each host
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | map('extract', hostvars) | map('buildfleet.buildcache.rescue_summary') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The line.
  type: str
"""

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import human_size

_FAILURES = ("rescue_failure", "rescue_start_failure", "cleanup_failure", "rescue_ballast_failure")
_RESULTS = ("rescue_freed", "rescue_dockerd", "rescue_started", "cleanup_result", "rescue_laid")
"""What the role registers, in its order."""


def rescue_summary(hostvars):
    """Return one line for a host's ``rescue_freed`` and what came after; a host that was never reached has none."""
    host, preview = hostvars["inventory_hostname"], hostvars.get("ansible_check_mode")
    freed = hostvars.get("rescue_freed") or {}
    if not freed:
        return f"{host}: FAILED: {failure(hostvars)}"
    which = "planned_bytes" if preview else "freed_bytes"
    done = [f"{one['step']} {human_size(one[which])}" for one in freed.get("steps", ()) if one["paths"]]
    started = hostvars.get("rescue_started") or {}
    if started.get("changed"):
        done.append("dockerd to be started" if preview else "dockerd started")
    cleaned = hostvars.get("cleanup_result") or {}
    if "steps" in cleaned:
        size = cleaned["predicted_bytes"] if preview else cleaned["freed_bytes"] or 0
        done.append(f"cleanup {human_size(size)}")
    laid = hostvars.get("rescue_laid") or {}
    if laid:
        done.append("ballast laid again" if laid.get("changed") else "no ballast laid again")
    said = ("would free " if preview else "freed ") + ", ".join(done) if done else "nothing to do"
    failed = failure(hostvars)
    return f"{host}: {said}; FAILED: {failed}" if failed else f"{host}: {said}"


def failure(hostvars):
    """Return what failed in the rescue of a host, "" where nothing did."""
    if not hostvars.get("rescue_freed"):
        return "the host was not reached"
    failures = [hostvars[name] for name in _FAILURES if hostvars.get(name)]
    results = [hostvars.get(name) or {} for name in _RESULTS]
    return " ".join(failures + [f"The host was not reached: {one['msg']}" for one in results if one.get("unreachable")])


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"rescue_summary": rescue_summary}
