# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""buildcache_gc_policy on real hosts: the file that it writes, what it leaves alone, and whether it knows what dockerd
obeys."""

from __future__ import annotations

import json
import re

import daemon
import fleet
import pytest
from trials import SEED
from variants import variants

pytestmark = pytest.mark.any_engine

RULES = [
    {"types": ["source.local", "exec.cachemount"], "unused_for": "2d"},
    {"reserved_space": "1GB", "unused_for": "1m"},
    {"all": True, "max_used_space": "15%"},
]
SECRET = "hunter2"
LAST_LOOKS = "/var/lib/buildcache/last_looks.json"
SMALL_DISK = """
busybox mount -t tmpfs -o size=8k tmpfs /etc/docker
printf '{"log-opts": {"tag": "'$(head -c 600 /dev/zero | tr '\\0' x)'"}}' >$config
"""


def policy(options=None, **how):
    return fleet.succeeded(fleet.run("buildcache_gc_policy", {"rules": RULES, **(options or {})}, **how))


def old_style(own):
    """A file as somebody wrote it for an older engine, with odd blank space, and credentials in other keys."""
    keys = "".join(f'  "{key}" :\t{json.dumps(value)},\n' for key, value in own.items())
    return (
        '{\n  "labels": [ "a=1",\n "b=2" ],\n' + keys + '  "builder": {"GC": {"defaultKeepStorage" : "10GB",'
        ' "Enabled": true, "policy": [{"keepStorage": "10GB", "filter": ["unused-for=24h"]}, {"keepStorage": "10GB"}]},'
        ' "entitlements": {"network-host": true}},\n'
        f'  "log-opts": {{ "tag": "{SECRET}" }},\n  "log-driver":   "json-file"\n}}'
    )


STARTS = {"old": old_style, "none": lambda _own: None, "empty": json.dumps}


@pytest.mark.parametrize("name", variants(STARTS, first=1))
def test_first_run_writes_the_policy_and_the_second_changes_nothing(own, name):
    start = STARTS[name]
    fleet.shell(f"rm -f {daemon.CONFIG}")
    texts = {host: start(keys) for host, keys in own.items() if start(keys)}
    if texts:
        daemon.put(texts)
    daemon.restart()
    before = daemon.texts()
    preview = policy(check=True, diff=True)
    assert daemon.texts() == before, name
    first = policy(diff=True)
    written = daemon.texts()
    again = policy(diff=True)
    for host in own:
        told = first[host]
        assert told["changed"] and told["restart_required"] and not again[host]["changed"], (name, host)
        assert again[host]["restart_required"], (name, host)
        assert preview[host]["diff"] == told["diff"] and preview[host]["rendered"] == told["rendered"], (name, host)
        assert SECRET not in json.dumps([told, preview[host]]), (name, host)
        data = json.loads(written[host])
        gc = {key.lower(): value for key, value in data["builder"].items()}["gc"]
        assert {key.lower(): value for key, value in gc.items()} == told["rendered"], (name, host)
        others = {key: value for key, value in json.loads(before[host] or "{}").items() if key != "builder"}
        assert {key: value for key, value in data.items() if key != "builder"} == others, (name, host)
        if name == "old":
            assert data["builder"]["entitlements"] == {"network-host": True}, host
            parts = before[host].split('"GC": ')
            assert written[host].startswith(parts[0]), host
            assert written[host].endswith(parts[1][parts[1].index(', "entitlements"') :]), host
    assert daemon.texts() == written, name
    daemon.restart()
    after = policy()
    for host in own:
        assert not after[host]["changed"] and after[host]["restart_required"] is False, (name, host)
        assert after[host]["in_effect"]["rules"][1]["unused_for"] == "1m", (name, host)
        assert after[host]["in_effect_source"] == "start_time", (name, host)


def test_a_file_changed_by_hand_is_found_whoever_changed_it(own):
    policy()
    daemon.restart()
    policy()
    written = daemon.texts()
    # The same in other words, and another key: dockerd still obeys what the file says.
    fleet.shell(f'sleep 1; sed -i \'s/"1GB"/"1024MB"/; s/^{{/{{ "shutdown-timeout": 20,/\' {daemon.CONFIG}')
    same = policy(check=True)
    seen = fleet.facts()
    for host in own:
        assert not same[host]["changed"] and same[host]["restart_required"] is False, host
        assert seen[host]["gc_policy"]["restart_required"] is False, host
    # Another meaning, and the file looks as old as before.
    fleet.shell(f'sed -i \'s/"1024MB"/"1025MB"/\' {daemon.CONFIG}; touch --date=@1 {daemon.CONFIG}')
    drifted = policy(check=True)
    seen = fleet.facts()
    for host in own:
        assert drifted[host]["changed"], host
        assert seen[host]["gc_policy"]["restart_required"] is True, host
        assert seen[host]["gc_policy"]["in_file"]["rules"][1]["max_used_space"] == "1025MB", host
        assert "daemon_older_than_config" in {finding["code"] for finding in seen[host]["findings"]}, host
    daemon.put(written)
    back = policy()
    for host in own:
        assert not back[host]["changed"] and back[host]["restart_required"] is False, host
    # Removed, and nobody remembers what it was.
    fleet.shell(f"rm {daemon.CONFIG} {LAST_LOOKS}")
    gone = fleet.facts()
    for host in own:
        assert gone[host]["gc_policy"]["restart_required"] is True, host


def test_absent_removes_what_is_managed_and_nothing_else(own):
    kept = {host: json.dumps({**keys, "builder": {"entitlements": {}}}, indent=2) for host, keys in own.items()}
    daemon.put(kept)
    before = daemon.texts()
    policy()
    gone = fleet.succeeded(fleet.run("buildcache_gc_policy", {"state": "absent"}))
    again = fleet.succeeded(fleet.run("buildcache_gc_policy", {"state": "absent"}))
    assert daemon.texts() == before
    assert all(gone[host]["changed"] and not again[host]["changed"] for host in own), (gone, again)


def test_what_an_engine_cannot_do_is_refused_or_approximated(own):
    rules = [{"min_free_space": "1GB", "max_used_space": "3GB"}, {"min_free_space": "1GB"}, {"max_used_space": "4GB"}]
    refused = fleet.run("buildcache_gc_policy", {"rules": rules})
    written = policy({"rules": rules, "unsupported": "approximate"})
    for host in own:
        new = host.startswith("docker28")
        assert refused[host]["failed"] is not new, host
        if not new:
            assert re.search(r"rules\[0\].*min_free_space.*28\.0\.2 is the first", refused[host]["msg"]), host
            assert written[host]["rendered"]["policy"] == [{"keepStorage": "3GB"}, {"keepStorage": "4GB"}], host
            # What is left of the rules for free space comes to nothing beside each other, and that is said too.
            lacks = [one for one in written[host]["warnings"] if "does not know min_free_space" in one]
            assert len(lacks) == 2 and "gc_rule_idle" in written[host]["warnings"][-1], written[host]["warnings"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("printf '{\\n  // why\\n}\\n' >$config", "line 2.*comments"),
        (f'printf \'{{"log-opts": {{"a": "{SECRET}"}},,}}\' >$config', "line 1"),
        ("rm -f $config; mkdir $config", "directory"),
        ("busybox mount --bind /etc/docker /etc/docker; busybox mount -o remount,ro,bind /etc/docker", "(?i)read-only"),
        ("busybox mount -t tmpfs -o size=4k tmpfs /etc/docker; head -c 4096 /dev/zero >/etc/docker/full", "no space"),
        # Full already for the backup, or only after it.
        (f"{SMALL_DISK}head -c 4096 /dev/zero >/etc/docker/full", "(?s)no space.*as it was"),
        (SMALL_DISK, "(?s)no space.*as it was"),
        ("rm -f $config; ln -s daemon.json $config", "circle"),
    ],
)
def test_bad_files_are_refused_and_stay_as_they_are(own, script, message):
    look = f"ls -la --time-style=+ {daemon.CONFIG} 2>&1 || true; cat {daemon.CONFIG} 2>&1 || true"
    fleet.shell(f"mkdir -p /etc/docker\nconfig={daemon.CONFIG}\n{script}")
    try:
        before = fleet.shell(look)
        results = fleet.run("buildcache_gc_policy", {"rules": RULES, "backup": True})
        assert fleet.shell(look) == before
        assert fleet.shell(
            "ls -A /etc/docker | grep -v -x -e daemon.json -e full -e key.json -e registry || true"
        ) == dict.fromkeys(own, "")
    finally:
        fleet.shell(f"busybox umount /etc/docker 2>/dev/null || true; rm -rf {daemon.CONFIG}")
    for host, result in results.items():
        assert result["failed"] and not result["changed"], host
        assert re.search(message, result["msg"]) and SECRET not in json.dumps(result), (host, result["msg"])


KILLS = 24
_KILL = """
import hashlib, json, random, subprocess, sys, time
from pathlib import Path

