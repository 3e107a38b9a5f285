# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time of the whole job on a host where nothing is to be done: this collection's one look beside what users run for it
with community.docker, and beside a ping."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from .figures import BenchmarkError, Row, paired, turns
from .tasks import fresh_environment, run_ansible

RULES = [{"max_used_space": "50GB"}]
CONFIG = "/etc/docker/daemon.json"
WAYS = {
    "ping": [{"ansible.builtin.ping": {}}],
    "community.docker": [
        {"community.docker.docker_host_info": {"disk_usage": True, "images": True, "containers": True}},
        {"community.docker.docker_prune": {"images": True, "builder_cache": True}},
        {"ansible.builtin.copy": {"src": "daemon.json", "dest": CONFIG, "mode": "0644"}},
    ],
    # As in the playbook `site`: the second is for the hosts that are not right.
    "one look": [
        {"buildfleet.buildcache.buildcache_prune": {"facts": True}, "register": "look"},
        {
            "buildfleet.buildcache.buildcache_gc_policy": {"rules": RULES},
            "when": "not (look.ansible_facts.buildcache | buildfleet.buildcache.gc_policy_compare(rules)).in_force",
            "vars": {"rules": RULES},
        },
    ],
}


def whole_job(inventory: str, host: str, init_pid: int, rounds: int) -> list[Row]:
    """Return the Rows: the seconds that the tasks of each way take in one play.

    The policy is put in force before, and taken out after. The file that theirs copies is the one that this makes.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        environment = fresh_environment(scratch)
        where = ["ansible-playbook", "-i", inventory, "--limit", host]
        try:
            run_ansible([*where, "buildfleet.buildcache.gc_policy", *_policy(gc_policy_rules=RULES)], environment)
            get = {"src": CONFIG, "dest": f"{scratch}/daemon.json", "flat": True}
            run_ansible([*where, _book(scratch, "fetch", [{"ansible.builtin.fetch": get}])], environment)
            environment["ANSIBLE_CALLBACK_PLUGINS"] = str(Path(__file__).with_name("callback"))
            environment["ANSIBLE_STDOUT_CALLBACK"] = "stopwatch"
            environment["BENCH_NET_DEV"] = f"/proc/{init_pid}/net/dev"
            tasks = [
                {"name": f"{number} {name}", **task}
                for number, names in enumerate(turns(list(WAYS), rounds + 1))
                for name in names
                for task in WAYS[name]
            ]
            output = run_ansible([*where, _book(scratch, "job", tasks)], environment)
        finally:
            environment.pop("ANSIBLE_STDOUT_CALLBACK", None)
            run_ansible([*where, "buildfleet.buildcache.gc_policy", *_policy(gc_policy_state="absent")], environment)
    measured = [dict.fromkeys(WAYS, 0.0) for _round in range(rounds + 1)]
    for line in (json.loads(text) for text in output.splitlines() if text.startswith("{")):
        number, _space, name = line["task"].partition(" ")
        # The first round connects, packs, and removes what there is to remove.
        if line["changed"] and number != "0":
            raise BenchmarkError(f"{name} found something to do on {host}, which was to be idle.")
        measured[int(number)][name] += line["seconds"]
    aims = [("community.docker", "ping", None), ("one look", "ping", None), ("one look", "community.docker", 0.5)]
    return paired("time, the whole job with nothing to do", "s", measured[1:], aims)


def _policy(**variables) -> list[str]:
    return ["-e", json.dumps({"gc_policy_serial": "100%", **variables})]


def _book(directory: str, name: str, tasks: list[dict]) -> str:
    """Write a playbook of these tasks, and return its path."""
    path = Path(directory, f"{name}.yml")
    play = {"hosts": "build_hosts", "gather_facts": False, "become": True, "tasks": tasks}
    path.write_text(json.dumps([play]), encoding="utf-8")
    return str(path)
