# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the benchmarks against a host of the lab: .venv/bin/python -m tests.benchmarks, from the repository's root.

Each is run by itself: what one has measured is in the table and in .lab/logs/benchmarks.json though another fails,
which the exit status then says. They prune the host, and fill it with small records or builds for a while; where others
build or prune there meanwhile the figures mean nothing.
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
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..lab.inventory import Host, Lab
from ..lab.shell import LabError
from . import advice, fleet_size, job, next_builds, rollout, tasks
from .build_host import BuildHost
from .figures import BenchmarkError, Row, as_json, paired, table
from .records import script

ROOT = Path(__file__).resolve().parents[2]
ENGINE_START = 20  # seconds
STAGES = 5
"""Those of the build in many_records.sh."""


@dataclass(frozen=True)
class Scale:
    """How much is measured: the rounds, the records that a build step each makes, those that a scripted engine reports,
    those that are put in order, the most hosts of a rollout and of a report, the builds before and after a cleaning,
    the simulated fleets, and the numbers of names of the lab's hosts, of which the second is that for the settings."""

    rounds: int
    steps: int = 500
    reported: int = 10_000
    ordered: int = 100_000
    hosts: int = 24
    reported_hosts: int = 1000
    builds: next_builds.Length = next_builds.Length()
    simulated: advice.Length = advice.Length()
    names: tuple[int, ...] = (25, 50, 100, 200)


SMALLEST = Scale(
    rounds=1,
    steps=10,
    reported=100,
    ordered=1_000,
    hosts=1,
    reported_hosts=8,
    builds=next_builds.Length(8, 2, parts=(0.5,), pause=0.1),
    simulated=advice.Length(16, 1),
    names=(2, 4),
)
"""Shows that each benchmark runs, in seconds; its figures say nothing."""


