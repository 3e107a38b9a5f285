# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that says whether a GC policy is in force on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gc_policy_compare
short_description: Whether a GC policy is in force on a host, by its facts
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Compares a policy with what facts say of the host's C(daemon.json) and of what its dockerd obeys, on the controller.
    Nothing is asked of the host.
  - Refuses what M(buildfleet.buildcache.buildcache_gc_policy) would refuse. Facts grow old, so that whatever is
    done about a host whose policy is not in force is decided there, by that module.
positional: rules
options:
  _input:
    description:
      - The C(buildcache) facts of a host, of M(buildfleet.buildcache.buildcache_facts) or a prune with
        O(buildfleet.buildcache.buildcache_prune#module:facts=true).
    type: dict
    required: true
  rules:
    description:
      - The policy, as O(buildfleet.buildcache.buildcache_gc_policy#module:rules). Left out, the engine has its default
        rules.
    type: list
    elements: dict
  state:
    description: As O(buildfleet.buildcache.buildcache_gc_policy#module:state).
    type: str
    choices: [present, absent]
    default: present
  enabled:
    description: As O(buildfleet.buildcache.buildcache_gc_policy#module:enabled).
    type: bool
    default: true
  unsupported:
    description: As O(buildfleet.buildcache.buildcache_gc_policy#module:unsupported).
    type: str
    choices: [fail, approximate]
    default: fail
seealso:
  - module: buildfleet.buildcache.buildcache_gc_policy
"""

EXAMPLES = r"""
- name: Clean up, and have the facts by the same look
  buildfleet.buildcache.buildcache_prune:
    facts: true

- name: Put the policy into the file where it is not in force
  buildfleet.buildcache.buildcache_gc_policy:
    rules: "{{ rules }}"
  when: not (ansible_facts.buildcache | buildfleet.buildcache.gc_policy_compare(rules)).in_force
"""

RETURN = r"""
_value:
  description:
    - A dictionary with C(in_file) and C(in_effect), whether the policy is what the file says, and what dockerd obeys;
      null where that cannot be told by the facts. C(warnings) has what the engine cannot do of it.
    - C(in_force) is true where M(buildfleet.buildcache.buildcache_gc_policy) would have nothing to write and nothing to
      warn of, and dockerd need not be restarted.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.policy_options import POLICY_OPTIONS
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.compare import compare


def compared(facts, rules=None, **options):
    """Return what compare returns. Raises AnsibleFilterError where the facts or an option cannot be used."""
    # A module takes "yes" for true and 3600 for a text, and so must this.
    given = ArgumentSpecValidator(POLICY_OPTIONS).validate({"rules": rules, **options})
    if given.error_messages:
        raise AnsibleFilterError(f"gc_policy_compare: {'; '.join(given.error_messages)}")
    if not isinstance(facts, dict) or "digest" not in (facts.get("gc_policy") or {}):
        raise AnsibleFilterError(
            "gc_policy_compare: these are no facts of a host. Give it the buildcache facts of buildcache_facts, or of "
            "buildcache_prune with facts: true, collected by this version of the collection."
        )
    try:
        return compare(facts, given.validated_parameters)
    except BuildcacheError as problem:
        raise AnsibleFilterError(f"gc_policy_compare: {problem}") from problem


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"gc_policy_compare": compared}
