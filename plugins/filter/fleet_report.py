# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the report of a fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_report
short_description: The report of a fleet, as a page, CSV or JSON
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Makes one report of what is known of many hosts, also of those that failed or were not reached. Nothing is asked
    of a host.
  - The page is one file that needs no network. Its table is sorted and filtered by DataTables, which the Python package
    itables on the controller carries; C(pip install itables) brings it.
positional: form, made_at, advise
options:
  _input:
    description:
      - The C(hostvars) of the hosts on which the tasks of the role P(buildfleet.buildcache.report#role) have run, or
        dictionaries with what is known of these.
      - That is C(inventory_hostname), C(report_looked), the result of M(buildfleet.buildcache.buildcache_facts),
        C(cleanup_result), that of M(buildfleet.buildcache.buildcache_prune) in check mode, and C(gc_policy_wanted),
        options of M(buildfleet.buildcache.buildcache_gc_policy), or C(report_policy_problem), why there are none.
      - All but the name can be in one text of JSON, C(report_told), which takes Ansible far less time.
    type: list
    elements: dict
    required: true
  form:
    description: What to make.
    type: str
    choices: [html, csv, json]
    required: true
  made_at:
    description: When the report is made, in seconds since the epoch.
    type: float
    required: true
  advise:
    description: >-
      The options of P(buildfleet.buildcache.gc_advice#filter), for a report with the policies that it advises. Without
      any there is no advice.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.copy:
    content: "{{ hosts_told | buildfleet.buildcache.fleet_report('html', 1767225600) }}"
    dest: /srv/report.html
    mode: "0640"
  delegate_to: localhost
  run_once: true
  vars:
    hosts_told: "{{ ansible_play_hosts_all | map('extract', hostvars) }}"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""

import json
from functools import lru_cache

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.policy_options import POLICY_OPTIONS
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.report import report, report_csv
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils import report_page

_TOLD = ("report_looked", "cleanup_result", "gc_policy_wanted", "report_policy_problem")

FORMS = {
    "html": report_page.page,
    "csv": report_csv,
    "json": lambda model: json.dumps(model) + "\n",
}


def fleet_report(hosts, form, made_at, advise=None):
    """Return the text of a file. Raises AnsibleFilterError for another form, for options of an advice that cannot be
    meant, and where the page cannot be made."""
    if form not in FORMS:
        raise AnsibleFilterError(f"fleet_report: {form!r} is no form of a report. Give one of {', '.join(FORMS)}.")
    # Either way without what Ansible notes of where a value is from, which would be carried along at every step.
    told = tuple(
        (host["inventory_hostname"], host.get("report_told") or json.dumps({name: host.get(name) for name in _TOLD}))
        for host in hosts
    )
    try:
        return FORMS[form](_model(told, made_at, json.dumps(advise or {})))
    except (report_page.Missing, BuildcacheError) as problem:
        raise AnsibleFilterError(f"fleet_report: {problem}") from problem


@lru_cache(maxsize=1)
def _model(told, made_at, advise):
    """Return the model that all forms are made of, one after the other; ``told`` has pairs of a host's name and what is
    known of it, as JSON."""
    asked = {}
    return report({name: _known(json.loads(text), asked) for name, text in told}, made_at, json.loads(advise))


def _known(told, asked):
    """Return what is known of a host as report() takes it; ``asked`` remembers the policies that were read already."""
    looked = told["report_looked"] or {}
    facts = (looked.get("ansible_facts") or {}).get("buildcache")
    problem, wanted = told["report_policy_problem"], told["gc_policy_wanted"]
    return {
        "facts": facts,
        "failure": looked.get("msg") or "",
        "unreachable": looked.get("unreachable", False),
        "preview": told["cleanup_result"] if facts else None,
        "wanted": {"problem": problem} if problem else _options(wanted, asked) if wanted else None,
    }


def _options(wanted, asked):
    """Return the options of a policy as the module would have them, or what is wrong with them."""
    key = json.dumps(wanted, sort_keys=True)
    if key not in asked:
        # A module takes "yes" for true and 3600 for a text, and so must this.
        given = ArgumentSpecValidator(POLICY_OPTIONS).validate(wanted)
        bad = "; ".join(given.error_messages)
        asked[key] = {"problem": bad} if bad else given.validated_parameters
    return asked[key]


class FilterModule:
    """The filters of this file."""

    def filters(self):
        """Return the filters by name."""
        return {"fleet_report": fleet_report}
