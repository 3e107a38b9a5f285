# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says what a GC policy would remove on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gc_plan
short_description: What a GC policy would remove from a host's build cache
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Runs BuildKit's own algorithm on the controller, on facts collected before. Nothing is asked of the host.
  - Shows what the first run removes after the restart that puts the policy in force, as written by
    M(buildfleet.buildcache.buildcache_gc_policy) for the version of the engine.
positional: rules
options:
  _input:
    description:
      - The C(buildcache) facts of a host, collected with
        O(buildfleet.buildcache.buildcache_facts#module:records=true).
    type: dict
    required: true
  rules:
    description:
      - The policy, a list of rules. Each has any of C(types), C(unused_for), C(all), C(reserved_space),
        C(max_used_space), C(min_free_space) and C(filters), as the options of
        M(buildfleet.buildcache.buildcache_prune).
    type: list
    elements: dict
    required: true
  engine_version:
    description: The version of another engine than the host's, to see what an upgrade would change.
    type: str
"""

EXAMPLES = r"""
- name: Collect the records of every host
  buildfleet.buildcache.buildcache_facts:
    records: true

- name: Show what a policy would remove on each host
  ansible.builtin.debug:
    msg: "{{ ansible_facts.buildcache | buildfleet.buildcache.gc_plan(rules) }}"
  vars:
    rules:
      - types: [source.local, exec.cachemount]
        unused_for: 48h
        max_used_space: 512MB
      - max_used_space: 20GB
"""

RETURN = r"""
_value:
  description:
    - A dictionary with C(removed) and C(uncertain) (each with C(count), C(bytes) and C(ids)), C(remaining_bytes), and
      C(kept), a list of C(reason), C(count) and C(bytes).
    - C(uncertain) are records that BuildKit ranks the same, where not all of them go.
  type: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.what_if import gc_plan


def planned(facts, rules, engine_version=None):
    """Return what what_if.gc_plan returns. Raises AnsibleFilterError where the facts or a rule cannot be used."""
    try:
        return gc_plan(facts, rules, engine_version)
    except BuildcacheError as problem:
        raise AnsibleFilterError(f"gc_plan: {problem}") from problem


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"gc_plan": planned}
