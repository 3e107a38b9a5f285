# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    BUILD_CACHE,
    RUNNING,
    UNREACHABLE,
    Builders,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import Node, Seen
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.working_sets import with_working_sets
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import observation, record

HELD = observation([record("a", 10)])


def sets(seen, builders=None):
    """Return what facts tell of the use of each builder's records: {name: working set}."""
    told = with_working_sets(facts(seen, Daemon({}), builders), seen, builders, {"looks": 3})
    return {one["name"]: one["working_set"] for one in told["builders"]}


def test_facts_tell_it_of_each_builder_that_was_asked_and_the_growth_with_the_engines_own():
    (own,) = sets(HELD).values()
    assert own["used_within"]["1h"]["bytes"] == 10 and own["growth"] == {"looks": 3}
    others = (
        Seen(Node("ci", "docker-container", "ci0", "default", RUNNING), observation([record("b", 20)])),
        Seen(Node("far", "remote", "far0", "tcp://far", UNREACHABLE), None),
    )
    told = sets(HELD, Builders(others=others))
    assert told["default"] == own and told["far"] is None
    assert told["ci"]["used_within"]["1h"]["bytes"] == 20 and told["ci"]["growth"] is None
    assert list(sets(HELD, Builders(embedded=False, others=others))) == ["ci", "far"]


def test_what_the_engine_cannot_list_is_not_known():
    assert sets(HELD._replace(unread=((BUILD_CACHE, "broken"),), records=())) == {"default": None}
