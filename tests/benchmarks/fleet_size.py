# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What more and more hosts take of the controller: time, processor and memory of playbooks that find nothing to do,
beside a ping of the same hosts; and what Ansible's settings make of it.

The names are spread over the lab's hosts in turn, so that two that are asked one after the other are different hosts.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import yaml

from .figures import BenchmarkError, Row, paired, turns
from .tasks import BIN, ROOT, fresh_environment, run_ansible

WAYS = {"ping": None, "facts": "buildfleet.buildcache.facts", "cleanup": "buildfleet.buildcache.cleanup"}
CPU_AIMS = [("facts", "ping", 1.5), ("cleanup", "ping", 1.7)]
GROWTH = 1.15
"""How much more a host may take of the processor with the most hosts than with the fewest."""

BASE = {"ANSIBLE_FORKS": "25"}
SETTINGS = {
    **{f"forks {number}": {"ANSIBLE_FORKS": str(number)} for number in (5, 10, 50, 100)},
    "without pipelining": {"ANSIBLE_PIPELINING": "False"},
    "without ControlPersist": {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o ControlPath=none"},
    "strategy free": {"ANSIBLE_STRATEGY": "free"},
    "strategy host_pinned": {"ANSIBLE_STRATEGY": "host_pinned"},
    "fact cache jsonfile": {"ANSIBLE_CACHE_PLUGIN": "jsonfile"},
    "hosts that are ok not shown": {"ANSIBLE_DISPLAY_OK_HOSTS": "False"},
}


def fleet_size(inventory: str, sizes: tuple[int, ...], rounds: int) -> list[Row]:
    """Return the Rows of each number of hosts, and those of the growth from the first number to the last."""
    rows, by_size = [], {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            one = _Runs(inventory, size, scratch)
            one.settle()
            by_size[size] = [{name: one.run(name) for name in names} for names in turns(list(WAYS), rounds)]
        for figure, unit, aims in (("seconds", "s", None), ("cpu", "s", CPU_AIMS), ("memory", "MiB", None)):
            measured = [{name: turn[name][figure] for name in WAYS} for turn in by_size[size]]
            rows += paired(
                f"{size} hosts, {figure}", unit, measured, aims or [(way, "ping", None) for way in ("facts", "cleanup")]
            )
    first, last = sizes[0], sizes[-1]
    for name in WAYS:
        each = [
            {f"{size} hosts": 1000 * by_size[size][turn][name]["cpu"] / size for size in (first, last)}
            for turn in range(rounds)
        ]
        rows += paired(f"{name}, cpu for each host", "ms", each, [(f"{last} hosts", f"{first} hosts", GROWTH)])
    return rows


def fleet_settings(inventory: str, size: int, rounds: int) -> list[Row]:
    """Return the Rows of each setting, beside those of docs/large_fleets.cfg."""
    ways = {"as in the example": {}, **SETTINGS}
    measured = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        one = _Runs(inventory, size, scratch)
        one.settle()
        for names in turns(list(ways), rounds):
            measured.append({name: one.run("cleanup", ways[name]) for name in names})
    rows = []
    for figure, unit in (("seconds", "s"), ("cpu", "s"), ("memory", "MiB")):
        figures = [{name: turn[name][figure] for name in ways} for turn in measured]
        comparisons = [(name, "as in the example", None) for name in SETTINGS]
        rows += paired(f"settings, {size} hosts, {figure}", unit, figures, comparisons)
    return rows


class _Runs:
    """Runs of the ways over so many names of the lab's hosts."""

    def __init__(self, inventory: str, size: int, scratch: str):
        self._scratch = scratch
        self._hosts = str(Path(scratch, "hosts.json"))
        Path(self._hosts).write_text(json.dumps(named(inventory, size)), encoding="utf-8")
        self._ping = str(Path(scratch, "ping.json"))
        play = {"hosts": "build_hosts", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}
        Path(self._ping).write_text(json.dumps([play]), encoding="utf-8")

    def settle(self) -> None:
        """Connect, and remove what there is to remove."""
        run_ansible(self._command("cleanup"), self._environment({}))

    def run(self, way: str, setting: dict[str, str] | None = None) -> dict[str, float]:
        """Run a way, and return its ``seconds``, those of the processor (``cpu``), and its ``memory`` in MiB."""
        command = self._command(way)
        start = time.perf_counter()
        with tempfile.TemporaryFile("r+") as output:
            started = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT, env=self._environment(setting or {}), stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            with _Memory(started.pid) as memory:
                _pid, status, used = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read()
        if started.returncode or "changed=1" in text:
            raise BenchmarkError(f"{way} failed, or found something to do:\n{text}")
        return {
            "seconds": time.perf_counter() - start,
            "cpu": used.ru_utime + used.ru_stime,
            "memory": memory.peak,
        }

    def _command(self, way: str) -> list[str]:
        return ["ansible-playbook", "-i", self._hosts, WAYS[way] or self._ping]

    def _environment(self, setting: dict[str, str]) -> dict[str, str]:
        cache = {"ANSIBLE_CACHE_PLUGIN_CONNECTION": f"{self._scratch}/facts"}
        return {**fresh_environment(self._scratch), **cache, **BASE, **setting}


def named(inventory: str, size: int) -> dict:
    """Return an inventory of so many names for the hosts of the lab's, in turn."""
    group = yaml.safe_load(Path(inventory).read_text(encoding="utf-8"))["build_hosts"]
    real = [host for kind in group["children"].values() for host in kind["hosts"].values()]
    hosts = {f"host{number:03}": real[number % len(real)] for number in range(size)}
    return {"build_hosts": {"vars": group["vars"], "hosts": hosts}}


class _Memory:
    """The most memory that a process and those that it started held at once, in MiB, each shared page counted once.

    Looked at four times a second; connections that ssh keeps in the background are not among them.
    """

    def __init__(self, pid: int):
        self.peak, self._pid, self._over = 0.0, pid, threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self):
        self._watch.start()
        return self

    def __exit__(self, *_raised):
        self._over.set()
        self._watch.join()

    def _look(self):
        while not self._over.wait(0.25):
            self.peak = max(self.peak, sum(map(_held, _family(self._pid))))


def _family(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for process in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        stat = _read(f"/proc/{process}/stat")
        if stat:
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(process)
    family = [pid]
    for one in family:
        family += children.get(one, [])
    return family


def _held(pid: int) -> float:
    """Return the proportional share of a process in MiB, 0 for one that has ended."""
    lines = (line.split() for line in _read(f"/proc/{pid}/smaps_rollup").splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
