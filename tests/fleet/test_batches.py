# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout over several hosts, of which one is bad."""

from __future__ import annotations

import daemon
import fleet
from test_gc_policy_role import COMMENTED, LOOK, roll_out

ONE = fleet.KINDS[-1]


def test_a_bad_host_ends_the_rollout_and_leaves_no_other_half_done(empty, own):
    fleet.shell(f"mkdir -p /etc/docker; echo '{COMMENTED}' >{daemon.CONFIG}", [ONE])
    before = fleet.shell(LOOK)
    order = [ONE, *sorted(set(own) - {ONE})]
    for serial in ("1", "", "[1, 100%]"):
        # A list of hosts is taken in its order.
        status, output, counts = roll_out(buildcache_hosts=",".join(order), gc_policy_serial=serial)
        assert status == 2 and set(counts) == {ONE}, output
        assert "dockerd takes neither comments nor trailing commas" in output
    assert fleet.shell(LOOK) == before

    status, output, counts = roll_out(playbook="site")
    assert status == 2, output
    assert {host: (count["changed"], count["failed"]) for host, count in counts.items()} == {
        **dict.fromkeys(own, (2, 0)),
        ONE: (0, 1),
    }, output
    assert "Report what Docker build hosts hold" not in output
    status, output, counts = roll_out(playbook="site", gc_policy_max_fail_percentage=f"{100 // len(own)}%")
    assert status == 2 and "PLAY [Report what Docker build hosts hold]" in output, output
    assert [host for host, count in counts.items() if count["failed"]] == [ONE], output
