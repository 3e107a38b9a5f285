# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that puts the results of a run on many hosts into one message."""

from __future__ import annotations

DOCUMENTATION = r"""
name: notify_message
short_description: The results of a run on many hosts as one message
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says how many hosts changed and failed, what came back, which hosts failed and why, and which disks are fullest.
  - Names and messages of hosts are harmless in a chat; each is one line without control characters, is cut where it is
    long, and has look-alikes for what mentions someone or makes a link.
options:
  _input:
    description: >-
      The C(hostvars) of all hosts of the run, on which the role P(buildfleet.buildcache.cleanup#role) or
      P(buildfleet.buildcache.rescue#role) has run. A host without a result counts as not reached.
    type: list
    elements: dict
    required: true
  playbook:
    description: What ran, for the title. Empty for a trial of the settings.
    type: str
    required: true
  check_mode:
    description: Whether it ran in check mode.
    type: bool
    default: false
  worst:
    description: How many hosts that failed, and how many of the fullest, are named.
    type: int
    default: 5
  only:
    description: When RV(_value.due) is true.
    type: str
    choices: [always, changes, failures]
    default: always
"""

EXAMPLES = r"""
- name: Show the message
  ansible.builtin.debug:
    msg: "{{ (hosts | buildfleet.buildcache.notify_message('cleanup')).message }}"
  vars:
    hosts: "{{ ansible_play_hosts_all | map('extract', hostvars) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The message.
  type: dict
  contains:
    message:
      description: Its text, of at most 4000 characters.
      type: str
    summary:
      description:
        - The same as figures; C(playbook), C(check_mode), and C(totals) with C(hosts), C(changed), C(failed) (those
          that were not reached among them), C(unreachable), C(predicted_bytes) and C(freed_bytes).
        - C(failures) with C(host), C(unreachable) and C(message) of the first that failed.
        - C(worst) with C(host), C(path), C(used_percent), C(inodes_used_percent) and C(line) of the hosts whose disks
          are fullest after the run, the fullest first.
      type: dict
    due:
      description: >-
        Whether to send it, as O(only) says. A host that failed counts as a change as well, and a run without hosts as a
        failure.
      type: bool
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.cleanup_summary import cleanup_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.cleanup_summary import failure as cleanup_failure
from ansible_collections.buildfleet.buildcache.plugins.filter.rescue_summary import failure as rescue_failure
from ansible_collections.buildfleet.buildcache.plugins.filter.rescue_summary import rescue_summary
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.notification import (
    ALWAYS,
    CHANGES,
    FAILURES,
    Outcome,
    is_due,
    notification,
)


def notify_message(hosts, playbook, check_mode=False, worst=5, only=ALWAYS):
    """Return {"message", "summary", "due"}. Raises AnsibleFilterError for a number or a word that is none."""
    if not str(worst).isdecimal():
        raise AnsibleFilterError(f"notify_worst: {worst} is no number of hosts. Give 0 or more.")
    if only not in (ALWAYS, CHANGES, FAILURES):
        raise AnsibleFilterError(f"notify_only: {only} is none of always, changes and failures.")
    # A trial tells of no host: nothing was done on any.
    outcomes = [_outcome(one, check_mode) for one in hosts] if playbook else []
    told = notification(outcomes, playbook, check_mode, int(worst))
    return {**told, "due": is_due(told["summary"], only)}


def _outcome(hostvars, check_mode):
    """Return the Outcome of a host by its variables."""
    host = str(hostvars["inventory_hostname"])
    rescued, cleaned = hostvars.get("rescue_freed") or {}, hostvars.get("cleanup_result") or {}
    line, failure = (rescue_summary, rescue_failure) if rescued else (cleanup_summary, cleanup_failure)
    results = [rescued, cleaned, hostvars.get("rescue_started") or {}, hostvars.get("rescue_laid") or {}]
    steps = rescued.get("steps", ())
    freed = [one["freed_bytes"] for one in (*steps, cleaned) if one.get("freed_bytes") is not None]
    disks = (cleaned if "steps" in cleaned else rescued).get("filesystems") or {}
    return Outcome(
        host,
        line(hostvars)[len(host) + 2 :],
        failure(hostvars),
        not any(results) or any(one.get("unreachable") for one in results),
        any(one.get("changed") for one in results),
        sum(one["planned_bytes"] for one in steps) + cleaned.get("predicted_bytes", 0),
        None if check_mode or not freed else sum(freed),
        tuple(disks.get("after", ())),
    )


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"notify_message": notify_message}
