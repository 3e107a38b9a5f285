# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role gc_policy and the playbooks around it: the policy gets in force, drift is found, and a bad host ends the
rollout."""

from __future__ import annotations

import json
import os
import re

import builds
import daemon
import fleet
import pytest
import yaml
from test_playbooks import recap
from variants import variants

pytestmark = pytest.mark.any_engine

RULES = [{"types": ["exec.cachemount"], "unused_for": "36h"}, {"max_used_space": "3GB"}]
AT_ONCE = {"gc_policy_serial": "100%"}
ONE = fleet.ANY_ENGINE[-1]

OLD_GC = (
    '{"defaultKeepStorage" : "9GB",\t"Enabled":true, "Policy": [{"keepStorage":"9GB","filter":["unused-for=24h"]}]}'
)
STARTS = ("none", "old style")
"""Files to start from; test_gc_policy.py has more."""
COMMENTED = '{\n  // for the registry\n  "debug": false\n}'

_DRAINED = "/etc/docker/.gc_policy_drained"
LOOK = f"{daemon.PROCESS}; find /etc/docker /var/lib/buildcache -printf '%p %s %T@ %m\\n' 2>/dev/null | sort"
_YOUNGER = """
stat=$(cat /proc/$(systemctl show --property MainPID --value docker)/stat); ticks=$(set -- ${stat##*) }; echo ${20})
age=$(awk -v ticks=$ticks -v second=$(getconf CLK_TCK) '{print int($1 - ticks / second)}' /proc/uptime)
file=$(($(date +%s) - $(stat -c %Y /etc/docker/daemon.json))); [ $age -le $((file + 1)) ] && echo yes || echo no
"""


def roll_out(*arguments, rules=None, playbook="gc_policy", **variables):
    """Run a playbook with the policy; return its exit status, its output and {host: counts}."""
    variables = {**AT_ONCE, "gc_policy_rules": RULES if rules is None else rules, **variables}
    status, output = fleet.playbook(playbook, "-e", json.dumps(variables), *arguments)
    return status, output, recap(output)


def changes(*arguments, **how):
    """Run a playbook with the policy, which must succeed; return {host: number of changes}."""
    status, output, counts = roll_out(*arguments, **how)
    assert status == 0, output
    return {host: count["changed"] for host, count in counts.items()}


def audit(*arguments, **how):
    """Run the audit, which must change nothing; return its exit status and {host: its line}."""
    before = fleet.shell(LOOK)
    status, output, counts = roll_out(*arguments, playbook="audit", **how)
    assert not any(count["changed"] for count in counts.values()), output
    assert fleet.shell(LOOK) == before
    return status, dict(re.findall(r'^ +"([a-z0-9-]+): (.*)",?$', output, re.MULTILINE))


def start_with(name, own):
    """Give every host a configuration file to start from, and have dockerd obey it."""
    texts = {}
    for host, keys in own.items():
        written = "".join(f'  "{key}" :\t{json.dumps(value)},\n' for key, value in keys.items())
        odd = f'{{\n{written}"labels" : [ "a=1",\n "b=2" ],   "log-opts":{{"tag" :"x"}}'
        texts[host] = f'{odd},\n "builder": {{"GC": {OLD_GC}, "entitlements": {{}}}} }}'
    fleet.shell(f"rm -f {daemon.CONFIG} {daemon.BACKUPS}")
    if name != "none":
        daemon.put(texts)
    daemon.restart()


def gone(before, after):
    """Return what stands in the old text alone, between what both begin and end with."""
    start = len(os.path.commonprefix([before, after]))
    end = len(os.path.commonprefix([before[start:][::-1], after[start:][::-1]]))
    return before[start : len(before) - end]


@pytest.mark.parametrize("start", variants(STARTS, first=1))
def test_the_first_run_puts_the_policy_in_force_and_the_second_leaves_the_host_alone(own, start):
    start_with(start, own)
    before = daemon.texts()
    # The writing and the restart.
    assert changes() == dict.fromkeys(own, 2)
    written, processes = daemon.texts(), fleet.shell(daemon.PROCESS)
    assert fleet.shell(_YOUNGER) == dict.fromkeys(own, "yes\n")
    for host, seen in fleet.facts().items():
        assert gone(before[host], written[host]) in OLD_GC, (host, written[host])
        assert seen["gc_policy"]["restart_required"] is False, host
        assert seen["gc_policy"]["in_effect"]["rules"][0]["unused_for"] == "36h", host
        assert seen["gc_policy"]["in_effect"]["rules"][-1]["max_used_space"] == "3GB", host
    backups = 0 if start == "none" else 1
    assert fleet.shell(f"ls {daemon.BACKUPS} 2>/dev/null | wc -l") == dict.fromkeys(own, f"{backups}\n")

    assert changes() == dict.fromkeys(own, 0)
    assert daemon.texts() == written and fleet.shell(daemon.PROCESS) == processes
    assert audit() == (0, dict.fromkeys(own, "as it should be"))


def test_check_mode_on_a_fresh_host_changes_nothing_and_shows_the_diff(own):
    start_with("none", own)
    fleet.shell("rm -rf /var/lib/buildcache")
    before = fleet.shell(LOOK)
    status, output, counts = roll_out("--check")
    assert status == 0, output
    assert fleet.shell(LOOK) == before
    assert {host: count["changed"] for host, count in counts.items()} == dict.fromkeys(own, 1)
    assert output.count("would be written, dockerd would be restarted") == len(own), output
    assert output.count("unused-for=36h") == len(own), output


def test_what_a_hand_has_changed_is_found_by_the_audit_and_put_right_by_the_role(own, tmp_path):
    changes()
    written = daemon.texts()
    fleet.shell(f"sed -i s/3GB/4GB/ {daemon.CONFIG}", [ONE])
    right = dict.fromkeys(set(own) - {ONE}, "as it should be")
    assert audit() == (2, {**right, ONE: "daemon.json differs from the policy"})
    changed = [RULES[0], {"max_used_space": "4GB"}]
    status, lines = audit("-l", ONE, rules=changed)
    assert status == 2 and lines == {ONE: "dockerd does not obey the policy"}

    # dockerd still obeys what is wanted, so that the file is all that there is to put right.
    assert changes() == {**dict.fromkeys(own, 0), ONE: 1}
    assert daemon.texts() == written
    fleet.shell(f"sed -i s/3GB/4GB/ {daemon.CONFIG}", [ONE])
    assert changes("-l", ONE, rules=changed, gc_policy_restart="no") == {ONE: 0}
    assert changes("-l", ONE, rules=changed) == {ONE: 1}
    assert audit("-l", ONE, rules=changed) == (0, {ONE: "as it should be"})

    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"build_hosts": {"hosts": {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    fleet.shell(f"echo '{COMMENTED}' >{daemon.CONFIG}", [ONE])
    status, lines = audit("-i", str(away))
    assert status == 2 and {host: line for host, line in lines.items() if host in right} == right, lines
    assert re.match("not known: .*comments", lines[ONE]), lines
    assert lines["away"].startswith("not known: The host was not reached: "), lines


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"gc_policy_ready": "large_disk"}, "gc_policy_rules and gc_policy_ready are both set"),
        ({"gc_policy_rules": ""}, "Neither gc_policy_rules nor gc_policy_ready is set"),
        ({"gc_policy_rules": [], "gc_policy_enabled": "yes"}, "Neither gc_policy_rules nor gc_policy_ready is set"),
        ({"gc_policy_ready": "huge_disk"}, "small_disk, large_disk, shared_ci_runner, release_builder"),
        ({"gc_policy_rules": "[{"}, "Error while resolving value for 'rules'"),
        ({"gc_policy_drain_tasks": "nowhere.yml"}, "/nowhere.yml: no such file on the controller"),
        ({"gc_policy_live_restore": "perhaps"}, "live_restore"),
        ({"gc_policy_serial": "1, half"}, "gc_policy_serial: give numbers of hosts or percentages"),
    ],
)
def test_bad_variables_are_refused_before_anything_is_written(own, variables, says):
    before = fleet.shell(LOOK, [ONE])
    status, output, _counts = roll_out("-l", ONE, **{"gc_policy_serial": 1, **variables})
    assert status != 0 and says in output, output
    assert fleet.shell(LOOK, [ONE]) == before


def test_a_policy_is_taken_away_where_that_is_said(own):
    changes("-l", ONE)
    for variables in ({"gc_policy_state": "absent"}, {"gc_policy_ready": "engine_default"}):
        status, output, counts = roll_out("--check", "-l", ONE, rules="", **variables)
        assert status == 0 and counts[ONE]["changed"] == 1 and '-                "all": false' not in output, output
        assert "would be written, dockerd would be restarted" in output, output


def test_running_containers_are_not_stopped_unless_that_is_said(own, empty):
    fleet.shell(builds.build("alive:1", builds.FROM_SCRATCH))
    fleet.shell("docker run --detach --name alive --network none alive:1 /bin/busybox sleep 100000 >/dev/null")
    container = "docker inspect --format '{{.State.Pid}}' alive"
    before, alive = fleet.shell(LOOK), fleet.shell(container)
    for arguments in ([], ["--check"]):
        status, output, counts = roll_out(*arguments, gc_policy_live_restore="", gc_policy_allow_container_stop="no")
        assert status == 2 and all(count["failed"] for count in counts.values()), output
        assert "would stop 1 running containers (alive)" in output
        assert fleet.shell(LOOK) == before and fleet.shell(container) == alive
    assert changes(gc_policy_live_restore="yes") == dict.fromkeys(own, 2)
    assert fleet.shell(container) == alive


def test_the_hosts_are_drained_for_the_restart_and_no_longer(own, tmp_path):
    log = tmp_path / "log"
    note = "echo {word} {{{{ inventory_hostname }}}} {{{{ gc_policy_restarted is defined }}}} >>{log}"
    files = {}
    for word in ("drain", "undrain"):
        shell = {"ansible.builtin.shell": note.format(word=word, log=log), "delegate_to": "localhost", "become": False}
        files[f"gc_policy_{word}_tasks"] = str(tmp_path / f"{word}.yml")
        (tmp_path / f"{word}.yml").write_text(json.dumps([shell]))
    changes(**files)
    noted = [f"{word} {host} {word == 'undrain'}" for word in ("drain", "undrain") for host in own]
    assert sorted(log.read_text().splitlines()) == sorted(noted)

    # As where the controller was ended in between.
    log.unlink()
    fleet.shell(f"touch {_DRAINED}")
    # The one change is the undraining.
    assert changes(**files) == dict.fromkeys(own, 1)
    assert sorted(log.read_text().splitlines()) == sorted(f"undrain {host} False" for host in own)
    assert fleet.shell(f"ls {_DRAINED} 2>/dev/null || true") == dict.fromkeys(own, "")

    processes = fleet.shell(daemon.PROCESS)
    ping = {"ansible.builtin.command": "true", "delegate_to": "nowhere"}
    (tmp_path / "drain.yml").write_text(json.dumps([ping]))
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"all": {"hosts": {"nowhere": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    status, output, counts = roll_out("-i", str(away), "-l", ONE, rules=[{"max_used_space": "5GB"}], **files)
    assert status == 4 and counts[ONE]["unreachable"] == 1, output
    assert fleet.shell(daemon.PROCESS) == processes
    fleet.shell(f"rm {_DRAINED}", [ONE])
    (tmp_path / "drain.yml").write_text(json.dumps([{"ansible.builtin.fail": {"msg": "the runner does not answer"}}]))
    log.unlink()
    status, output, counts = roll_out(rules=[{"max_used_space": "5GB"}], **files)
    assert status == 2 and all(count["failed"] for count in counts.values()), output
    assert sorted(log.read_text().splitlines()) == sorted(f"undrain {host} False" for host in own)
    assert fleet.shell(daemon.PROCESS) == processes


def survey(role, **answers):
    """Return a survey's answers: strings, and an empty one for every other variable of the role."""
    specs = yaml.safe_load((fleet.ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    return {**dict.fromkeys(specs["argument_specs"]["main"]["options"], ""), "buildcache_hosts": "", **answers}


PLAN = {"gc_plan_rules": RULES}
SURVEYED_PLAN = {"gc_plan_rules": json.dumps(RULES), "gc_plan_engine_version": "", "buildcache_hosts": ""}
ADVICE = {"advise_keep": "3d", "advise_min_free": "5GB", "advise_percentile": 75, "advise_group_by": "group_names"}
POLICY = {"gc_policy_rules": RULES, "gc_policy_serial": [1, "100%"], "gc_policy_live_restore": True}
SURVEYED_POLICY = {"gc_policy_rules": json.dumps(RULES), "gc_policy_serial": "1, 100%", "gc_policy_live_restore": "yes"}
SURVEYED_CLEANUP = {"cleanup_types": "regular,source.local", "cleanup_all": "false", "cleanup_max_used_space": "20%"}
SCRATCH = "/run"
"""A directory of every host, in memory."""

TRACE = {"object": "team/app:1", "trace_audit_log": f"{SCRATCH}/buildcache.jsonl"}

RUNS = {
    "survey": [
        ("prepare", survey("prepare", prepare_buildx="no")),
        ("facts", {"buildcache_hosts": "", "facts_builders": "", "facts_buildx_config": ""}),
        ("gc_plan", SURVEYED_PLAN),
        ("advise", {**dict.fromkeys(ADVICE, ""), "advise_percentile": "75", "buildcache_hosts": ""}),
        ("gc_policy", survey("gc_policy", gc_policy_max_fail_percentage="", **SURVEYED_POLICY)),
        ("audit", survey("gc_policy", **SURVEYED_POLICY)),
        ("cleanup", survey("cleanup", **SURVEYED_CLEANUP)),
        ("site", {**survey("cleanup"), **survey("gc_policy", **SURVEYED_POLICY)}),
        ("rescue", {**survey("cleanup"), **survey("rescue", rescue_ballast="default", rescue_until_free="1%")}),
        ("cleanup_metrics", {**survey("cleanup"), **survey("metrics", metrics_directory=SCRATCH)}),
        ("trace", {**TRACE, "trace_since": "", "trace_limit": "", "buildcache_hosts": ""}),
        ("timer", {**survey("cleanup"), **survey("timer", timer_state="absent")}),
        ("notify", survey("notify")),
        ("report", {**survey("cleanup"), **survey("gc_policy"), **survey("report", report_dir=SCRATCH + "/report")}),
    ],
    "JSON": [
        ("prepare", {"prepare_buildx": False}),
        ("facts", {"buildcache_hosts": "build_hosts"}),
        ("gc_plan", PLAN),
        ("advise", ADVICE),
        ("gc_policy", POLICY),
        ("audit", POLICY),
        ("cleanup", {"cleanup_types": ["regular"], "cleanup_all": True, "cleanup_images_filters": {"label": ["a=b"]}}),
        ("site", POLICY),
        ("rescue", {"rescue_container_logs_over": "1GB", "rescue_ballast_again": False}),
        ("cleanup_metrics", {"metrics_directory": SCRATCH, "metrics_builders": ["default"]}),
        ("trace", {"object": "team/app", "trace_limit": 5}),
        ("timer", {"timer_state": "absent"}),
        ("notify", {"notify_task_file": "", "notify_worst": 3, "notify_required": True}),
        ("report", {"report_dir": SCRATCH + "/report", "report_records": False, "report_measure": True}),
    ],
}


@pytest.mark.once
@pytest.mark.parametrize("kind", variants(RUNS, first=1))
def test_every_playbook_runs_under_ansible_runner(own, tmp_path, kind):
    assert {name for name, _variables in RUNS[kind]} == {book.stem for book in (fleet.ROOT / "playbooks").iterdir()}
    path = f"{fleet.COMMANDS}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "env").mkdir()
    for name, variables in RUNS[kind]:
        (tmp_path / "env" / "extravars").write_text(json.dumps(variables))
        status, output = fleet.ansible(
            *("ansible-runner", "run", str(tmp_path), "-p", f"buildfleet.buildcache.{name}"),
            *("--inventory", str(fleet.INVENTORY), "--limit", ONE),
            environment={"ANSIBLE_CONFIG": str(fleet.ROOT / "ansible.cfg"), "PATH": path},
        )
        assert status == 0, output
        counts = recap(output)
        assert set(counts) == {ONE}, output
        if name == "gc_policy":
            assert all(count["changed"] == 2 for count in counts.values()), output
