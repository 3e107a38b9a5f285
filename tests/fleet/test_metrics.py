# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file for Prometheus on real hosts: what it says is so, and the last success outlives a failure."""

from __future__ import annotations

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB
from test_playbooks import recap

from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.exposition import values

DIRECTORY = "/var/lib/prometheus/node-exporter"
FILE = f"{DIRECTORY}/buildcache.prom"
STOPPED = fleet.KINDS[0]
RAN = "buildcache_cleanup_last_run_timestamp_seconds"
SUCCEEDED = "buildcache_cleanup_last_success_timestamp_seconds"


@pytest.fixture
def built(empty):
    """Hosts with a rebuilt tag, and without a file or a directory of metrics: {host: State}."""
    fleet.shell(f"rm -rf {DIRECTORY}; " + builds.generations("app:latest", 2, 8))
    yield engine.look()
    fleet.shell(f"rm -rf {DIRECTORY}; " + daemon.START)


def changes(*arguments, fails=False):
    """Run the playbook, and return the changes of each host and the output."""
    status, output = fleet.playbook("cleanup_metrics", *arguments)
    assert (status != 0) == fails, output
    return {host: counts["changed"] for host, counts in recap(output).items()}, output


def told():
    """Return what the file says: {host: {name: value}} of what has no label."""
    return {host: values(text) for host, text in fleet.shell(f"cat {FILE}").items()}


def test_the_file_says_what_is_so_and_the_last_success_outlives_a_failure(built):
    # Where the directory is not there, it is not made unless asked, nor in a preview.
    changed, output = changes("--check", "--diff", fails=True)
    assert changed == dict.fromkeys(built, 1) and "directory of the metrics is there" in output, output
    make = ("-e", "metrics_make_directory=true")
    changed, output = changes("--check", "--diff", *make)
    assert changed == dict.fromkeys(built, 3) and "+buildcache_cleanup_success 1" in output, output
    fleet.shell(f"! ls {DIRECTORY} 2>&1")

    changed, _output = changes(*make)
    assert changed == dict.fromkeys(built, 3)
    first, after = told(), engine.look()
    gains = engine.gained(built, after)
    texts = fleet.shell(f"cat {FILE}; stat --format %a {FILE}")
    for host, state in after.items():
        assert first[host]["buildcache_cleanup_success"] == first[host]["buildcache_facts_success"] == 1, host
        assert abs(first[host]["buildcache_cleanup_freed_bytes"] - gains[host]) < 2 * MB < gains[host], host
        assert first[host]["buildcache_images"] == len(state.images), host
        records = f'buildcache_build_cache_records{{builder="default"}} {len(state.records)}\n'
        assert records in texts[host] and texts[host].endswith("\n644\n"), (host, texts[host])

    fleet.shell("systemctl stop docker.socket docker.service 2>&1", [STOPPED])
    changed, output = changes(fails=True)
    assert changed == dict.fromkeys(built, 0), output
    for host, now in told().items():
        failed = host == STOPPED
        assert now["buildcache_cleanup_success"] == now["buildcache_facts_success"] == (not failed), host
        assert now[RAN] > first[host][RAN], host
        assert now[SUCCEEDED] == (first[host][SUCCEEDED] if failed else now[RAN]), host
        assert ("buildcache_images" in now) != failed, host

    fleet.shell(daemon.START, [STOPPED])
    assert changes("-e", "metrics_state=absent")[0] == dict.fromkeys(built, 1)
    fleet.shell(f"! ls {FILE} 2>&1; test -d {DIRECTORY}")
