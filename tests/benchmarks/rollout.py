# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time of the playbook gc_policy over more and more hosts, beside plays that only ping the same hosts as often."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from .figures import Row, paired, turns
from .tasks import fresh_environment, run_ansible

SIZES = (1, 4, 12, 24)
QUESTIONS = {"policy and restart": 4, "policy that is in force": 1}
"""How often the playbook asks a host something: look, plan, write and restart, or look alone."""


def rollout(inventory: str, hosts: list[str], rounds: int) -> list[Row]:
    """Return the Rows for each number of hosts that the lab has, all in one batch.

    The pings are Ansible's own share: as many questions to as many hosts, with nothing done there.
    """
    rows = []
    for size in (size for size in SIZES if size <= len(hosts)):
        measured = _measured(inventory, hosts[:size], rounds)
        comparisons = [(name, _pings(name), None) for name in QUESTIONS]
        rows += paired(f"rollout to {size} host{'s' if size > 1 else ''}", "s", measured, comparisons)
    return rows


def _pings(name: str) -> str:
    return f"{QUESTIONS[name]} x ping"


def _measured(inventory: str, hosts: list[str], rounds: int) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        environment = fresh_environment(scratch)
        limit = ["-i", inventory, "--limit", ",".join(hosts)]
        books = {_pings(name): _book(scratch, number) for name, number in QUESTIONS.items()}

        def seconds(arguments):
            start = time.perf_counter()
            run_ansible(["ansible-playbook", *limit, *arguments], environment)
            return time.perf_counter() - start

        def policy(size, **variables):
            variables = {"gc_policy_rules": [{"max_used_space": size}], "gc_policy_serial": "100%", **variables}
            return ["buildfleet.buildcache.gc_policy", "-e", json.dumps(variables)]

        seconds(policy("50GB"))
        measured = []
        for number, names in enumerate(turns(list(books), rounds)):
            one = {name: seconds([books[name]]) for name in names}
            # The second follows the first, whose policy it finds in force.
            one.update({name: seconds(policy(f"{number + 60}GB")) for name in QUESTIONS})
            measured.append(one)
        seconds(policy("", gc_policy_rules=[], gc_policy_state="absent"))
        return measured


def _book(directory: str, number: int) -> str:
    """Write a playbook that pings so often, and return its path."""
    path = Path(directory, f"ping{number}.yml")
    play = {"hosts": "build_hosts", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}] * number}
    path.write_text(json.dumps([play]), encoding="utf-8")
    return str(path)
