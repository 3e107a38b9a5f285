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

from ansible_collections.buildfleet.buildcache.plugins.module_utils._results import summary


def cleanup_summary(hostvars):
    """Return one line for a host's ``cleanup_result``; a host that was never reached has none."""
    line = summary.summary(hostvars.get("cleanup_result") or {}, bool(hostvars.get("ansible_check_mode")))
    return f"{hostvars['inventory_hostname']}: {line}"


def failure(hostvars):
    """Return why the cleanup of a host failed, "" where it did not."""
    return summary.failure(hostvars.get("cleanup_result") or {})


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"cleanup_summary": cleanup_summary}
