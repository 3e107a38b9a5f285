# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of any size for the report, made of what was recorded from real hosts: the same for the same seed."""

from __future__ import annotations

import json
import random
from pathlib import Path

GB = 2**30
DAY = 86400
RECORDED = Path(__file__).with_name("recorded_hosts.json")
"""Of two hosts of the lab, Engine 20.10 on overlay2 and 28.5 on containerd's store, which had built a few images and
ran a container: what the role report hands to its filter, with the disks measured."""

LIMITS = ([{"max_used_space": "20%"}], [{"unused_for": "48h", "max_used_space": "50GB"}], None)


def recorded():
    """The hosts that were recorded, each as the filter takes it."""
    return json.loads(RECORDED.read_text())


def fleet(number, seed=1):
    """Return so many hosts as the filter takes them: disks, sizes, ages, policies and what is missing differ."""
    chance, known = random.Random(seed), recorded()
    return [_host(f"build-{one:04}.ci.example.com", json.dumps(chance.choice(known)), chance) for one in range(number)]


def _host(name, text, chance):
    host = dict(json.loads(text), inventory_hostname=name)
    luck = chance.random()
    if luck < 0.02:
        looked = {
            "unreachable": True,
            "msg": f"Failed to connect to the host via ssh: {name} port 22: No route to host",
        }
        return {"inventory_hostname": name, "report_looked": looked}
    if luck < 0.03:
        looked = {"failed": True, "msg": "unix:///var/run/docker.sock cannot be connected to: no such file"}
        return {"inventory_hostname": name, "report_looked": looked}
    facts = host["report_looked"]["ansible_facts"]["buildcache"]
    disk, used = chance.choice((100, 200, 500)) * GB, min(chance.betavariate(4, 2.5), 0.99)
    before = facts["disks"][0]["used_bytes"]
    scale = disk * used / before
    _grow(facts, scale), _grow(host["cleanup_result"], scale)
    for one in facts["filesystems"]:
        free = int(disk * (1 - used))
        one.update(total_bytes=disk, free_bytes=free, available_bytes=free, used_percent=round(100 * used, 1))
    if luck > 0.7:
        facts["disks"] = []
    _policies(facts, host, chance)
    if used > 0.93:
        facts["findings"].insert(0, {
            "code": "few_inodes", "severity": "critical", "bytes": 0,
            "message": f"Of the inodes of /var/lib/docker {chance.randrange(1, 9)} % are left.", "remedy": "Clean up.",
        })  # fmt: skip
    if chance.random() < 0.3:
        facts["findings"] = [one for one in facts["findings"] if one["severity"] == "info"]
    if chance.random() < 0.1:
        facts["findings"] = []
    now = facts["engine"]["observed_at"]
    if chance.random() < 0.8:
        freed = int(disk * chance.random() / 5)
        facts["last_cleanup"] = {
            "at": now - chance.expovariate(1 / DAY), "freed_bytes": freed, "predicted_bytes": freed, "removed": 9,
            "reported_bytes": freed, "shortfall_bytes": None, "failed": chance.random() < 0.05, "msg": "",
        }  # fmt: skip
    if chance.random() < 0.7:
        growth = {"bytes_per_day": int(chance.gauss(4, 4) * GB), "since": now - 9 * DAY, "looks": 9}
        facts["builders"][0]["working_set"] = {"used_within": {}, "made_per_day": None, "reused": {}, "growth": growth}
    return host


def _grow(value, scale):
    """Multiply every number of bytes in a value."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(one, (dict, list)):
            _grow(one, scale)
        elif isinstance(one, int) and (str(key).endswith("bytes") or key == "size"):
            value[key] = int(one * scale)


def _policies(facts, host, chance):
    rules = chance.choice(LIMITS)
    facts["gc_policy"].update(
        in_file={"enabled": True, "rules": rules}, in_effect={"enabled": True, "rules": rules},
        restart_required=chance.random() < 0.06,
    )  # fmt: skip
    if chance.random() < 0.9:
        host["gc_policy_wanted"] = {}
