# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a build host builds: projects of different rhythms, the same ones in the same order every time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

SEED = 1
BASES = {"base-a": 12, "base-b": 20}
"""The layers that projects share, in MiB."""

ONE_OFF = 0.6
"""The chance that a round has a project that never comes again."""


@dataclass(frozen=True)
class Project:
    """What is built again and again: a layer of a base, one of dependencies, and sources that each build changes.

    It is built every so many rounds, first in round ``first``; every 0 rounds is once. ``staged`` are those whose image
    holds only what was made of the sources, so that base and dependencies are in the cache alone. Sizes are in MiB.
    """

    name: str
    base: str
    dependencies: int
    sources: int
    staged: bool
    every: int
    first: int = 0

    def is_due(self, turn: int) -> bool:
        """Whether a round, counted from 0, builds it."""
        return turn == self.first if self.every == 0 else turn % self.every == self.first


REGULARS = (
    Project("web", "base-a", 16, 3, staged=True, every=1),
    Project("service", "base-a", 12, 2, staged=False, every=1),
    Project("worker", "base-a", 20, 2, staged=True, every=2, first=1),
    Project("library", "base-b", 12, 2, staged=False, every=2),
    Project("report", "base-b", 24, 3, staged=True, every=5, first=1),
    Project("tools", "base-b", 16, 2, staged=False, every=5, first=3),
)


@dataclass(frozen=True)
class Build:
    """One build of a project; ``number`` says which, counted from 1."""

    project: Project
    number: int

    @property
    def source(self) -> str:
        """A line of which the sources consist, another one for each build."""
        return f"{self.project.name}, sources of build {self.number}"

    def dockerfile(self, pause: float) -> str:
        """The build's Dockerfile.

        A base and dependencies take ``pause`` seconds each, as if they were downloaded; but for dependencies of what is
        built once, which takes that time whatever was removed.
        """
        project = self.project
        patience = pause if project.every else 0
        text = "FROM scratch AS build\nCOPY busybox /bin/busybox\n"
        text += _layer("base", project.base, BASES[project.base], pause)
        text += _layer("dependencies", project.name, project.dependencies, patience)
        text += f"COPY source /source\n{_run(f'cat /source >/{project.name}')}"
        if project.staged:
            text += f"FROM scratch\nCOPY --from=build /{project.name} /{project.name}\n"
        return text


def layer_seconds(log: str) -> float:
    """Seconds of the steps of bases and dependencies that a build did not have in its cache, by docker's plain log.

    The dependencies of what is built once do not count, which no host has in its cache.
    """
    numbers = {number for number, command in _STEP.findall(log) if _NOISE in command and f"echo {_ONCE}" not in command}
    return sum(float(seconds) for number, seconds in _DONE.findall(log) if number in numbers)


_NOISE, _ONCE = "/dev/urandom", "once-"
_STEP = re.compile(r"^#(\d+) \[[^]]*\d+/\d+\] RUN (.*)$", re.MULTILINE)
_DONE = re.compile(r"^#(\d+) DONE (\d+\.\d+)s$", re.MULTILINE)


def _layer(what: str, name: str, size: int, pause: float) -> str:
    return _run(f"sleep {pause}; /bin/busybox head -c {size}m {_NOISE} >/{what} && echo {name} >/{what}.of")


def _run(command: str) -> str:
    return f'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox {command}"]\n'


def builds(seed: int = SEED) -> Iterator[Build]:
    """Yield builds without end, round after round, in each the projects whose turn it is in any order."""
    chance = random.Random(seed)
    turn, so_far = 0, {}
    while True:
        due = [project for project in REGULARS if project.is_due(turn)]
        if chance.random() < ONE_OFF:
            due.append(_one_off(chance, turn))
        chance.shuffle(due)
        for project in due:
            so_far[project.name] = so_far.get(project.name, 0) + 1
            yield Build(project, so_far[project.name])
        turn += 1


def _one_off(chance: random.Random, turn: int) -> Project:
    base = chance.choice(list(BASES))
    dependencies, staged = chance.randrange(8, 33, 4), chance.random() < 0.5
    return Project(f"{_ONCE}{turn}", base, dependencies, chance.randint(1, 4), staged, every=0, first=turn)
