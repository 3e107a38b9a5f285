# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts what traces of all hosts have found into one table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: trace_table
short_description: When something went on the hosts of a fleet, and why, in one table
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Makes a table of what M(buildfleet.buildcache.buildcache_trace) has found on each host, the youngest first, and says
    which hosts have no log, could not be read, or have lines that cannot be read.
options:
  _input:
    description:
      - The C(hostvars) of the hosts, each with the result of the module in C(trace_result), and why it failed in
        C(trace_failure) where it did.
    type: list
    elements: dict
    required: true
  limit:
    description: How many lines the table has at most; how many more there are is said.
    type: int
    default: 50
"""

EXAMPLES = r"""
- name: Show when it went on each host, and why
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | map('extract', hostvars) | buildfleet.buildcache.trace_table }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.trace import table


def trace_table(hostvars, limit=50):
    """Return the lines of the table."""
    if not str(limit).isdecimal() or int(limit) < 1:
        raise AnsibleFilterError(f"trace_limit: {limit!r} is no number of lines. Give 1 or more, or leave it out.")
    hosts = {}
    for one in hostvars:
        result = one.get("trace_result") or {}
        why = "" if "entries" in result else one.get("trace_failure") or result.get("msg") or "the host was not reached"
        no_log = "no path of an audit log is set for it" if result.get("skipped") else ""
        hosts[one["inventory_hostname"]] = (result, "" if no_log else why, no_log)
    return table(hosts, int(limit))


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"trace_table": trace_table}
