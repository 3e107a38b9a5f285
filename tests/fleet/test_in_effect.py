# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GC policy that a running dockerd says it obeys, read from buildx where python-on-whales is on the host."""

from __future__ import annotations

import daemon
import fleet
import pytest
from prepared import WHALES

RULES = [
    {"types": ["source.local", "exec.cachemount"], "unused_for": "36h"},
    {"filters": {"private": True}, "unused_for": "90m", "reserved_space": "1GB"},
    {"filters": {"description": "mount / from exec", "id": "abc"}, "all": True, "unused_for": "1h"},
    {"max_used_space": "40%", "min_free_space": "1GB", "reserved_space": "100MB"},
]


@pytest.fixture(scope="module")
def own(prepared):
    """The hosts that have buildx, with python-on-whales and a configuration of their own; as they were in the end."""
    fleet.shell(daemon.KEEP, prepared)
    yield prepared
    fleet.shell(daemon.PUT_BACK, prepared)
    daemon.restart(prepared)


def policy(on, rules=None, **how):
    options = {"rules": rules, "unsupported": "approximate"} if rules else {}
    return fleet.succeeded(fleet.run("buildcache_gc_policy", options, on=on, variables=WHALES, **how))


def test_what_dockerd_obeys_is_what_it_says(own):
    first = policy(own, RULES)
    seen = fleet.facts(on=own, variables=WHALES)
    daemon.restart(own)
    second = policy(own, RULES)
    # A hand changes the file, and makes it look old.
    fleet.shell(f"sed -i s/36h/37h/ {daemon.CONFIG}; touch --date=@1 {daemon.CONFIG}", own)
    changed = fleet.facts(on=own, variables=WHALES)
    for host in own:
        source = "buildx" if host.startswith("docker28") else "start_time"
        assert first[host]["in_effect_source"] == second[host]["in_effect_source"] == source, host
        assert first[host]["changed"] and first[host]["restart_required"], host
        assert seen[host]["gc_policy"]["restart_required"], host
        assert not second[host]["changed"] and second[host]["restart_required"] is False, (host, second[host])
        assert changed[host]["gc_policy"]["restart_required"], host
        obeyed = changed[host]["gc_policy"]["in_effect"]
        if source == "buildx":
            assert obeyed["rules"][0] == {**RULES[0], "all": False}, host
            assert {**RULES[2], **obeyed["rules"][2]} == obeyed["rules"][2], host


def test_default_rules_and_none_are_known_too(own):
    hosts = [host for host in own if host.startswith("docker28")]
    policy(hosts)
    daemon.restart(hosts)
    default = policy(hosts)
    off = fleet.succeeded(fleet.run("buildcache_gc_policy", {"enabled": False}, on=hosts, variables=WHALES))
    daemon.restart(hosts)
    gone = fleet.facts(on=hosts, variables=WHALES)
    for host in hosts:
        assert default[host]["in_effect"] == {"enabled": True, "rules": None}, host
        assert default[host]["in_effect_source"] == "buildx" and not default[host]["restart_required"], host
        assert off[host]["restart_required"], host
        assert gone[host]["gc_policy"]["in_effect"]["enabled"] is False, host
        assert gone[host]["gc_policy"]["restart_required"] is False, host
