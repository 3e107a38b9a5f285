# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes a GC policy for each group of like hosts out of their facts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gc_advice
short_description: A GC policy for each group of like hosts, by what their builds work with
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Says for each group of like hosts how large the build cache has to be so that what was used within a time stays,
    with room for the builds of a day; gives the policy for that, ready for the role
    P(buildfleet.buildcache.gc_policy#role); and names what that would remove now, what of it would have to be built
    again, and the hosts that it does not fit.
  - Works on the controller, on facts collected before. Nothing is asked of the hosts.
positional: keep
options:
  _input:
    description:
      - For each host by name its C(buildcache) facts, collected with
        O(buildfleet.buildcache.buildcache_facts#module:records=true), or a text that says why there are none.
    type: dict
    required: true
  keep:
    description: What was used within this time is to stay.
    type: str
    default: 7d
  min_free:
    description: What is to be free on the disk, as a size or a percentage.
    type: str
    default: 10%
  percentile:
    description: For how many percent of the hosts of a group the policy has to be large enough, and their disks too.
    type: int
    default: 90
  labels:
    description: For hosts by name a text, or a list of texts. Hosts with different ones are in different groups.
    type: dict
seealso:
  - plugin: buildfleet.buildcache.advice_summary
    plugin_type: filter
  - plugin: buildfleet.buildcache.gc_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Collect the records of every host
  buildfleet.buildcache.buildcache_facts:
    records: true

- name: Show the policies that keep what was used within three days
  ansible.builtin.debug:
    msg: "{{ facts | buildfleet.buildcache.gc_advice('3d', min_free='50GB') }}"
  run_once: true
  vars:
    found: "{{ ansible_play_hosts | map('extract', hostvars, ['ansible_facts', 'buildcache']) }}"
    facts: "{{ dict(ansible_play_hosts | zip(found)) }}"
"""

RETURN = r"""
_value:
  description:
    - A dictionary with C(keep), C(min_free) and C(percentile) as they were given, C(groups), and C(without_facts), a
      list of C(host) and C(why).
    - Each group has its C(label), C(disk_up_to_bytes) (disks of more than half of that and at most that; null where
      they are not known), C(free_space) (whether its engines can keep free space on the disk that holds the layers),
      C(size_bytes), C(gc_policy_rules), and C(hosts).
    - C(points) of a group are for a chart. For each C(size_bytes) C(kept_share) is the share of the bytes used within
      the time that a policy of that size would keep.
    - Each of the C(hosts) has C(host), C(engine_version), C(used_bytes) (used within the time), C(made_per_day),
      C(needs_bytes), C(room_bytes) (what its build cache may take; null where its disk is not known),
      C(goes_back_seconds) (for how long nobody used its oldest record), C(goes_back_far_enough), and C(misfits), why
      the policy does not fit it, none where it does.
    - A host's C(removes) has the number of C(records) and the C(bytes) that the policy would remove now, of which
      C(rebuilt_bytes) were used within the time, and C(reused_bytes) more than once.
  type: dict
"""

import json

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.advice import gc_advice

_OPTIONS = {
    "keep": {"type": "str", "default": "7d"},
    "min_free": {"type": "str", "default": "10%"},
    "percentile": {"type": "int", "default": 90},
    "labels": {"type": "dict"},
}


def advised(hosts, keep="7d", **options):
    """Return what advice.gc_advice returns. Raises AnsibleFilterError where the facts or an option cannot be used."""
    # Without what Ansible has them carry along, which the validator would copy whole.
    plain = json.loads(json.dumps({"keep": keep, **options}))
    given = ArgumentSpecValidator(_OPTIONS).validate(plain)
    if given.error_messages:
        raise AnsibleFilterError(f"gc_advice: {'; '.join(given.error_messages)}")
    try:
        return gc_advice(hosts, **given.validated_parameters)
    except BuildcacheError as problem:
        raise AnsibleFilterError(f"gc_advice: {problem}") from problem


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"gc_advice": advised}
