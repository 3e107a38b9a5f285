# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role timer: hosts that clean up by themselves as a controller would have them, and tell of it."""

from __future__ import annotations

import itertools
import json

import builds
import engine
import fleet
import pytest
from engine import MB

DIRECTORY = "/var/log/buildcache-timer"
LOG, METRICS = f"{DIRECTORY}/audit.jsonl", f"{DIRECTORY}/buildcache.prom"
ARCHIVE, SETTINGS = "/usr/local/lib/buildcache/cleanup.pyz", "/usr/local/lib/buildcache/cleanup.json"
UNITS = "/etc/systemd/system/buildcache-cleanup.service /etc/systemd/system/buildcache-cleanup.timer"
NEVER = {"timer_on_calendar": "2099-01-01"}
OPTIONS = {**NEVER, "cleanup_images": "unused", "cleanup_audit_log": LOG, "cleanup_lock_timeout": "1s"}
WITH_METRICS = {**OPTIONS, "timer_metrics": "yes", "metrics_directory": DIRECTORY}

START = "systemctl start buildcache-cleanup 2>/dev/null && echo started || true\n"
JOURNAL = "journalctl --unit buildcache-cleanup --output json --no-pager --lines 12\n"
STOP = "systemctl disable --now --quiet buildcache-cleanup.timer 2>/dev/null || true\n"
LEFT = f"find /etc/systemd /usr/local/lib {DIRECTORY} -path '*buildcache*' -not -type d | sort\n"


@pytest.fixture(scope="module", autouse=True)
def places(lab):
    """A directory for what the cleanup writes; in the end no timer."""
    fleet.shell(f"rm -rf {DIRECTORY}; mkdir {DIRECTORY}\n")
    yield
    fleet.shell(f"{STOP}rm -rf {DIRECTORY} /usr/local/lib/buildcache {UNITS}; systemctl daemon-reload\n")


def play(variables, *arguments):
    """Run the playbook; return its status, its output, and how many changes it made on all hosts."""
    status, output = fleet.playbook("timer", *arguments, "-e", json.dumps(variables))
    return status, output, sum(int(line.partition("changed=")[2].split()[0]) for line in output.splitlines()
                               if "changed=" in line)  # fmt: skip


def journal(on=None):
    """What the last runs have told: {host: [(priority, text)]}."""
    texts = fleet.shell(JOURNAL, on)
    entries = {host: map(json.loads, text.splitlines()) for host, text in texts.items()}
    return {host: [(int(one["PRIORITY"]), one["MESSAGE"]) for one in of] for host, of in entries.items()}


def by_host(values):
    """A variable that has these values by turns on the hosts."""
    chosen = dict(zip(fleet.hosts(), itertools.cycle(values)))
    return "{{ " + json.dumps(chosen) + "[inventory_hostname] }}"


def test_bad_options_are_refused_by_their_names_and_leave_nothing(lab):
    before = fleet.shell(LEFT)
    for wrong, *words in (
        (
            {"cleanup_unused_for": by_host(["soon", ""]), "timer_on_calendar": by_host(["2099-01-01", "now and then"])},
            "unused_for: 'soon'",
            "timer_on_calendar: now and then",
        ),
        (
            {
                "timer_randomized_delay": by_host(["a while", "1h"]),
                "timer_metrics": True,
                "metrics_directory": by_host([DIRECTORY, "/nowhere"]),
            },
            "timer_randomized_delay: a while",
            "metrics_directory: there is no /nowhere",
        ),
    ):
        status, output, changes = play({**OPTIONS, **wrong})
        assert status == 2 and changes == 0 and all(word in output for word in words[: len(lab)]), output
    # Known only once the archive is tried on the host.
    status, output, _changes = play({**OPTIONS, "timer_python": "/bin/false"})
    assert status == 2 and "cannot clean up by the archive" in output, output
    assert fleet.shell(LEFT) == before


