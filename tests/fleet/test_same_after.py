# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dockerd that serves and obeys the policy, but does not hold what it held before the restart: that is undone."""

from __future__ import annotations

import daemon
import fleet
import pytest
import rollouts
from variants import variants

pytestmark = pytest.mark.any_engine

_WITH_NEW = f"grep -q 33 {daemon.CONFIG}"
_OTHER = "/srv/other"
# What no look before the restart can find, since it comes with the start.
DIFFERENCES = {
    "another root": (
        rollouts.program(f'! {_WITH_NEW} || set -- "$@" --data-root {_OTHER}\nexec -a "$0" "$0.real" "$@"'),
        f"its root directory is {_OTHER}, and was /",
    ),
    "a container that was ended": (
        rollouts.drop_in(f'ExecStartPre=/bin/sh -c "! {_WITH_NEW} || kill -KILL $(cat /run/alive)"'),
        "alive was ended",
    ),
}


@pytest.mark.parametrize("difference", variants(DIFFERENCES, first=1))
def test_what_is_not_as_before_is_undone(alive, difference):
    script, says = DIFFERENCES[difference]
    texts = daemon.texts()
    fleet.shell(f"{rollouts.PID} >/run/alive; mkdir -p {_OTHER}")
    try:
        results = rollouts.roll_out(rollouts.NEW, script)[2]
        for host, result in results.items():
            assert result["failed"] and result["restarted"] and result["rolled_back"], (host, result)
            assert f"dockerd came back, but not as it was: {says}" in result["msg"], (host, result)
        if "container" in difference:
            fleet.shell("docker start alive >/dev/null")
            alive = fleet.shell(rollouts.PID)
        rollouts.as_before(alive, texts)
    finally:
        fleet.shell(f"{rollouts.MENDED}\nrm -rf {_OTHER} /run/alive")


def test_containers_with_a_restart_policy_run_again_where_live_restore_is_off(alive):
    served = "docker run --detach --restart always --name served --network none alive:1 /bin/busybox sleep 100000"
    texts = daemon.texts()
    daemon.put({host: text.replace('"live-restore": true', '"live-restore": false') for host, text in texts.items()})
    daemon.restart()
    fleet.shell(f"docker start alive served 2>/dev/null || {served} >/dev/null")
    try:
        results = rollouts.roll_out(rollouts.NEW, "true", allow_container_stop=True)[2]
        for host, result in fleet.succeeded(results).items():
            assert result["restarted"] and sorted(result["containers"]) == ["alive", "served"], (host, result)
        assert set(fleet.shell("docker inspect --format '{{.State.Running}}' served").values()) == {"true\n"}
    finally:
        daemon.put(texts)
        fleet.shell(f"docker rm --force served >/dev/null; {daemon.RESTART}\ndocker start alive >/dev/null")