def main() -> int:
    """Run what was asked for; 0 where all of it could be measured, whatever came out."""
    options = _parser().parse_args()
    scale = SMALLEST if options.smallest else Scale(options.rounds)
    lab = Lab(ROOT)
    try:
        lab.load()
        host = _host(lab, options.host)
    except (BenchmarkError, LabError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    rows, failed = [], {}
    for name in options.benchmarks or BENCHMARKS:
        print(f"Measuring {name} …", file=sys.stderr, flush=True)
        problem = None
        try:
            rows += BENCHMARKS[name](lab, host, scale)
        except (BenchmarkError, LabError) as error:
            problem = str(error)
        except Exception:
            # Whatever is wrong with one is not to lose the others' figures.
            problem = traceback.format_exc()
        if problem:
            failed[name] = problem
        print(f"{'FAILED' if problem else 'ok'} {name}{f': {problem}' if problem else ''}", file=sys.stderr, flush=True)
        _keep(lab, host, scale, rows, failed)
    print(f"{host.name}, engine {host.engine}; Python {platform.python_version()}; medians of {scale.rounds} or more")
    print(table(rows))
    if failed:
        print(f"benchmarks: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _keep(lab: Lab, host: Host, scale: Scale, rows: list[Row], failed: dict[str, str]) -> None:
    logs = lab.directory / "logs"
    logs.mkdir(exist_ok=True)
    about = {"host": host.name, "engine": host.engine, "scale": asdict(scale)}
    results = {**about, "rows": as_json(rows), "failed": failed}
    (logs / "benchmarks.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Benchmarks, as ratios.")
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--smallest", action="store_true", help="with the smallest numbers, to see that they run")
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


def _processes(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    return tasks.processes(str(lab.directory / "inventory.yml"), host.name, scale.rounds)


def _play(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    return tasks.play(str(lab.directory / "inventory.yml"), host.name, host.init_pid, 3 * scale.rounds)


def _job(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    return job.whole_job(str(lab.directory / "inventory.yml"), host.name, host.init_pid, 3 * scale.rounds)


def _rollout(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """A policy put in force on more and more of the lab's hosts at once."""
    del host
    return rollout.rollout(str(lab.directory / "inventory.yml"), list(lab.hosts)[: scale.hosts], scale.rounds)


def _fleet_size(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """Playbooks over more and more names; the largest take minutes, so that a few rounds have to do."""
    del host
    return fleet_size.fleet_size(str(lab.directory / "inventory.yml"), scale.names, min(scale.rounds, 3))


def _fleet_settings(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """What Ansible's settings make of the cleanup."""
    del host
    return fleet_size.fleet_settings(str(lab.directory / "inventory.yml"), scale.names[1], min(scale.rounds, 3))


def _next_builds(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """What cleaning costs the builds after; once, whatever the rounds."""
    return next_builds.next_builds(BuildHost(lab, host), scale.builds)


def _facts(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """The facts module's own work: with a real engine, and with a scripted one that has many more records and takes
    as long for each as the real one did."""
    with _many_records(lab, host, scale.steps):
        real = _measure("facts", f"/proc/{host.init_pid}/root/run/docker.sock", str(scale.rounds))
    pace = real["disk usage"] / real["records"]
    reported = scale.reported
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, _scripted_engine(scratch, reported, pace) as socket:
        scripted = _measure("facts", socket, str(scale.rounds))
    rows = []
    for engine, measured in ((f"engine {host.engine}", real), ("scripted engine at that pace", scripted)):
        bare, with_facts = measured["rounds"][0]
        name = f"facts of {measured['records']:,} records, {engine}"
        rows += paired(name, "s", measured["rounds"], [(with_facts, bare, 1.2)])
    return rows


def _removals(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """The plan's own work: the removal order of many records under a limit."""
    del lab, host
    measured = _measure("removals", str(scale.ordered), str(scale.rounds))
    reading, order = measured["rounds"][0]
    name = f"plan of {scale.ordered:,} records, {measured['removed']:,} to go"
    rows = paired(name, "s", measured["rounds"], [(order, reading, None)])
    return [*rows, Row(name, f"{order}, memory", measured["memory"], "MiB")]


def _stores(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """A large store: reading it, the plan and the facts, beside reading the engine's answer about it."""
    del lab, host
    images, layers = scale.ordered // 20, scale.ordered // 5
    measured = _measure("stores", str(scale.ordered), str(images), str(layers), str(scale.rounds))
    reading, *others = measured["rounds"][0]
    name = f"{scale.ordered:,} records, {images:,} images, {layers:,} layers"
    rows = paired(name, "s", measured["rounds"], [(other, reading, None) for other in others])
    return [*rows, Row(name, "memory", measured["memory"], "MiB")]


def _advice(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """What advised policies cost the builds of simulated fleets; once, whatever the rounds."""
    del lab, host
    return advice.advice_rows(_measure("policies", str(scale.simulated.days), str(scale.simulated.hosts)))


def _report(lab: Lab, host: Host, scale: Scale) -> list[Row]:
    """The report of larger and larger fleets: as many hosts again should take no more than as long again."""
    del lab, host
    numbers = [scale.reported_hosts // 4, scale.reported_hosts // 2, scale.reported_hosts]
    rounds = _measure("report", str(scale.rounds), *map(str, numbers))
    rows = []
    for what in rounds[0]:
        named = [{f"{int(number):,} hosts": value for number, value in one[what].items()} for one in rounds]
        first, *others = (f"{number:,} hosts" for number in numbers)
        comparisons = [(name, first, round(1.2 * 2**step, 1)) for step, name in enumerate(others, 1)]
        rows += paired(f"report, {what}", "MB" if what == "page" else "s", named, comparisons)
    return rows


BENCHMARKS = {
    "processes": _processes,
    "play": _play,
    "job": _job,
    "facts": _facts,
    "removals": _removals,
    "stores": _stores,
    "report": _report,
    "rollout": _rollout,
    "fleet_size": _fleet_size,
    "fleet_settings": _fleet_settings,
    "next_builds": _next_builds,
    "advice": _advice,
}


def _measure(module: str, *arguments: str):
    """Run a measurement in a process of its own, which nothing else has filled or warmed, and return what it found."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (ROOT, ROOT / ".venv" / "collections"))))
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


@contextmanager
def _scripted_engine(directory: str, number: int, pace: float) -> Iterator[str]:
    """Run a scripted engine with that many records in a process of its own, and yield its socket.

    ``pace`` is the time in seconds that it takes over each record when asked for disk usage.
    """
    socket, answers = Path(directory, "engine.sock"), Path(directory, "script.json")
    answers.write_text(json.dumps(script(number, pace * number)), encoding="utf-8")
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
def _many_records(lab: Lab, host: Host, steps: int) -> Iterator[None]:
    """Fill the host's engine by a real build of that many small steps; after, remove what nothing uses."""
    with open(Path(__file__).with_name("many_records.sh"), encoding="utf-8") as build:
        lab.ssh(host, f"bash -s {steps // STAGES}", stdin=build, timeout=600)
    try:
        yield
    finally:
        lab.ssh(host, "docker image rm benchmark && docker builder prune --force", timeout=600)


if __name__ == "__main__":
    sys.exit(main())
