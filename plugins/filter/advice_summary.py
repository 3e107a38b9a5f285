# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts the advice for a fleet into lines."""

from __future__ import annotations

DOCUMENTATION = r"""
name: advice_summary
short_description: The GC policies that gc_advice makes for a fleet, in lines
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says for each group of hosts the size that is advised and why, what each host works with and would lose now, which
    hosts the policy does not fit, and the policy as YAML, to be pasted into the variables of the group.
options:
  _input:
    description: What P(buildfleet.buildcache.gc_advice#filter) returns.
    type: dict
    required: true
seealso:
  - plugin: buildfleet.buildcache.gc_advice
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the policy for each group of hosts
  ansible.builtin.debug:
    msg: "{{ advice | buildfleet.buildcache.advice_summary }}"
  vars:
    advice: "{{ facts | buildfleet.buildcache.gc_advice }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import (
    SECOND,
    human_duration,
    human_size,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.advice import as_yaml


def advice_summary(advice):
    """Return the lines for what gc_advice returns."""
    lines = []
    for number, group in enumerate(advice["groups"], 1):
        lines += _group(number, group, advice)
    return lines + [f"{one['host']}: without facts: {one['why']}" for one in advice["without_facts"]]


def _group(number, group, advice):
    hosts = group["hosts"]
    fits = sum(not host["misfits"] for host in hosts)
    lines = [
        f"group {number}: {', '.join(_about(group))}; hosts: {len(hosts)}",
        f"  {human_size(group['size_bytes'])} of build cache keeps what was used within {advice['keep']}, and has room "
        f"for the builds of a day, on {fits} of {len(hosts)} (wanted: {advice['percentile']}%, with "
        f"{advice['min_free']} of the disk free)",
        *(f"  {_host(host, advice)}" for host in hosts),
    ]
    return [*lines, f"  {as_yaml(group['gc_policy_rules'])}"]


def _about(group):
    if group["label"]:
        yield group["label"]
    disk = group["disk_up_to_bytes"]
    yield f"disks of up to {human_size(disk)}" if disk else "disks that are not known"
    yield "engines that keep free space, too" if group["free_space"] else "engines that keep a size alone"


def _host(host, advice):
    used, made, needs = (human_size(host[name]) for name in ("used_bytes", "made_per_day", "needs_bytes"))
    room = "not known" if host["room_bytes"] is None else human_size(host["room_bytes"])
    said = f"{host['host']}: used within {advice['keep']} {used}, made in a day {made}, needs {needs}, room {room}; "
    removes = host["removes"]
    if removes["records"]:
        again, reused = human_size(host["rebuilt_bytes"]), human_size(host["reused_bytes"])
        said += (
            f"would remove now {removes['records']} records with {human_size(removes['bytes'])}, of which {again} "
            f"were used within {advice['keep']} and {reused} more than once"
        )
    else:
        said += "would remove nothing now"
    if not host["goes_back_far_enough"]:
        back = human_duration(host["goes_back_seconds"] * SECOND)
        said += f"; its build cache goes back {back}, so that what it needs is a guess: ask again when it goes further"
    return said + "".join(f"; DOES NOT FIT: {why}" for why in host["misfits"])


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"advice_summary": advice_summary}
