# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout on hosts that serve with an old policy and have a running container."""

from __future__ import annotations

import daemon
import fleet

OLD, NEW = [{"max_used_space": "21GB"}], [{"max_used_space": "33GB"}]
DROP_IN = "/run/systemd/system/docker.service.d"

MENDED = f"""
rm -rf {DROP_IN} /run/fault; systemctl daemon-reload
dockerd=$(command -v dockerd); [ ! -e $dockerd.real ] || mv $dockerd.real $dockerd
! mountpoint -q /etc/docker || busybox umount /etc/docker
"""
"""A script that takes every fault away."""

_FREE = "import fcntl; fcntl.flock(open('/run/buildcache/lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
PID = "docker inspect --format '{{.State.Pid}}' alive"


def drop_in(lines):
    """Return a script that gives dockerd's unit a drop-in with these lines of its section Service."""
    return f"mkdir -p {DROP_IN}; printf '[Service]\\n{lines}\\n' >{DROP_IN}/fault.conf; systemctl daemon-reload"


def program(lines):
    """Return a script that puts a program of these lines of bash in dockerd's place; that one is ``$0.real`` then."""
    return (
        "dockerd=$(command -v dockerd); mv $dockerd $dockerd.real\n"
        f"cat >$dockerd <<'END'\n#!/bin/bash\n{lines}\nEND\nchmod +x $dockerd\n"
    )


def roll_out(rules, script, on=None, **options):
    """Write a policy, run a script, restart: what each of the three gave, {host: result}."""
    restart = {"drain_timeout": "20s", **options}
    return fleet.play(
        [
            fleet.task("buildcache_gc_policy", {"rules": rules}),
            {"ansible.builtin.shell": {"cmd": script, "executable": "/bin/bash"}},
            fleet.task("buildcache_restart", restart),
        ],
        on,
    )


def as_before(alive, texts):
    """Assert that every host serves with the old policy, has its old file and container, and is neither locked nor
    drained; and that there is nothing to do for the old policy."""
    assert daemon.texts() == texts
    seen = fleet.facts({"lock_timeout": "1s"})
    left = "find /etc/docker -name '.gc_policy_drained' -o -name 'daemon.json.*~'"
    for host, printed in fleet.shell(f'python3 -c "{_FREE}"\n{PID}\n{left}').items():
        assert printed == alive[host], (host, printed)
        policy = seen[host]["gc_policy"]
        assert policy["in_file"]["rules"][0]["max_used_space"] == "21GB", host
        assert policy["restart_required"] is False, (host, policy)
        assert seen[host]["engine"]["live_restore"], host
