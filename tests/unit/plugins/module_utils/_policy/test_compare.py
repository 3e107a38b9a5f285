# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import BadConfig, parse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import ConfigFile
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.compare import compare
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import (
    edited,
    policy_result,
    wanted_policy,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon, gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, observation
from ansible_collections.buildfleet.buildcache.tests.unit.policies import CEILING, ENGINES, rule_lists

NEWEST = ENGINES[-1]
DISK = 400 * 2**30
unhurried = settings(deadline=None, max_examples=examples(100))


def both(text, version=NEWEST, started_at=50.0, **options):
    """Return what the facts of a host with this daemon.json say of a policy, and what the module finds to do there:
    whether it writes, whether a restart is required, and its warnings."""
    options = {"state": "present", "enabled": True, "rules": None, "unsupported": "approximate", **options}
    daemon = Daemon(config=parse(text or ""), text=text, changed_at=40.0, started_at=started_at)
    seen = observation(filesystems=[filesystem(DISK, DISK // 2)], version=version)
    # As Ansible hands them on.
    told = compare(json.loads(json.dumps(facts(seen, daemon))), options)
    config, status = ConfigFile("daemon.json", text, daemon.config, None), gc_status(daemon, version)
    wanted = wanted_policy(options, version, DISK, status.in_file)
    new = edited(config, wanted, version, status.in_file)
    result = policy_result(daemon, status, wanted, new, version)
    return told, result["changed"], result["restart_required"], warnings(wanted, new, version)


def written(rules, version):
    """Return the daemon.json that the module writes."""
    config = ConfigFile("daemon.json", None, {}, None)
    options = {"state": "present", "enabled": True, "rules": rules, "unsupported": "approximate"}
    return edited(config, wanted_policy(options, version, DISK, None), version, None).text


SHARES = [{"max_used_space": "37%", "reserved_space": "11%"}]
texts = st.one_of(
    st.sampled_from(
        [
            None,
            "{}",
            '{"builder": {"GC": {"Enabled": true}}}',
            '{"builder": {"gc": {"enabled": false}}}',
            '{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "9GB"}}}',
            '{"builder": {"gc": {"enabled": true, "policy": []}}}',
            # A minimum of free space alone is another policy than the one beside a bound that nothing reaches.
            '{"builder": {"gc": {"enabled": true, "policy": [{"reservedSpace": "1GB", "minFreeSpace": "9GB"}]}}}',
            '{"builder": {"gc": {"enabled": true, "policy": [{"keepStorage": "20GB", "filter": ["parents=x"]}]}}}',
        ]
    ),
    st.tuples(rule_lists | st.just(SHARES), st.sampled_from(ENGINES)).map(lambda one: written(*one)),
)


@unhurried
@given(st.data(), texts, st.sampled_from(ENGINES), st.booleans(), st.sampled_from([30.0, 50.0, None]))
def test_facts_tell_what_the_module_would_find(data, text, version, enabled, started_at):
    rules = data.draw(st.none() | st.just(SHARES) | st.just([{**CEILING, "min_free_space": "9GB"}]) | rule_lists)
    state = data.draw(st.sampled_from(["present", "absent"])) if rules is None else "present"
    try:
        told, changed, restart, warned = both(text, version, started_at, rules=rules, enabled=enabled, state=state)
    except BadOption:
        return
    except BadConfig as problem:
        # The rest of the file keeps dockerd from starting, which the module says.
        assert "dockerd would not start" in str(problem), problem
        return
    if told["in_file"] is not None:
        assert told["in_file"] is not changed, text
    assert told["in_effect"] == (None if changed or restart is None or told["in_file"] is None else not restart)
    assert told["in_force"] == (told["in_file"] is True and not changed and restart is False and not warned)


@unhurried
@given(rule_lists, st.sampled_from(ENGINES))
def test_a_policy_that_was_written_and_obeyed_is_in_force(rules, version):
    told, changed, restart, warned = both(written(rules, version), version, rules=rules)
    assert not changed and not restart
    assert told["in_file"] is True and told["in_effect"] is True and told["in_force"] is (not warned)


def test_shares_are_of_the_disk_that_the_engine_measures():
    assert both(written(SHARES, NEWEST), rules=SHARES)[0]["in_force"]
    assert not both(written(SHARES, NEWEST), rules=[{"max_used_space": "38.5%"}])[0]["in_file"]


def test_a_file_that_cannot_be_used_tells_nothing():
    options = {"state": "present", "enabled": True, "rules": [CEILING], "unsupported": "fail"}
    told = compare(facts(observation(), Daemon(config=None, problem="comments")), options)
    assert (told["in_file"], told["in_effect"], told["in_force"]) == (None, None, False)


def test_what_the_module_refuses_is_refused():
    with pytest.raises(BadOption, match="gc_policy_empty"):
        both("{}", rules=[])
    with pytest.raises(BadOption, match="gc_rule_unsupported"):
        both("{}", "26.1.5", rules=[{**CEILING, "min_free_space": "1GB"}], unsupported="fail")
