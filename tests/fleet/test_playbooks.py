# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks by their full names, and the module by its short one, as people start them."""

from __future__ import annotations

import json
import re

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB

STOPPED = fleet.KINDS[0]


@pytest.fixture
def filled(empty):
    """Hosts with a rebuilt tag and large private records: {host: State}."""
    fleet.shell(builds.generations("app:latest", 2, 8) + builds.build("stages", builds.stages({"one": 8})))
    return engine.look()


def lines(output):
    """Return the playbook's line for each host: {host: line}."""
    found = re.findall(r"^ +[-'\" ]*([a-z0-9-]+): ((?:would free|freed|FAILED).*)$", output, re.MULTILINE)
    assert len(found) == len(fleet.hosts()), output
    return dict(found)


def recap(output):
    """Return {host: {"ok": …, "changed": …, "failed": …}}."""
    return {
        host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", counts)}
        for host, counts in re.findall(r"^(\S+) +: (ok=.*)$", output, re.MULTILINE)
    }


def test_cleanup_previews_cleans_and_goes_on_where_a_host_fails(filled):
    status, output = fleet.playbook("cleanup", "--check")
    assert status == 0, output
    for host, line in lines(output).items():
        assert re.match(r"would free \d+(\.\d)?MB, still held: ", line), (host, line)
    for host, state in engine.look().items():
        assert state.contents == filled[host].contents, host

    fleet.shell("systemctl stop docker.socket docker.service 2>&1", [STOPPED])
    try:
        # As they come from a survey or the command line: strings, and empty ones for what is not set.
        variables = ["cleanup_build_cache=yes", "cleanup_all=false", "cleanup_unused_for=", "cleanup_max_used_space="]
        status, output = fleet.playbook("cleanup", *(word for one in variables for word in ("-e", one)))
    finally:
        fleet.shell(daemon.START, [STOPPED])

    assert status != 0, output
    summary, counts = lines(output), recap(output)
    assert summary[STOPPED].startswith("FAILED: ") and "systemctl status docker" in summary[STOPPED], summary
    assert counts[STOPPED]["failed"] == 1, counts
    after = engine.look()
    gains = engine.gained(filled, after)
    for host in set(filled) - {STOPPED}:
        freed = re.match(r"freed ([\d.]+)MB, predicted [\d.]+MB, still held: \w+ ", summary[host])
        assert freed and abs(float(freed[1]) * MB - gains[host]) < 2 * MB, (host, summary[host], gains[host])
        assert gains[host] > 16 * MB and counts[host]["changed"] == 1 and counts[host]["failed"] == 0, (host, counts)
        assert after[host].tags == {"app:latest", "stages:latest"} and after[host].untagged == set(), host
    assert after[STOPPED].contents == filled[STOPPED].contents

    for host_changes in ({STOPPED: 1}, {}):
        status, output = fleet.playbook("cleanup")
        assert status == 0, output
        changed = {host: counts["changed"] for host, counts in recap(output).items()}
        assert changed == {**dict.fromkeys(filled, 0), **host_changes}, output


def test_cleanup_takes_its_options_from_extra_variables(filled):
    variables = {"cleanup_images": "unused", "cleanup_all": "yes", "cleanup_types": ["regular", "internal"]}
    status, output = fleet.playbook("cleanup", "-e", json.dumps(variables))
    assert status == 0, output
    for host, state in engine.look().items():
        assert state.images == [], host
        assert {record["Type"] for record in state.records.values()} == {"source.local"}, host


def test_the_module_answers_to_its_short_name_in_the_checkout(filled):
    status, output = fleet.ansible(
        "ansible", "-i", str(fleet.INVENTORY), "all", "-m", "buildcache_prune", "-a", "protect_for=0s"
    )
    assert status == 0, output
    assert set(re.findall(r"^(\S+) \| CHANGED", output, re.MULTILINE)) == set(filled), output
    for host, state in engine.look().items():
        assert state.untagged == set() and len(state.records) < len(filled[host].records), host
