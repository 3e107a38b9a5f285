# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a running build or container uses survives any option."""

from __future__ import annotations

import time

import builds
import engine
import fleet

SLEEP = "/bin/busybox sleep 600"
"""The build's last step. It is ended once the module has run, and before that only where something else ends it."""

EVERYTHING = {"containers": "stopped", "images": "unused", "all": True}


def await_on_all(script, seconds, what):
    """Wait until a script prints something on every host, and return {host: what it printed}."""
    end = time.monotonic() + seconds
    while True:
        printed = fleet.shell(script)
        if all(printed.values()):
            return printed
        assert time.monotonic() < end, f"{what} did not come about in {seconds} s: {printed}"
        time.sleep(0.3)


def test_a_running_build_and_a_running_container_survive_every_option(empty):
    fleet.shell(
        builds.build("service:1", f"{builds.FROM_SCRATCH}{builds.write('/service', 4)}")
        + builds.build("job:1", f"{builds.FROM_SCRATCH}{builds.write('/job', 4)}")
        + "docker run --name job --network none job:1 /bin/busybox true\n"
        + "docker run --detach --name service --network none service:1 /bin/busybox sleep 1000 >/dev/null\n"
        + builds.start("late:1", f"{builds.FROM_SCRATCH}{builds.write('/early', 4)}{builds.do(f'{SLEEP} || true')}")
    )
    await_on_all(f"pgrep --full --exact '{SLEEP}' || true", 30, "the build's last step")
    before = engine.look()
    in_use = {host: {name for name, one in state.records.items() if one["InUse"]} for host, state in before.items()}
    assert all(in_use.values()), in_use

    runs = fleet.play(
        [
            fleet.task("buildcache_prune", {**EVERYTHING, **more})
            for more in (
                {},
                {"max_used_space": "1B", "unused_for": "1ms"},
                {"min_free_space": "100%"},
                {"types": ["regular", "source.local"]},
            )
        ]
    )

    during = engine.look()
    assert not any(fleet.shell(builds.ENDED).values()), "The build ended before the runs of the module did."
    for results in runs:
        fleet.succeeded(results)
    for host, state in during.items():
        assert in_use[host] <= set(state.records), host
        assert state.running == {"service"} and state.tags == {"service:1"}, host
        # Not for want of removing anything: the stopped container, its image and its records are gone.
        assert len(state.containers) == 1 and len(state.records) < len(before[host].records), host
        reasons = {one["reason"]: one["count"] for one in runs[0][host]["kept"]}
        assert reasons["in_use"] == len(in_use[host]) and reasons["running_containers_image"] == 1, (host, reasons)
    fleet.shell(f"pkill --full --exact '{SLEEP}'")
    statuses = await_on_all(builds.ENDED, 60, "the end of the build")
    assert {status.strip() for status in statuses.values()} == {"0"}, fleet.shell(f"cat {builds.CONTEXT}/log")
    for host, state in engine.look().items():
        assert state.running == {"service"} and state.tags == {"service:1", "late:1"}, host
    fleet.shell("docker run --rm --network none late:1 /bin/busybox ls /early")
