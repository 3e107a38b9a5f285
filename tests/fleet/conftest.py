# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet tests run real modules over SSH on the real hosts of the lab, each from an empty engine."""

from __future__ import annotations

import subprocess
import sys

import builds
import fleet
import prepared as preparation
import pytest
import trials


def pytest_report_header(config):
    """Say how to repeat the random trials."""
    return f"conformance: TRIALS={trials.TRIALS} SEED={trials.SEED}"


@pytest.fixture(scope="session")
def lab():
    """The lab's hosts, ready for builds: {name: inventory variables}. Without a lab every test fails."""
    try:
        hosts = fleet.hosts()
    except LookupError as problem:
        pytest.fail(str(problem), pytrace=False)
    builds.prepare()
    return hosts


@pytest.fixture
def empty(lab):
    """Every host's engine before the test, holding nothing: {host: State}."""
    return builds.empty_engines()


@pytest.fixture(scope="session")
def wheelhouse(lab, request):
    """A directory of wheels for the Pythons of all hosts; pytest's cache keeps it."""
    directory = request.config.cache.mkdir("wheelhouse")
    ask = "import platform as p; print('.'.join(p.python_version_tuple()[:2]), p.machine())"
    for answer in sorted(set(fleet.shell(ask, interpreter="python3 -").values())):
        python, machine = answer.split()
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", directory, "--only-binary=:all:"]
        download += [
            "--python-version",
            python,
            "--platform",
            f"manylinux2014_{machine}",
            "pip",
            "python-on-whales",
            "tomlkit",
        ]
        for source in (["--no-index", "--find-links", directory], []):
            ended = subprocess.run([*download, *source], capture_output=True, text=True, timeout=300, check=False)
            if ended.returncode == 0:
                break
        else:
            pytest.skip(f"No wheels for Python {python}: {(ended.stderr.strip() or 'pip failed').splitlines()[-1]}")
    return directory


@pytest.fixture(scope="module")
def prepared(lab, wheelhouse):
    """The hosts that have buildx, with what work with it takes; as they were again in the end."""
    hosts = [host for host, known in lab.items() if known["lab_has_buildx"]]
    preparation.prepare("-l", ",".join(hosts), prepare_buildx=True, prepare_wheelhouse=str(wheelhouse))
    yield hosts
    fleet.shell(preparation.REMOVE, hosts)
