# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time and traffic of no-op tasks over SSH: ours beside ansible.builtin.ping and community.docker's docker_prune."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from .figures import BenchmarkError, paired, turns

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"

TASKS = {
    "ping": ("ansible.builtin.ping", {}),
    "docker_prune": ("community.docker.docker_prune", {"images": True, "builder_cache": True}),
    "buildcache_prune": ("buildfleet.buildcache.buildcache_prune", {}),
    "buildcache_facts": ("buildfleet.buildcache.buildcache_facts", {}),
}
TIME_AIMS = (
    ("docker_prune", "ping", None),
    ("buildcache_prune", "docker_prune", 1.0),
    ("buildcache_facts", "docker_prune", None),
)
IN_A_PLAY = (("buildcache_prune", "ping", 1.35), ("buildcache_facts", "ping", 1.45))
BY_PROCESS = (("buildcache_prune", "ping", 1.15), ("buildcache_facts", "ping", None))
TRAFFIC_AIMS = (
    ("docker_prune", "ping", None),
    ("buildcache_prune", "ping", 1.35),
    ("buildcache_prune", "docker_prune", None),
    ("buildcache_facts", "ping", 1.5),
    ("buildcache_facts", "docker_prune", None),
)
COMPRESSION = {"": None, ", uncompressed": "-o Compression=no -o ControlMaster=auto -o ControlPersist=120s"}
"""The ssh_args of each way to send: None for those of the checkout's ansible.cfg, which has compression on."""


def processes(inventory, host, rounds):
    """Return the Rows for one ansible process per task: the seconds that a person at a prompt waits."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        environment = fresh_environment(scratch)

        def run(name):
            module, options = TASKS[name]
            command = ["ansible", "-i", inventory, host, "-m", module]
            if options:
                command += ["-a", json.dumps(options)]
            start = time.perf_counter()
            output = run_ansible(command, environment)
            seconds = time.perf_counter() - start
            return seconds, "CHANGED" in output

        _settle(host, lambda: [name for name in TASKS if run(name)[1]])
        measured = []
        for names in turns(list(TASKS), rounds):
            figures = {name: run(name) for name in names}
            _refuse_changes(host, [name for name, (_seconds, changed) in figures.items() if changed])
            measured.append({name: figures[name][0] for name in TASKS})
    return paired("time, one process per task", "s", measured, TIME_AIMS + BY_PROCESS)


def play(inventory, host, init_pid, rounds):
    """Return the Rows for tasks within one play: the seconds of each, and the bytes sent to the host for it.

    ``init_pid`` is the process in whose network the host's interface is.
    """
    rows = []
    for number, (suffix, ssh_args) in enumerate(COMPRESSION.items()):
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            environment = fresh_environment(scratch, ssh_args)
            environment["ANSIBLE_CALLBACK_PLUGINS"] = str(Path(__file__).with_name("callback"))
            environment["ANSIBLE_STDOUT_CALLBACK"] = "stopwatch"
            environment["BENCH_NET_DEV"] = f"/proc/{init_pid}/net/dev"
            playbook = Path(scratch, "tasks.json")
            playbook.write_text(json.dumps(_playbook(host, rounds + 1)), encoding="utf-8")
            output = run_ansible(["ansible-playbook", "-i", inventory, str(playbook)], environment)
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        # The first round connects, packs the payloads, and removes what there is to remove.
        measured = [lines[start : start + len(TASKS)] for start in range(len(TASKS), len(lines), len(TASKS))]
        _refuse_changes(host, [line["task"] for one in measured for line in one if line["changed"]])
        if number == 0:
            rows += paired("time, tasks in one play", "s", _by_task(measured, "seconds"), TIME_AIMS + IN_A_PLAY)
        rows += paired(f"sent to the host{suffix}", "B", _by_task(measured, "bytes"), TRAFFIC_AIMS)
    return rows


def _by_task(measured, figure):
    rounds = [{line["task"]: line[figure] for line in one} for one in measured]
    return [{name: one[name] for name in TASKS} for one in rounds]


def _playbook(host, rounds):
    tasks = []
    for names in turns(list(TASKS), rounds):
        for name in names:
            module, options = TASKS[name]
            tasks.append({"name": name, module: options})
    return [{"name": "Measure no-op tasks", "hosts": host, "gather_facts": False, "tasks": tasks}]


def fresh_environment(scratch, ssh_args=None):
    """Return the environment of an Ansible that connects anew and finds the collections that make has put in place."""
    collections = (ROOT / ".venv" / "collections", ROOT / ".venv" / "bench")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    environment["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(map(str, collections))
    environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = scratch
    if ssh_args:
        environment["ANSIBLE_SSH_ARGS"] = ssh_args
    return environment


def run_ansible(command, environment):
    command = [str(BIN / command[0]), *command[1:]]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _settle(host, run_all):
    """Run everything until nothing changes any more: what is to be measured is that nothing is to be done."""
    for _try in range(3):
        changed = run_all()
        if not changed:
            return
    _refuse_changes(host, changed)


def _refuse_changes(host, changed):
    if changed:
        raise BenchmarkError(
            f"{', '.join(sorted(set(changed)))} found something to do on {host}, which was to be idle. Run the "
            "benchmarks while nobody else builds or prunes there."
        )