chance, texts, outcomes = random.Random({seed!r}), [], []
config = Path({config!r})
modules = [next(Path("/root/.ansible/tmp").glob(f"ansible-{{mark}}/AnsiballZ_*.py")) for mark in "AB"]
for module in modules:
    started = time.monotonic()
    subprocess.run([sys.executable, module], check=True, stdout=subprocess.DEVNULL)
    lasts = time.monotonic() - started
    texts.append(config.read_bytes())
assert texts[0] != texts[1]
for _number in range({kills}):
    before = config.read_bytes()
    other = modules[before == texts[0]]
    run = subprocess.Popen([sys.executable, other], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(lasts * chance.uniform(0.8, 1.1))
    run.kill()
    run.wait()
    after = config.read_bytes()
    assert after in texts, after
    outcomes.append(after != before)
    # How long it takes changes with what else the machine does: the next is killed about when this file was replaced.
    lasts *= 0.85 if outcomes[-1] else 1.15
(config.parent / ".daemon.json.killed.buildcache").write_text("what a run leaves that is killed while it writes")
# dockerd's own, and the registry's that the lab has.
others = (config.name, "key.json", "registry")
left = [one.name for one in config.parent.iterdir() if one.name not in others]
subprocess.run([sys.executable, modules[0]], check=True, stdout=subprocess.DEVNULL)
subprocess.run([sys.executable, modules[1]], check=True, stdout=subprocess.DEVNULL)
swept = [one.name for one in config.parent.iterdir() if one.name not in others]
print(json.dumps([sum(outcomes), len(left), swept]))
"""


def test_killing_the_module_leaves_the_old_file_or_the_new_one(own):
    fleet.shell("rm -rf /root/.ansible/tmp")
    for mark, size in (("A", "20GB"), ("B", "30GB")):
        options = {"rules": [{"max_used_space": size}] * 40, "engine_version": "28.5.2"}
        status, output = fleet.ansible(
            "ansible",
            *("-i", str(fleet.INVENTORY), "build_hosts", "-m", "buildfleet.buildcache.buildcache_gc_policy"),
            *("-a", json.dumps(options), "-e", f"ansible_remote_tmp=/root/.ansible/tmp/{mark}"),
            environment={"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_PIPELINING": "0"},
        )
        assert status == 0, output
    fleet.shell("cd /root/.ansible/tmp; for mark in A B; do mv $mark/* ansible-$mark; done")
    script = _KILL.format(seed=f"{SEED}", config=daemon.CONFIG, kills=KILLS)
    outcomes = {host: json.loads(answer) for host, answer in fleet.shell(script, interpreter="python3 -").items()}
    print(outcomes)
    for host, (new, left, swept) in outcomes.items():
        assert 0 < new < KILLS, (host, "no kill came before the file was replaced, or none after", new)
        # What a killed run leaves holds the whole file; the next one that writes takes it away.
        assert left <= 2 and swept == [], (host, left, swept)
