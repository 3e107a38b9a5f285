# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a suite's parts, two at a time, and sum up their results; of several suites one after the other.

The suite ``fast`` has every behaviour once, ``deep`` what CI tests beyond, ``benchmarks`` each of those once. Each part
is a target of the Makefile. It writes to its own log, shown when the part ends: whole after a failure, the tail
otherwise. The last line of all is "N passed, N failed, N skipped". A slow machine takes its time; a part that writes
nothing for SILENCE is ended, and what had passed in it counts. Interrupted, every part is ended with the signal that
lets it clean up, so that a lab it booted is taken down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from results import Results, from_integration_log, from_junit, from_lines

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".lab" / "logs"
AT_ONCE = 2
SILENCE = 15 * 60  # seconds without a byte in its log, after which a part counts as hanging
TIME_TO_CLEAN_UP = 120  # seconds, for a part that has been told to end
TAIL = 12  # lines


@dataclass(frozen=True)
class Part:
    """One target of the Makefile and where it leaves its results: JUnit files, or None for lines in its log."""

    target: str
    junit: str | None = None

    @property
    def name(self) -> str:
        """What it is called here and in the summary."""
        return self.target.removeprefix("test-")

    @property
    def log(self) -> Path:
        """The file that holds the part's output."""
        return LOGS / f"{self.name}.log"

    def results(self) -> Results:
        """What the part's tests came to."""
        text = self.log.read_text(errors="replace")
        if self.name == "integration":
            return from_integration_log(text)
        if self.junit:
            return from_junit(ROOT.glob(self.junit), text)
        return from_lines(text)


# The longest first: it has one place to itself while the others take turns in the second.
SUITES = {
    "fast": (
        Part("test-fleet", ".lab/logs/fleet.xml"),
        Part("test-sanity", ".venv/ansible-test/sanity-fast/*/output/junit/*.xml"),
        Part("test-unit", ".venv/ansible-test/units-fast/*/output/junit/*.xml"),
        Part("test-integration"),
        Part("lint"),
        Part("dist"),
        Part("test-tools", ".lab/logs/tools.xml"),
    ),
    "deep": (
        Part("test-fleet-deep", ".lab/logs/fleet-deep*.xml"),
        Part("test-unit-deep", ".venv/ansible-test/units-deep/*/output/junit/*.xml"),
        Part("test-sanity-deep", ".venv/ansible-test/sanity-deep/*/output/junit/*.xml"),
        Part("test-galaxy"),
    ),
    # By themselves: they measure, and want hosts that nobody else works on.
    "benchmarks": (Part("bench-small"),),
}


class Runner:
    """Runs parts, remembers which are running, and can end them all."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.lock = threading.Lock()
        self.ended = False

    def run(self, part: Part) -> tuple[bool, float]:
        """Run one part; return whether it succeeded and the seconds it took."""
        started = time.monotonic()
        for old in ROOT.glob(part.junit) if part.junit else ():
            old.unlink()
        # Our own make's flags would make the part's make wait for a job server that it has no part in.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        with part.log.open("wb") as log:
            with self.lock:
                if self.ended:
                    return False, 0.0
                process = subprocess.Popen(
                    ["make", "--no-print-directory", part.target],
                    cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
                self.running.add(process)
            if not _ends(process, part.log):
                log.write(f"\nEnded: nothing was written for {SILENCE} s.\n".encode())
                _end(process)
            with self.lock:
                self.running.discard(process)
        return process.returncode == 0, time.monotonic() - started

    def end(self) -> None:
        """End every running part, and start no other."""
        with self.lock:
            self.ended = True
            running = list(self.running)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_end, running))


def _ends(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait for a process's end; False where its log has not grown for SILENCE."""
    size, since = -1, 0.0
    while True:
        now = time.monotonic()
        if (grown := log.stat().st_size) != size:
            size, since = grown, now
        if now - since >= SILENCE:
            return False
        try:
            process.wait(min(10.0, SILENCE))
            return True
        except subprocess.TimeoutExpired:
            continue


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(TIME_TO_CLEAN_UP)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        return


def _show(part: Part, results: Results, succeeded: bool, seconds: float) -> None:
    lines = part.log.read_text(errors="replace").splitlines()
    shown = lines[-TAIL:] if succeeded else lines
    print(f"\n===== {part.name}: {part.log.relative_to(ROOT)}", *shown, sep="\n")
    print(f"{'ok' if succeeded else 'FAILED'} {part.name} {seconds:.0f} s ({results.line()})", flush=True)


def _run(parts: list[Part], runner: Runner) -> Results:
    """Run parts, show how each ended, and return the sum."""
    total = Results()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            pending = {pool.submit(runner.run, part): part for part in parts}
            for future in as_completed(pending):
                part = pending[future]
                succeeded, seconds = future.result()
                results = part.results().settled(succeeded)
                succeeded = succeeded and not results.failed
                _show(part, results, succeeded, seconds)
                total += results.of(part.name)
        except KeyboardInterrupt:
            print("Interrupted: ending what runs.", flush=True)
            runner.end()
            raise
    return total


def _chosen(names: list[str]) -> list[list[Part]]:
    """The parts of each suite that are wanted, by names of suites and of parts."""
    known = {part.name for parts in SUITES.values() for part in parts}
    unknown = set(names) - set(SUITES) - known
    if unknown:
        there_are = ", ".join((*SUITES, *sorted(known)))
        sys.exit(f"No such suite or part: {', '.join(sorted(unknown))}. There are {there_are}.")
    return [[part for part in parts if suite in names or part.name in names] for suite, parts in SUITES.items()]


def main(names: list[str]) -> int:
    """Run the suites or parts of these names; return the exit status."""
    chosen = _chosen(names)
    LOGS.mkdir(parents=True, exist_ok=True)
    runner = Runner()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    total = Results()
    try:
        for parts in chosen:
            total += _run(parts, runner)
    except KeyboardInterrupt:
        return 130
    print("\n" + "=" * 70)
    for label, tests in (("FAILED", total.failed), ("skipped", total.skipped)):
        for test in tests:
            print(label, " ".join(test.split()))
    print(total.line())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
