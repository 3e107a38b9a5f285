# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log on real hosts: what it says went is what went, a trace finds it, and facts tell the last cleanup."""

from __future__ import annotations

import json
import re

import builds
import daemon
import engine
import fleet
import pytest

pytestmark = pytest.mark.any_engine

DIRECTORY = "/var/log/buildcache-test"
LOG = f"{DIRECTORY}/audit.jsonl"
LAST = ("freed_bytes", "predicted_bytes", "reported_bytes")
CHOSEN = {
    "containers": {"containers": "stopped"},
    "images": {"images": "dangling"},
    "build_cache": {"build_cache": True, "all": True},
}
"""Why each step removes what it does, by the options of the test."""


@pytest.fixture
def built(empty):
    """Hosts with a rebuilt tag, an old tool and a container that has ended, and without a log: {host: State}."""
    made = builds.generations("app:latest", 2, 4) + builds.build("old/tool:1", builds.FROM_SCRATCH)
    fleet.shell(
        f"rm -rf {DIRECTORY}; mkdir {DIRECTORY}\n{daemon.KEEP}{made}"
        "docker run --name ended --network none app:latest /bin/busybox true\n"
    )
    yield engine.look()
    fleet.shell(f"rm -rf {DIRECTORY}\n{daemon.PUT_BACK}")


def logged():
    """The entries of each host's log: {host: [entry]}."""
    return {
        host: [json.loads(line) for line in text.splitlines()]
        for host, text in fleet.shell(f"cat {LOG} 2>/dev/null || true").items()
    }


def last(result):
    """What facts are to tell of a run with this result, but for its time."""
    removed = sum(step["removed"]["count"] for step in result["steps"])
    figures = {name: result[name] for name in LAST}
    return {**figures, "removed": removed, "shortfall_bytes": None, "failed": result["failed"], "msg": ""}


def told(facts):
    """What facts tell of the last cleanup, but for its time, which is one of just now."""
    assert 0 <= facts["engine"]["observed_at"] - facts["last_cleanup"]["at"] < 600, facts["last_cleanup"]
    return {name: value for name, value in facts["last_cleanup"].items() if name != "at"}


def trace(word, *arguments):
    """Run the playbook, and return its exit status, its lines and its output."""
    where = ("-e", f"trace_audit_log={LOG}")
    status, output = fleet.playbook("trace", "-e", f"object={word}", *where, *arguments)
    return status, re.findall(r'^        "(.*?)",?$', output, re.MULTILINE), output


def test_what_went_is_logged_and_traced_and_the_last_cleanup_told(built, tmp_path):
    log = {"audit_log": LOG, "run_id": "nightly-7"}
    options = {"containers": "stopped", "images_remove": ["old/**"], "all": True, **log}
    refused, preview, done, again = fleet.play(
        [
            fleet.task("buildcache_prune", {**options, "audit_log": f"{DIRECTORY}/none/log"}),
            fleet.task("buildcache_prune", options, check=True),
            fleet.task("buildcache_prune", {**options, "facts": True}),
            fleet.task("buildcache_prune", options),
        ]
    )
    entries, after = logged(), engine.look()
    for host, result in fleet.succeeded(done).items():
        assert f"there is no directory {DIRECTORY}/none" in refused[host]["msg"], refused[host]["msg"]
        assert "audit" not in preview[host] and not again[host]["changed"], again[host]["steps"]
        assert result["audit"] == {"path": LOG, "run": "nightly-7", "entries": len(entries[host])}
        assert again[host]["audit"]["entries"] == 0

        ids = [(step["step"], name) for step in result["steps"] for name in step["removed"]["ids"]]
        assert [(one["kind"], one["id"]) for one in entries[host]] == ids, host
        gone = built[host].ids - after[host].ids
        assert {one["id"] for one in entries[host]} == gone and len(gone) > 4, host
        assert {one["run"] for one in entries[host]} == {"nightly-7"}
        records = {name: record["Size"] for name, record in built[host].records.items()}
        tags = {one["Id"]: one["RepoTags"] or [] for one in built[host].images}
        for one in entries[host]:
            if one["kind"] == "build_cache":
                assert one["bytes"] == records[one["id"]] and one["builder"] == "default", one
            if one["kind"] == "images":
                assert [name for name in one["tags"] if "@" not in name] == [
                    name for name in tags.get(one["id"], []) if name != "<none>:<none>"
                ], one
            named = {"images_remove": ["old/**"]} if "old/tool:1" in one.get("tags", ()) else CHOSEN[one["kind"]]
            assert one["why"] == named, one
        assert told(result["ansible_facts"]["buildcache"]) == last(result), host

    assert set(fleet.shell(f"stat --format %a {LOG}").values()) == {"640\n"}
    for host, facts in fleet.facts().items():
        assert told(facts) == last(again[host]) and facts["last_cleanup"]["removed"] == 0, host

    failed, known = fleet.play(
        [fleet.task("buildcache_prune", {"api_version": "1.99"}), fleet.task("buildcache_facts")]
    )
    for host, result in failed.items():
        now = known[host]["ansible_facts"]["buildcache"]["last_cleanup"]
        assert now["failed"] and now["msg"] == result["msg"] and now["freed_bytes"] is None, (host, now)

    # As the full disk leaves it that cuts a line off.
    torn = next(iter(built))
    fleet.shell(f'printf \'{{"time": "2026-\' >>{LOG}', [torn])
    policy = {"rules": [{"max_used_space": "3GB"}], "audit_log": LOG}
    written = fleet.play([fleet.task("buildcache_gc_policy", policy, check=check) for check in (True, False, False)])
    for host, result in fleet.succeeded(written[1]).items():
        assert "audit" not in written[0][host] and written[2][host]["audit"]["entries"] == 0
        assert result["changed"] and result["audit"]["entries"] == 1, result
        change = json.loads(fleet.shell(f"tail -n 1 {LOG}", [host])[host])
        assert change["event"] == "policy_changed" and change["file"] == daemon.CONFIG, change
        assert change["new"] == {"enabled": True, "rules": [{"all": False, "max_used_space": "3GB"}]}, change
        assert change["run"] == result["audit"]["run"] != "nightly-7"

    status, lines, output = trace("old/tool:1")
    assert status == 0, output
    assert lines[0].split() == ["host", "time", "what", "bytes", "why"], output
    for host in built:
        (row,) = [line for line in lines[1:] if line.startswith(f"{host} ") and "images old/tool:1" in line]
        assert row.endswith("images_remove old/**"), row
    assert lines[len(built) + 1 :] == [f"{torn}: 1 lines of the log cannot be read"], output

    # By the beginning of an id; with a host that cannot be reached, one without a log, and more than is to be shown.
    (first, *_rest) = entries[torn]
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"build_hosts": {"hosts": {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    status, lines, output = trace(first["id"].rpartition(":")[2][:12], "-i", str(away), "-e", "trace_since=1h")
    assert status == 2 and any(line.startswith("away: not known: The host was not reached") for line in lines), output
    assert f"containers ended ({first['id'][:12]})" in lines[1], lines
    lines = trace(daemon.CONFIG, "-l", torn)[1]
    assert "module buildcache_gc_policy, state present" in lines[1], lines
    status, lines, output = trace("**", "-e", f"trace_audit_log={DIRECTORY}/none", "-l", torn)
    assert lines == ["nothing was found", f"{torn}: no log: there is no such file"], output
    status, lines, output = trace("")
    assert status == 2 and "Say what is sought in object" in output, output
