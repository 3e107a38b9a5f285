# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What test tools report, read from JUnit files or from a log's lines, as one kind of value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Results:
    """How many tests passed, and the names of those that failed or could not run."""

    passed: int = 0
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __add__(self, other: Results) -> Results:
        return Results(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def line(self) -> str:
        """The summary, as "N passed, N failed, N skipped"."""
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def of(self, part: str) -> Results:
        """The same with the part's name before each test's."""
        return replace(
            self,
            failed=tuple(f"{part}: {test}" for test in self.failed),
            skipped=tuple(f"{part}: {test}" for test in self.skipped),
        )

    def settled(self, succeeded: bool) -> Results:
        """The same, failed as a whole where the tool failed without naming a test, or ran none at all."""
        if not succeeded and not self.failed:
            return replace(self, failed=("ended with an error; see its log",))
        if not self.passed and not self.failed:
            return replace(self, failed=("ran no test",))
        return self


def from_junit(files: Iterable[Path], log: str) -> Results:
    """The results in JUnit files, and the Pythons that ansible-test's log names as missing.

    ansible-test marks a sanity test that has nothing to look at as skipped too; that one is left out.
    """
    missing = re.findall(r"^WARNING: (Skipping \w+ tests on Python .*)$", log, re.M)
    results = Results(skipped=tuple(sorted(set(missing))))
    for file in sorted(files):
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                results += Results(failed=(name,))
            elif skipped is None:
                results += Results(passed=1)
            else:
                reason = skipped.get("message") or skipped.text or "no reason given"
                if reason != "No tests applicable.":
                    results += Results(skipped=(f"{name}: {reason}",))
    return results


def from_lines(log: str) -> Results:
    """The results in a log's lines "ok NAME", "FAILED NAME" and "skipped NAME"."""
    found: dict[str, list[str]] = {"ok": [], "FAILED": [], "skipped": []}
    for verdict, name in re.findall(r"^(ok|FAILED|skipped) (.+)$", log, re.M):
        found[verdict].append(name)
    return Results(len(found["ok"]), tuple(found["FAILED"]), tuple(found["skipped"]))


def from_integration_log(log: str) -> Results:
    """The results of ansible-test integration, one for each target.

    Its JUnit files count tasks, and a task that a test lets fail on purpose as a failure.
    """
    started = dict.fromkeys(re.findall(r"^Running (\S+) integration test role", log, re.M))
    listed = re.search(r"^FATAL: The \d+ integration test\(s\) listed below .* failed.*\n((?:\S+\n)*)", log, re.M)
    failed = tuple(listed[1].split()) if listed else ()
    return Results(len(started.keys() - set(failed)), failed)
