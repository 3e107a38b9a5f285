# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units that stop with dockerd, such as the agent of a CI system: they run after a restart, however it ended."""

from __future__ import annotations

import daemon
import fleet
import pytest
import rollouts

pytestmark = pytest.mark.any_engine

# By what each follows dockerd's unit, or another one that does.
UNITS = {
    "needs": "Requires=docker.service\nAfter=docker.service",
    "bound": "BindsTo=docker.service\nAfter=docker.service",
    "part": "PartOf=docker.service",
    "chain": "Requires=needs.service\nAfter=needs.service",
    "requisite": "Requisite=docker.service\nAfter=docker.service",
    "idle": "Requires=docker.service\nAfter=docker.service",
}
RUNNING = ["bound.service", "chain.service", "needs.service", "part.service", "requisite.service"]
_AT = "/run/systemd/system"
_FILES = "".join(
    f"cat >{_AT}/{name}.service <<'END'\n[Unit]\n{lines}\n[Service]\n"
    "ExecStartPre=/bin/sh -c '[ ! -e /run/broken.%n ]'\nExecStart=/bin/sleep 100000\nEND\n"
    for name, lines in UNITS.items()
)
STATES = f"systemctl is-active {' '.join(UNITS)} || true"
PIDS = f"for unit in {' '.join(RUNNING)}; do systemctl show --property MainPID --value $unit; done"
DIES = rollouts.drop_in(f'ExecStartPre=/bin/sh -c "! grep -q 33 {daemon.CONFIG}"')


@pytest.fixture
def dependents(alive):
    """Hosts with units that depend on dockerd: {host: PIDs of those that run}; ``idle`` was never started."""
    fleet.shell(f"{_FILES}systemctl daemon-reload\nsystemctl start {' '.join(RUNNING)}")
    yield fleet.shell(PIDS)
    fleet.shell(
        f"systemctl stop {' '.join(UNITS)}; rm -f {_AT}/{{{','.join(UNITS)}}}.service /run/broken.*\n{rollouts.MENDED}"
    )
    fleet.succeeded(rollouts.roll_out(rollouts.OLD, "true")[2])


def stand(before):
    """Assert that what ran runs, by another process, and what did not does not."""
    assert set(fleet.shell(STATES).values()) == {"active\n" * len(RUNNING) + "inactive\n"}
    after = fleet.shell(PIDS)
    assert all(not set(after[host].split()) & set(pids.split()) for host, pids in before.items())


def test_they_run_again_after_a_restart_and_are_named_before(dependents):
    preview = fleet.run("buildcache_restart", {"planned": True}, check=True)
    for host, result in fleet.succeeded(preview).items():
        assert result["dependents"] == RUNNING, host
    _status, output = fleet.playbook("gc_policy", "--check", "-e", "gc_policy_ready=shared_ci_runner")
    assert output.count(f"and {', '.join(RUNNING)} restarted with it") == len(preview), output
    assert fleet.shell(PIDS) == dependents
    for host, result in fleet.succeeded(rollouts.roll_out(rollouts.NEW, "true")[2]).items():
        assert result["restarted"] and result["dependents"] == RUNNING, host
    stand(dependents)


def test_they_run_again_after_going_back(dependents):
    for host, result in rollouts.roll_out(rollouts.NEW, DIES)[2].items():
        assert result["failed"] and result["rolled_back"], (host, result)
        assert "serves with it again" in result["msg"] and "ran before" not in result["msg"], (host, result)
    stand(dependents)


def test_one_that_does_not_start_again_is_said(dependents):
    for host, result in rollouts.roll_out(rollouts.NEW, "touch /run/broken.part.service")[2].items():
        assert result["failed"] and result["restarted"] and not result["rolled_back"], (host, result)
        assert "dockerd obeys the policy. part.service (failed): ran before and could not" in result["msg"], (
            host,
            result,
        )
