# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the lab that builds, with all that its engine holds to be kept and put back."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..lab.inventory import Host, Lab
from ..lab.shell import run
from .trace import Build, layer_seconds

TESTS = Path(__file__).resolve().parents[1]
HERE = "/root/next-builds"
"""A directory on the host, which is not on its data disk."""

TIME_LIMIT = 600
"""Seconds after which one command counts as hanging."""

LOOKS = 20
"""How often an engine in use is looked at again."""

DATA = ("docker", "containerd")
"""What of the data disk is the engine's."""

_PREPARE = f"""mkdir -p {HERE}/context
cp "$(command -v busybox)" {HERE}/context/busybox
cat >{HERE}/build <<'SCRIPT'
{{build}}SCRIPT
chmod +x {HERE}/build
"""

_BUILD = f"""yes '{{source}}' | head -c {{size}}M >{HERE}/context/source
began=$(date +%s%N)
rm -f {HERE}/log
BUILD_LOG={HERE}/log {HERE}/build bench/{{name}} <<'END'
{{dockerfile}}END
echo "took $(($(date +%s%N) - began))"
cat {HERE}/log
"""


@dataclass(frozen=True)
class Seconds:
    """What builds took: by the clock, and what of it BuildKit spent on the steps of bases and dependencies.

    The second is nearly all that a cleaning can add, and far less at the mercy of what else the machine does.
    """

    clock: float
    layers: float


@dataclass(frozen=True)
class Look:
    """What an engine holds: its build-cache records by id as the API has them; and the bytes of its data disk that are
    free with the blocks reserved for root, and those available to anybody else."""

    records: dict[str, dict]
    free: int
    available: int

    @property
    def private(self) -> int:
        """What BuildKit holds against a limit: the bytes of all records but the shared ones."""
        return sum(record["Size"] for record in self.records.values() if not record["Shared"])

    def made_since(self, before: Look) -> int:
        """Bytes of the results of build steps that were not there before; sources that were sent are none."""
        new = (self.records[key] for key in self.records.keys() - before.records.keys())
        return sum(record["Size"] for record in new if record["Type"] == "regular")


class BuildHost:
    """One host, told what to do by ssh. Whatever fails raises LabError."""

    def __init__(self, lab: Lab, host: Host):
        self.lab, self.host = lab, host
        self._disk = lab.hosts_directory / host.name / "disk"

    def script(self, text: str, interpreter: str = "bash -eu") -> str:
        """Run a script on the host and return its output."""
        with tempfile.TemporaryFile("w+") as stdin:
            stdin.write(text)
            stdin.seek(0)
            return self.lab.ssh(self.host, interpreter, stdin=stdin, timeout=TIME_LIMIT)

    def prepare(self) -> None:
        """Bring the command that builds, and what its context has in all builds."""
        self.script(_PREPARE.format(build=(TESTS / "lab" / "build.sh").read_text(encoding="utf-8")))

    def build(self, builds: list[Build], pause: float) -> Seconds:
        """Do builds one after the other; for ``pause`` see Build.dockerfile."""
        text = "".join(
            _BUILD.format(
                source=build.source,
                size=build.project.sources,
                name=build.project.name,
                dockerfile=build.dockerfile(pause),
            )
            for build in builds
        )
        took, logs = zip(*re.findall(r"^took (\d+)\n((?:#.*\n|\n)*)", self.script(text), re.MULTILINE), strict=True)
        return Seconds(sum(map(int, took)) / 1e9, sum(map(layer_seconds, logs)))

    def look(self) -> Look:
        """Return what the engine holds, once its disk is still and nothing is in use."""
        ask = (TESTS / "fleet" / "ask_engine.py").read_text(encoding="utf-8")
        for _look in range(LOOKS):
            answer = json.loads(self.script(ask, "python3 -"))
            records = {record["ID"]: record for record in answer["usage"]["BuildCache"] or ()}
            # The engine's own garbage collection, a second after a start or a build, has records in its hands for a
            # moment; a prune would leave those.
            if not any(record["InUse"] for record in records.values()):
                break
        block = answer["disk"]["f_frsize"]
        return Look(records, answer["disk"]["f_bfree"] * block, answer["disk"]["f_bavail"] * block)

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """Give the host an engine that holds nothing; after, put back all that it held."""
        with tempfile.TemporaryDirectory(prefix="kept-", dir=self.lab.directory) as kept:
            self.keep(Path(kept))
            nothing = Path(kept, "nothing")
            for name in DATA:
                (nothing / name).mkdir(parents=True)
            try:
                self.put_back(nothing)
                yield
            finally:
                self.put_back(Path(kept))

    def keep(self, directory: Path) -> None:
        """Copy all that the engine holds into a directory of this machine. The engine is stopped and started."""
        with self._stopped():
            for name in DATA:
                run("cp", "--archive", str(self._disk / name), str(directory / name))

    def put_back(self, directory: Path) -> None:
        """Have the engine hold what was kept in a directory, and nothing else. It is stopped and started."""
        with self._stopped():
            for name in DATA:
                # The directory itself is mounted in the host.
                run("find", str(self._disk / name), "-mindepth", "1", "-delete")
                run("cp", "--archive", f"{directory / name}/.", str(self._disk / name))
            run("sync", "--file-system", str(self._disk))

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self.script("systemctl stop docker.socket docker containerd")
        try:
            yield
        finally:
            # systemd would not start a service that was started several times within a minute.
            self.script(
                "systemctl reset-failed docker containerd || true; systemctl start containerd docker.socket docker"
            )
