# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fleets of build hosts, simulated build by build: what their caches hold under a GC policy, and what is made again.

Only the collecting is the engine's, by the same transcription of BuildKit's algorithm that previews are made by. A
build uses or makes a layer of a base, one of dependencies and one of sources, each on the one before, and a context.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import EMBEDDED, Record
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, format_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import PolicyRule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.what_if import collected

ENGINE = "28.5.2"
MIB, GIB = 1 << 20, 1 << 30
HOUR = 3600 * SECOND
DAY = 24 * HOUR
START = 1_767_571_200 * SECOND
"""A Monday."""

SAME_AGAIN = 0.15
"""The chance that a build is one of the same sources, such as a job that is run again."""


@dataclass(frozen=True)
class Project:
    """What is built every so many hours on average; but unless it is built at ``night`` too, only what falls into the
    50 hours of a working week counts, of 168.

    Every so many builds the dependencies change. Sizes in MiB.
    """

    name: str
    base: str
    base_size: int
    dependencies: int
    sources: int
    every: float
    changes: int = 10
    night: bool = False


@dataclass(frozen=True)
class Fleet:
    """Hosts of one kind: bytes of their disks, and of what is on those beside the build cache; and the projects of
    each."""

    name: str
    disk: int
    other: int
    projects: tuple[tuple[Project, ...], ...]


@dataclass(frozen=True)
class Build:
    """One build at a time: the layers, from the base up, as their name, type and bytes."""

    at: int
    layers: tuple[tuple[str, str, int], ...]


def fleets(hosts: int) -> list[Fleet]:
    """Return the fleets, the same ones every time."""
    numbers = range(hosts)
    return [
        Fleet("small disks", 32 * GIB, 12 * GIB, tuple(_few(number) for number in numbers)),
        Fleet("large monorepo", 512 * GIB, 100 * GIB, tuple(_monorepo(number) for number in numbers)),
        Fleet("many small projects", 128 * GIB, 40 * GIB, tuple(_many(number) for number in numbers)),
    ]


def _few(number: int) -> tuple[Project, ...]:
    chance = random.Random(f"few {number}")
    rhythms = (1.5, 3, 6, 24, 90)
    return tuple(
        Project(f"p{one}", "debian", 700, chance.randint(500, 1500), chance.randint(60, 200), every)
        for one, every in enumerate(rhythms)
    )


def _monorepo(number: int) -> tuple[Project, ...]:
    chance = random.Random(f"monorepo {number}")
    size = chance.randint(6000, 9000)
    return (
        Project("main", "sdk", 4000, size, 1100, 0.7, changes=40),
        Project("nightly", "sdk", 4000, size + 3000, 2500, 24, changes=7, night=True),
        Project("release", "sdk-lts", 4000, size - 1000, 1100, 80, changes=6),
    )


def _many(number: int) -> tuple[Project, ...]:
    chance = random.Random(f"many {number}")
    bases = {"alpine": 60, "debian": 400, "node": 900, "python": 700}
    rhythms = [8] * 6 + [24] * 15 + [90] * 20 + [300] * 15
    found = []
    for one, every in enumerate(rhythms):
        base = chance.choice(sorted(bases))
        found.append(Project(f"p{one}", base, bases[base], chance.randint(200, 700), chance.randint(10, 80), every))
    return tuple(found)


def builds(projects: tuple[Project, ...], days: int, seed: object) -> list[Build]:
    """Return the builds of so many days, in order of time."""
    found = []
    for project in projects:
        found += _builds(project, days, random.Random(f"{seed} {project.name}"))
    return sorted(found, key=lambda build: build.at)


def _builds(project: Project, days: int, chance: random.Random) -> Iterator[Build]:
    number, hour = 0, chance.uniform(0, project.every)
    while hour < days * 24:
        if project.night or (hour // 24 % 7 < 5 and 8 <= hour % 24 < 18):
            number += not number or chance.random() >= SAME_AGAIN
            name, layers = project.name, []
            layers.append((f"base {project.base}", "regular", project.base_size))
            layers.append((f"dependencies {name} {number // project.changes}", "regular", project.dependencies))
            layers.append((f"sources {name} {number}", "regular", project.sources))
            layers.append((f"context {name}", "source.local", project.sources // 2))
            yield Build(START + int(hour * HOUR), tuple((what, kind, size * MIB) for what, kind, size in layers))
        hour += chance.expovariate(1 / project.every)


@dataclass
class Host:
    """One host as it goes: its records by name, the rules that it obeys since a start, all that was ever made, and the
    figures since counting began."""

    disk: int
    other: int
    rules: tuple[PolicyRule, ...]
    started_at: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    rebuilt: int = 0
    held: list[int] = field(default_factory=list)
    highest: int = 0
    full: int = 0

    def twin(self) -> Host:
        """Return a host that holds the same and goes its own way; its figures begin."""
        return Host(self.disk, self.other, self.rules, self.started_at, dict(self.records), set(self.made))

    @property
    def size(self) -> int:
        """Bytes of the build cache."""
        return sum(record.size for record in self.records.values())

    def obey(self, rules: tuple[PolicyRule, ...], now: int) -> None:
        """Start again with other rules."""
        self.rules, self.started_at = rules, now
        self.collect(now)

    def build(self, build: Build) -> None:
        """Use what is there, make what is not, and collect garbage."""
        parents = ()
        for number, (name, kind, size) in enumerate(build.layers):
            at = format_timestamp(build.at + number)
            record = self.records.get(name)
            if record is None:
                below = () if kind == "source.local" else parents
                record = Record(name, kind, size, False, False, below, 0, at, at)
                # Sources are sent whatever is in the cache.
                self.rebuilt += size if name in self.made and kind == "regular" else 0
                self.made.add(name)
            self.records[name] = record._replace(last_used_at=at, usage_count=record.usage_count + 1)
            parents = (name,)
        held = self.size
        self.highest = max(self.highest, held)
        self.full += self.other + held > self.disk
        # A second after each build.
        self.collect(build.at + SECOND)
        self.held.append(self.size)

    def collect(self, now: int) -> None:
        """Collect garbage by the rules, as the engine does."""
        free = max(self.disk - self.other - self.size, 0)
        run = collected(self.records.values(), self.rules, ENGINE, now, free, self.started_at)
        if run.removed:
            self.records = {record.id: record for record in run.left}

    def facts(self, now: int) -> dict:
        """Return the facts that advice goes by."""
        path = "/var/lib/docker"
        return {
            "engine": {"version": ENGINE, "root_dir": path, "observed_at": now / SECOND},
            "filesystems": [
                {"path": path, "total_bytes": self.disk, "free_bytes": max(self.disk - self.other - self.size, 0)}
            ],
            "builders": [
                {
                    "name": EMBEDDED,
                    "record_count": len(self.records),
                    "records": [record._asdict() for record in self.records.values()],
                }
            ],
        }


def default_rules(disk: int) -> tuple[PolicyRule, ...]:
    """Return the default rules of Engine 28.5.2 on a disk of so many bytes.

    Its first rule never matches before 29.6.0. (moby, builder-next/worker/gc.go, DefaultGCPolicy, detectDefaultGCCap)
    """
    reserved, most, least = ((disk * percent // 100 // GIB + 1) * 10**9 for percent in (10, 80, 20))
    sizes = {"reserved_space": reserved, "max_used_space": most, "min_free_space": least}
    return (PolicyRule(unused_for=60 * DAY, **sizes), PolicyRule(**sizes), PolicyRule(all=True, **sizes))
