# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts the result of a cleanup into one line."""

from __future__ import annotations

DOCUMENTATION = r"""
name: cleanup_summary
short_description: The result of a cleanup in one line
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says what came back on a host, what was predicted, and what is still held by what.
options:
  _input:
    description: The C(hostvars) of a host on which the role P(buildfleet.buildcache.cleanup#role) has run.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what came back on each host
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | map('extract', hostvars) | map('buildfleet.buildcache.cleanup_summary') }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The line.
  type: str
"""

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import human_size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.marks import is_short, missing

LONGEST_LIST = 3


def cleanup_summary(hostvars):
    """Return one line for a host's ``cleanup_result``; a host that was never reached has none."""
    host = hostvars["inventory_hostname"]
    result = hostvars.get("cleanup_result") or {}
    if "steps" not in result:
        return f"{host}: FAILED: {failure(hostvars)}"
    if hostvars.get("ansible_check_mode"):
        line = f"{host}: would free {human_size(result['predicted_bytes'])}"
    else:
        freed = result["freed_bytes"]
        measured = "an unknown amount" if freed is None else human_size(freed)
        line = f"{host}: freed {measured}, predicted {human_size(result['predicted_bytes'])}"
    line += _marks(result)
    held = [one for one in result["kept"] if one["bytes"]]
    shown = ", ".join(f"{one['reason']} {human_size(one['bytes'])}" for one in held[:LONGEST_LIST])
    if len(held) > LONGEST_LIST:
        shown += f" and {len(held) - LONGEST_LIST} more"
    line += f", still held: {shown or 'nothing'}"
    line += "".join(f"; {_unheard(run)}" for run in result.get("previous", ()))
    return f"{line}; FAILED: {result['msg']}" if result.get("failed") else line


def failure(hostvars):
    """Return why the cleanup of a host failed, "" where it did not."""
    result = hostvars.get("cleanup_result") or {}
    if "steps" in result:
        return result["msg"] if result.get("failed") else ""
    return result.get("msg") or "the host was not reached"


def _marks(result):
    """Return what there is to say of the marks, "" where the run had none."""
    if "wanted_bytes" not in result:
        return ""
    if not result["wanted_bytes"] and not result.get("wanted_inodes"):
        return ", below its high marks"
    stage = max((step.get("stage", 0) for step in result["steps"]), default=0)
    reached = f"{missing(result)} short of its low marks" if is_short(result) else "below its low marks"
    return f", {reached}{f' by stage {stage}' if stage else ''}"


def _unheard(run):
    """Return what there is to say of an earlier run whose result nobody heard."""
    if run["ended_at"] is None:
        return "an earlier run was killed"
    freed = run["freed_bytes"]
    failed = f" and failed: {run['msg']}" if run["msg"] else ""
    return f"an earlier run was cut off, freed {'an unknown amount' if freed is None else human_size(freed)}{failed}"


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"cleanup_summary": cleanup_summary}
