# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet tests run real modules over SSH on the real hosts of the lab, each from an empty engine."""

from __future__ import annotations

import json
import subprocess
import sys

import builds
import daemon
import fleet
import lived_in
import prepared as preparation
import pytest
import rollouts
import trials
import workers


def pytest_report_header(config):
    """Say how to repeat the random trials."""
    return f"conformance: TRIALS={trials.TRIALS} SEED={trials.SEED}"


_LONGEST = (
    "test_conformance", "test_many_hosts", "test_random_rollouts", "test_rollout_faults", "test_gc_policy_role",
    "test_policy_fuzz", "test_gc_runs", "test_prepare", "test_gc_policy", "test_builders", "test_drain",
    "test_rollout_looks", "test_timer",
)  # fmt: skip
"""Files that take a worker long: where they come last, one worker goes on alone."""


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="module", autouse=True)
def lab(request):
    """The lab's hosts, ready for builds: {name: inventory variables}. Without a lab every test fails."""
    fleet.choose(workers.ANY_ENGINE if request.node.get_closest_marker("any_engine") else workers.KINDS)
    try:
        hosts = fleet.hosts()
    except LookupError as problem:
        pytest.fail(str(problem), pytrace=False)
    builds.prepare()
    return hosts


@pytest.fixture(scope="module")
def registry(lab):
    """A registry on every host."""
    lived_in.start_registry()
    yield
    fleet.shell(lived_in.NO_LEFTOVERS)
    lived_in.stop_registry()


@pytest.fixture
def empty(lab):
    """Every host's engine before the test, holding nothing: {host: State}."""
    return builds.empty_engines()


_HAVE_WHEELS = set()


@pytest.fixture(scope="module")
def wheelhouse(lab, request):
    """A directory of wheels for the Pythons of all hosts; pytest's cache keeps it."""
    directory = request.config.cache.mkdir("wheelhouse")
    ask = "import platform as p; print('.'.join(p.python_version_tuple()[:2]), p.machine())"
    for answer in sorted(set(fleet.shell(ask, interpreter="python3 -").values()) - _HAVE_WHEELS):
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
                _HAVE_WHEELS.add(answer)
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


@pytest.fixture(scope="module")
def alive(lab):
    """Hosts with the old policy in force, live restore, and a running container: {host: its PID}."""
    builds.empty_engines()
    fleet.shell(f"{daemon.KEEP}rm -f /etc/docker/daemon.json.*~")
    base = {
        host: json.dumps({"live-restore": True, **json.loads(text or "{}")}) for host, text in daemon.texts().items()
    }
    daemon.put(base)
    daemon.restart()
    fleet.shell(builds.build("alive:1", builds.FROM_SCRATCH))
    fleet.shell("docker run --detach --name alive --network none alive:1 /bin/busybox sleep 100000 >/dev/null")
    for result in rollouts.roll_out(rollouts.OLD, "true"):
        fleet.succeeded(result)
    yield fleet.shell(rollouts.PID)
    fleet.shell(f"docker rm --force alive; {rollouts.MENDED}{daemon.PUT_BACK}")
    daemon.restart()


@pytest.fixture
def rollout(alive, tmp_path):
    """Run the playbook on all hosts at once, and on one more after them: rollout(fault, **variables).

    ``fault`` is a script that each host runs while it is drained. Returns the results {task: {host: result}} and the
    hosts that were undrained. The one more, an alias, must not be reached.
    """
    rest = dict(next(iter(fleet.hosts().values())))
    (tmp_path / "rest.yml").write_text(json.dumps({"build_hosts": {"hosts": {"rest": rest}}}))
    undrained = tmp_path / "undrained"
    note = {"cmd": f"echo {{{{ inventory_hostname }}}} >>{undrained}"}
    away = {"delegate_to": "localhost", "become": False}

    def rollout(fault, *, check=False, environment=None, **variables):
        drain = [{"name": "Break", "ansible.builtin.shell": {"cmd": fault, "executable": "/bin/bash"}}]
        (tmp_path / "drain.yml").write_text(json.dumps(drain))
        (tmp_path / "undrain.yml").write_text(json.dumps([{"name": "Note", "ansible.builtin.shell": note, **away}]))
        undrained.unlink(missing_ok=True)
        given = {
            "buildcache_hosts": ",".join([*alive, "rest"]), "gc_policy_serial": f"{len(alive)},100%",
            "gc_policy_rules": rollouts.NEW, "gc_policy_backup": True,
            **{f"gc_policy_{word}_tasks": str(tmp_path / f"{word}.yml") for word in ("drain", "undrain")}, **variables,
        }  # fmt: skip
        results = fleet.playbook_results(
            "gc_policy",
            *("-i", str(tmp_path / "rest.yml"), "-e", json.dumps(given)),
            *(["--check"] if check else []),
            environment=environment,
        )
        assert "rest" not in {host for by_host in results.values() for host in by_host}
        return results, sorted(undrained.read_text().split()) if undrained.exists() else []

    return rollout


@pytest.fixture
def own(lab):
    """The lab's hosts, their configuration files and dockerd as they were again in the end: {host: own keys}."""
    fleet.shell(daemon.KEEP)
    yield {host: json.loads(text or "{}") for host, text in daemon.texts().items()}
    fleet.shell(daemon.BACK)
