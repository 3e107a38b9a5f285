# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What builds work with, how disks grow, and the policies made of that, on real hosts: held against what the engines
say of their records, and taken by the role."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import builds
import engine
import fleet
import pytest
import yaml
from engine import MB
from test_playbooks import recap
from trials import QUIET, ROOM

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import human_size

LOOKS = "/var/lib/buildcache/looks-*.json"
FORGET = f"rm -f {LOOKS}; rm -f /var/lib/docker/grown"

# As if the looks before had been eight hours earlier, and the disk has grown by 32 MB since.
_LATER = f"""
import glob, json
(file,) = glob.glob("{LOOKS}")
kept = json.load(open(file))
kept["looks"] = [[at - 8 * 3600, *rest] for at, *rest in kept["looks"]]
json.dump(kept, open(file, "w"))
"""
_GROW = "head -c 32M /dev/urandom >>/var/lib/docker/grown; sync -f /var/lib/docker"


@pytest.fixture(scope="module")
def used(lab):
    """Hosts with a project whose image stays, and with one that was built again after a while: {host: State}, and when
    that was. No looks are remembered."""
    builds.empty_engines()
    fleet.shell(FORGET)
    fleet.shell(builds.generations("app:latest", 1, 8) + builds.build("stages", builds.stages({"one": 6, "two": 3})))
    time.sleep(QUIET)
    again = time.monotonic()
    fleet.shell(builds.build("stages", builds.stages({"one": 6, "two": 3})))
    yield engine.look(), again
    fleet.shell(FORGET)


def within(state, seconds, now):
    """Return the records that were used, or else made, within that time."""

    def at(record):
        told = re.sub(r"(\.\d{1,6})\d*Z", r"\1Z", record["LastUsedAt"] or record["CreatedAt"])
        return datetime.fromisoformat(told).timestamp()

    return [record for record in state.records.values() if now - at(record) <= seconds]


def size(records):
    return sum(record["Size"] for record in records)


def looks():
    """Return {host: the looks that are remembered}, None where there is no file."""
    found = fleet.shell(f"cat {LOOKS} 2>/dev/null || echo -n null; echo; stat --format %a {LOOKS} 2>/dev/null || true")
    for host, text in found.items():
        assert text.splitlines()[1:] in ([], ["600"]), (host, text)
    return {host: (json.loads(text.splitlines()[0]) or {}).get("looks") for host, text in found.items()}


def test_the_facts_are_what_the_engine_says_and_the_disk_is_seen_to_grow(used):
    states, _again = used
    for host, facts in fleet.facts({"working_set": True}, check=True).items():
        records, told = states[host].records.values(), facts["builders"][0]["working_set"]
        hour = {"bytes": size(records), "records": len(records), "private_bytes": states[host].private_bytes}
        assert told["used_within"] == dict.fromkeys(told["used_within"], hour), host
        assert states[host].shared_bytes > 0 and told["made_per_day"] == size(records), host
        reused = [record for record in records if record["UsageCount"] > 1]
        assert reused and told["reused"] == {"bytes": size(reused), "records": len(reused)}, host
        assert told["growth"] is None, host
    assert looks() == dict.fromkeys(states)

    for number in range(3):
        told = {host: facts["builders"][0]["working_set"] for host, facts in fleet.facts({"working_set": True}).items()}
        assert {host: len(kept) for host, kept in looks().items()} == dict.fromkeys(states, number + 1)
        if number < 2:
            assert all(one["growth"] is None for one in told.values())
            fleet.shell(_LATER, interpreter="python3 -")
            fleet.shell(_GROW)
    for host, one in told.items():
        assert abs(one["growth"]["bytes_per_day"] - 3 * 32 * MB) < 3 * 4 * MB, (host, one["growth"])
        assert one["growth"]["build_cache_bytes_per_day"] == 0 and one["growth"]["looks"] == 3, (host, one["growth"])
    kept = looks()
    fleet.facts({"working_set": True})
    assert looks() == kept


def test_the_advice_names_what_is_worked_with_and_the_role_takes_its_rules(used, tmp_path):
    states, again = used
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"build_hosts": {"hosts": {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    keep = round(time.monotonic() - again + ROOM)
    variables = {"advise_keep": f"{keep}s", "advise_group_by": "lab_kind", "advise_min_free": "5%"}
    results = fleet.playbook_results("advise", "-i", str(away), "-e", json.dumps(variables))
    collected = results["Collect the records of the host"]
    (told,) = results["Show the policy for each group of hosts, and what it would do"].values()
    lines = told["msg"]
    assert re.match("away: without facts: .*Connection refused", lines.pop()), lines

    groups = [[]]
    for line in lines:
        groups[-1].append(line.strip())
        if line.startswith("  gc_policy_rules: "):
            groups.append([])
    assert groups.pop() == [] and len(groups) == len({one["lab_kind"] for one in fleet.hosts().values()})
    for about, _size, *hosts, rules in groups:
        names = [host.partition(":")[0] for host in hosts]
        (kind,) = {fleet.hosts()[name]["lab_kind"] for name in names}
        assert re.match(rf"group \d: {kind}, disks of up to \d+GB, engines that .*; hosts: {len(names)}$", about), about
        for name, line in zip(names, hosts, strict=True):
            now = collected[name]["ansible_facts"]["buildcache"]["engine"]["observed_at"]
            worked = within(states[name], keep, now)
            assert 0 < len(worked) < len(states[name].records), (name, keep)
            said = f"{name}: used within {keep}s {human_size(size(worked))}, made in a day "
            assert line.startswith(said + human_size(size(states[name].records.values()))), (line, said)
            assert "would remove nothing now" in line and "DOES NOT FIT" not in line, line
        policy = yaml.safe_load(rules)
        assert ("min_free_space" in policy["gc_policy_rules"][0]) == ("keep free space" in about), rules
        status, output = fleet.playbook(
            "gc_policy", "--check", "-l", ",".join(names), "-e", json.dumps({**policy, "gc_policy_serial": "100%"})
        )
        assert status == 0 and output.count("would be written, dockerd would be restarted") == len(names), output
        assert {count["failed"] for count in recap(output).values()} == {0}, output


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"advise_keep": "a week"}, "keep: 'a week' is not a duration"),
        ({"advise_percentile": 0}, "percentile: 0 is no whole number from 1 to 100"),
        ({"advise_group_by": "no_such_variable"}, "advise_group_by: no host has a variable no_such_variable"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_a_host_is_asked(lab, variables, says):
    status, output = fleet.playbook("advise", "-e", json.dumps(variables))
    assert status != 0 and says in output and "Collect the records" not in output, output
