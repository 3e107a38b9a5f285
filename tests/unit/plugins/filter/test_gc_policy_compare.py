# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.gc_policy_compare import compared
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import observation

POLICY = {
    "policy": [{"maxUsedSpace": "20GB", "filter": ["unused-for=3600s"]}, {"maxUsedSpace": "20GB"}],
    "enabled": True,
}
HOST = facts(observation(), Daemon({"builder": {"gc": POLICY}}, changed_at=1.0, started_at=2.0))
RULES = [{"unused_for": "1h", "max_used_space": "20GB"}, {"max_used_space": "20GB", "all": "no", "types": None}]


def test_options_are_taken_as_the_module_takes_them():
    assert compared(HOST, RULES)["in_force"]
    assert compared(HOST, RULES, enabled="yes", state="present", unsupported="approximate")["in_force"]
    assert compared(HOST, [dict(RULES[0]), dict(RULES[1], all="yes")])["in_file"] is False
    assert compared(HOST, state="absent")["in_file"] is False
    assert compared(HOST)["in_file"] is False


@pytest.mark.parametrize(
    ("host", "options", "problem"),
    [
        (HOST, {"rules": [{"size": "20GB"}]}, "size"),
        (HOST, {"rules": [{"max_used_space": "20 parsecs"}]}, "20 parsecs"),
        (HOST, {"enabled": "perhaps"}, "perhaps"),
        (HOST, {"state": "gone"}, "gone"),
        (HOST, {"rule": []}, "rule"),
        ({}, {}, "no facts of a host"),
        ("", {}, "no facts of a host"),
        ({"gc_policy": {"in_file": None}}, {}, "no facts of a host"),
    ],
)
def test_what_cannot_be_used_is_named(host, options, problem):
    with pytest.raises(AnsibleFilterError, match=f"gc_policy_compare: .*{problem}"):
        compared(host, **options)