def test_a_host_cleans_up_as_its_controller_would_and_tells_of_it(lab, empty):
    seen = fleet.shell(LEFT)
    status, output, changes = play(WITH_METRICS, "--check", "--diff")
    assert status == 0 and changes and fleet.shell(LEFT) == seen, output
    status, output, changes = play(WITH_METRICS)
    assert status == 0 and changes, output
    modes = fleet.shell(f"stat --format '%a %U' {ARCHIVE} {SETTINGS}\nsystemd-analyze verify {UNITS}")
    assert set(modes.values()) == {"755 root\n600 root\n"}, modes
    # A cut-off copy, as an upgrade would find an older one.
    fleet.shell(f"truncate --size 1000 {ARCHIVE}\n")
    assert play(WITH_METRICS)[2] == len(lab)
    assert play(WITH_METRICS)[2] == 0

    fleet.shell(builds.generations("app:1", 2, 4) + builds.build("other:1", builds.FROM_SCRATCH))
    before = engine.look()
    previews = fleet.prune({"images": "unused"}, check=True)
    assert all("started" in answer for answer in fleet.shell(START).values()), journal()

    told, logs, texts = journal(), fleet.shell(f"cat {LOG}"), fleet.shell(f"cat {METRICS}")
    for host, state in engine.look().items():
        planned = [step["planned"] for step in previews[host]["steps"]]
        gone = {name for step in planned for name in step["ids"]}
        assert gone and before[host].ids - state.ids == gone, (host, told[host])
        line, result = [text for priority, text in told[host] if priority == 6 and text.startswith(("freed", "{"))][-2:]
        result = json.loads(result)
        assert line.startswith("freed ") and not result["failed"] and result["changed"], told[host]
        counts = [one["count"] for one in planned]
        assert [step["removed"]["count"] for step in result["steps"]] == counts, (counts, result)
        assert result["predicted_bytes"] == previews[host]["predicted_bytes"], result
        entries = [json.loads(text) for text in logs[host].splitlines()]
        assert {one["id"] for one in entries} == gone, logs[host]
        assert {one["run"] for one in entries} == {result["audit"]["run"]}, logs[host]
        freed = f"buildcache_cleanup_freed_bytes {result['freed_bytes']}"
        assert freed in texts[host] or f"{result['freed_bytes']:.9e}" in texts[host], texts[host]

    # Whoever else works on the host is waited for, and named.
    answers = fleet.shell(f"flock /run/buildcache/lock sleep 8 &\nsleep 0.5\n{START}wait\n")
    assert not any("started" in answer for answer in answers.values()), answers
    for host, told in journal().items():
        errors = [text for priority, text in told if priority == 3]
        assert any(text.startswith("FAILED: ") and "lock" in text for text in errors), (host, told)

    # Absent takes away what was made, and nothing else.
    status, output, changes = play({"timer_state": "absent"})
    assert status == 0 and changes, output
    assert play({"timer_state": "absent"})[2] == 0
    left = fleet.shell(f"{LEFT}systemctl list-unit-files 'buildcache*' --no-legend || true\n")
    assert set(left.values()) == {f"{LOG}\n{METRICS}\n"}, left


def test_a_host_without_a_controller_stays_below_its_marks(lab, empty):
    allowed = 60 * MB
    available = {host: state.disk["f_bavail"] * state.disk["f_frsize"] for host, state in engine.look().items()}
    marks = {host: str(available[host] - allowed) for host in lab}
    low = {host: str(available[host] - allowed // 2) for host in lab}
    often = {
        "timer_on_calendar": "*:*:0/2",
        "timer_randomized_delay": "0",
        "cleanup_images": "unused",
        "cleanup_high_watermark": "{{ " + json.dumps(marks) + "[inventory_hostname] }}",
        "cleanup_low_watermark": "{{ " + json.dumps(low) + "[inventory_hostname] }}",
    }
    status, output, _changes = play(often)
    assert status == 0, output
    # In one store more than twice as much as there may be, in the other four times.
    made = [builds.build(f"app{n}:1", builds.FROM_SCRATCH + builds.write(f"/n{n}", 10)) for n in range(14)]
    fleet.shell("sleep 1\n".join(made))
    fleet.shell(STOP)
    for host, state in engine.look().items():
        now = state.disk["f_bavail"] * state.disk["f_frsize"]
        assert now > available[host] - allowed - 3 * 10 * MB, (host, available[host] - now, journal([host]))
        assert "app0:1" not in state.tags, (host, state.tags)
