# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the textfile for the node_exporter."""

from __future__ import annotations

DOCUMENTATION = r"""
name: metrics_text
short_description: The metrics of a build host, as a textfile of the node_exporter
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says in Prometheus' text format what a host holds, what the last cleanup did, when that was and when the last one
    succeeded.
positional: cleanup, now
options:
  _input:
    description:
      - The C(buildcache) facts of M(buildfleet.buildcache.buildcache_facts), or of a prune with
        O(buildfleet.buildcache.buildcache_prune#module:facts=true). Empty where they could not be had.
    type: dict
    required: true
  cleanup:
    description: >-
      The result of M(buildfleet.buildcache.buildcache_prune), of a failed one too. Empty where none ran; then the last
      one is told as O(previous) has it.
    type: dict
    required: true
  now:
    description: The time, in seconds since the epoch.
    type: float
    required: true
  previous:
    description: The text of the file of before. From it comes the last success.
    type: str
    default: ""
  builders:
    description: >-
      Names of the builders that have a label of their own. All others are one sum, C((others)), since there is no end
      to the names of builders that jobs make.
    type: list
    elements: str
    default: [default]
  in_force:
    description: >-
      Whether the GC policy that is wanted is in force, as P(buildfleet.buildcache.gc_policy_compare#filter) says; null
      where that is not known.
    type: bool
seealso:
  - plugin: buildfleet.buildcache.gc_policy_compare
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Clean up, and have the facts by the same look
  buildfleet.buildcache.buildcache_prune:
    facts: true
  register: cleaned

- name: Write the metrics
  ansible.builtin.copy:
    content: "{{ ansible_facts.buildcache | buildfleet.buildcache.metrics_text(cleaned, now().timestamp()) }}"
    dest: /var/lib/prometheus/node-exporter/buildcache.prom
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.module_utils._results import metrics


def metrics_text(facts, cleanup, now, **more):
    """Return what metrics.metrics_text returns. Raises AnsibleFilterError where these are no facts or no result."""
    for what, value in (("facts", facts), ("a result", cleanup)):
        if not isinstance(value, dict):
            raise AnsibleFilterError(
                f"metrics_text: this is not {what}, but {type(value).__name__}. Give it the buildcache facts of a "
                "host, and the result of buildcache_prune, each empty ({}) where there is none."
            )
    return metrics.metrics_text(facts, cleanup, now, **more)


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"metrics_text": metrics_text}
