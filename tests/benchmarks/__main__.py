# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the benchmarks against a host of the lab: .venv/bin/python -m tests.benchmarks, from the repository's root.

They print a table and write .lab/logs/benchmarks.json. They prune the host, and fill it with small records for a
while; on a host where others build or prune meanwhile the figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..lab.inventory import Host, Lab
from ..lab.shell import LabError
from . import rollout, tasks
from .figures import BenchmarkError, Row, as_json, paired, table
from .records import script

ROOT = Path(__file__).resolve().parents[2]
MANY_TO_REPORT, MANY_TO_ORDER = 10_000, 100_000
ENGINE_START = 20  # seconds


def main() -> int:
    """Run what was asked for; 0 where all of it could be measured, whatever came out."""
    options = _parser().parse_args()
    lab = Lab(ROOT)
    try:
        lab.load()
        host = _host(lab, options.host)
        rows = []
        for name in options.benchmarks or BENCHMARKS:
            print(f"Measuring {name} …", file=sys.stderr, flush=True)
            rows += BENCHMARKS[name](lab, host, options.rounds)
    except (BenchmarkError, LabError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(f"{host.name}, engine {host.engine}; Python {platform.python_version()}; medians of {options.rounds} or more")
    print(table(rows))
    logs = lab.directory / "logs"
    logs.mkdir(exist_ok=True)
    results = {"host": host.name, "engine": host.engine, "rounds": options.rounds, "rows": as_json(rows)}
    (logs / "benchmarks.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Benchmarks, as ratios.")
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--host", help="a host of the lab (default: docker28, or else the first)")
    parser.add_argument("--rounds", type=_at_least_five, default=7, help="how often, at least 5 (default: 7)")
    return parser


def _at_least_five(text: str) -> int:
    number = int(text)
    if number < 5:
        raise argparse.ArgumentTypeError("a median of fewer than 5 says too little")
    return number


def _host(lab: Lab, name: str | None) -> Host:
    if not lab.hosts:
        raise BenchmarkError("No host is up: run `make lab` first.")
    if name and name not in lab.hosts:
        raise BenchmarkError(f"There is no host {name}; up are {', '.join(lab.hosts)}.")
    return lab.hosts[name or ("docker28" if "docker28" in lab.hosts else next(iter(lab.hosts)))]


def _processes(lab: Lab, host: Host, rounds: int) -> list[Row]:
    return tasks.processes(str(lab.directory / "inventory.yml"), host.name, rounds)


def _play(lab: Lab, host: Host, rounds: int) -> list[Row]:
    return tasks.play(str(lab.directory / "inventory.yml"), host.name, host.init_pid, 3 * rounds)


def _rollout(lab: Lab, host: Host, rounds: int) -> list[Row]:
    """A policy put in force on more and more of the lab's hosts at once."""
    del host
    return rollout.rollout(str(lab.directory / "inventory.yml"), list(lab.hosts), rounds)


def _facts(lab: Lab, host: Host, rounds: int) -> list[Row]:
    """The facts module's own work: with a real engine, and with a scripted one that has many more records and takes
    as long for each as the real one did."""
    with _many_records(lab, host):
        real = _measure("facts", f"/proc/{host.init_pid}/root/run/docker.sock", str(rounds))
    pace = real["disk usage"] / real["records"]
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, _scripted_engine(scratch, pace) as socket:
        scripted = _measure("facts", socket, str(rounds))
    rows = []
    for engine, measured in ((f"engine {host.engine}", real), ("scripted engine at that pace", scripted)):
        bare, with_facts = measured["rounds"][0]
        name = f"facts of {measured['records']:,} records, {engine}"
        rows += paired(name, "s", measured["rounds"], [(with_facts, bare, 1.2)])
    return rows


def _removals(lab: Lab, host: Host, rounds: int) -> list[Row]:
    """The plan's own work: the removal order of many records under a limit."""
    del lab, host
    measured = _measure("removals", str(MANY_TO_ORDER), str(rounds))
    reading, order = measured["rounds"][0]
    name = f"plan of {MANY_TO_ORDER:,} records, {measured['removed']:,} to go"
    rows = paired(name, "s", measured["rounds"], [(order, reading, None)])
    return [*rows, Row(name, f"{order}, memory", measured["memory"], "MiB")]


BENCHMARKS = {"processes": _processes, "play": _play, "facts": _facts, "removals": _removals, "rollout": _rollout}


def _measure(module: str, *arguments: str):
    """Run a measurement in a process of its own, which nothing else has filled or warmed, and return what it found."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (ROOT, ROOT / ".venv" / "collections"))))
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


@contextmanager
def _scripted_engine(directory: str, pace: float) -> Iterator[str]:
    """Run a scripted engine with many records in a process of its own, and yield its socket.

    ``pace`` is the time in seconds that it takes over each record when asked for disk usage.
    """
    socket, answers = Path(directory, "engine.sock"), Path(directory, "script.json")
    answers.write_text(json.dumps(script(MANY_TO_REPORT, pace * MANY_TO_REPORT)), encoding="utf-8")
    engine = subprocess.Popen([sys.executable, ROOT / "tests" / "unit" / "scripted_engine.py", socket, answers])
    try:
        end = time.monotonic() + ENGINE_START
        while not socket.exists():
            if engine.poll() is not None or time.monotonic() > end:
                raise BenchmarkError("The scripted engine did not start; what it wrote is above.")
            time.sleep(0.05)
        yield str(socket)
    finally:
        engine.kill()
        engine.wait()


@contextmanager
def _many_records(lab: Lab, host: Host) -> Iterator[None]:
    """Fill the host's engine by a real build of many small steps; after, remove what nothing uses."""
    with open(Path(__file__).with_name("many_records.sh"), encoding="utf-8") as build:
        lab.ssh(host, "bash -s", stdin=build, timeout=600)
    try:
        yield
    finally:
        lab.ssh(host, "docker image rm benchmark && docker builder prune --force", timeout=600)


if __name__ == "__main__":
    sys.exit(main())
