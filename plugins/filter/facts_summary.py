# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts the facts about a host into a few lines."""

from __future__ import annotations

DOCUMENTATION = r"""
name: facts_summary
short_description: What a build host holds, in a few lines
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says how full the disks are and, where they were measured, of whose; what images and build cache hold and, where
    that was asked for, how much of it is used; and why space is not coming back.
options:
  _input:
    description: The C(buildcache) facts of M(buildfleet.buildcache.buildcache_facts).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the host holds
  ansible.builtin.debug:
    msg: "{{ ansible_facts.buildcache | buildfleet.buildcache.facts_summary }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import human_size

_NAMED = 3
"""How many of the largest things of a part are named."""

_TIMES = ("1d", "7d", "30d")
"""Within which what was used is told."""


def facts_summary(facts):
    """Return the lines for one host's facts."""
    engine, images = facts["engine"], facts["images"]
    lines = [f"engine {engine['version']}, {engine['image_store']} image store ({engine['storage_driver']})"]
    for disk in facts["filesystems"]:
        lines.append(
            f"{disk['path']}: {disk['used_percent']}% used, {human_size(disk['available_bytes'])} available "
            f"of {human_size(disk['total_bytes'])}"
        )
    for disk in facts["disks"]:
        lines += _disk(disk)
    if images["count"] is None:
        lines.append("images: not known")
    else:
        size = "size not known" if images["size_bytes"] is None else human_size(images["size_bytes"])
        lines.append(
            f"images: {images['count']} ({images['untagged']} untagged, {images['in_use']} in use), "
            f"{size}, {human_size(images['reclaimable_bytes'])} of it in unused images alone"
        )
    return (
        lines
        + [line for builder in facts["builders"] for line in (_builder(builder), *_working_set(builder))]
        + [
            f"{finding['severity']}: {finding['code']}, {human_size(finding['bytes'])}: {finding['message']} "
            f"Remedy: {finding['remedy']}"
            for finding in facts["findings"]
        ]
    )


def _disk(disk):
    """Return the lines of who holds what on one disk."""
    late = "" if disk["complete"] else ", of which not all was measured in time"
    lines = [f"{disk['path']}: {human_size(disk['used_bytes'])} used{late}:"]
    for part in disk["parts"]:
        most = ", ".join(f"{one['name']} {human_size(one['bytes'])}" for one in part["largest"][:_NAMED])
        names = f": {most}" if most else ""
        lines.append(f"  {human_size(part['bytes'])} {part['holder'].replace('_', ' ')}{names}")
    return lines


def _builder(builder):
    name = f"build cache of {builder['name']}"
    if builder["record_count"] is None:
        state = f", {human_size(builder['state_bytes'])} in its volume" if builder["state_bytes"] else ""
        return f"{name}: {builder['error'] or builder['status']}{state}"
    return (
        f"{name}: {builder['record_count']} records, {human_size(builder['size_bytes'])} "
        f"({human_size(builder['shared_bytes'])} shared with images, "
        f"{human_size(builder['reclaimable_bytes'])} reclaimable)"
    )


def _working_set(builder):
    """Yield the line of what builds work with, where that was asked for and is known."""
    told = builder.get("working_set")
    if not told:
        return
    used = ", ".join(f"{human_size(told['used_within'][within]['bytes'])} within {within}" for within in _TIMES)
    made = "" if told["made_per_day"] is None else f", {human_size(told['made_per_day'])} made in a day"
    growth = told["growth"]
    grows = f"; the disk's used bytes change by {human_size(growth['bytes_per_day'])} a day" if growth else ""
    yield f"build cache of {builder['name']}, used: {used}{made}{grows}"


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"facts_summary": facts_summary}
