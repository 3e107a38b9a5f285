# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own bridge and subnet on this machine. Nothing is routed out of it."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import random

from .shell import LabError, run

_MACHINE_LOCK = "/run/lock/buildcache-lab"


def create_bridge(bridge: str) -> str:
    """Make the bridge, with a free /24 subnet of 10.0.0.0/8, where there is none, and return the subnet.

    Raises LabError where ip fails.
    """
    # Labs of several checkouts must not choose the same subnet at the same time.
    with open(_MACHINE_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        existing = _addresses_of(bridge)
        if existing is None:
            run("ip", "link", "add", bridge, "type", "bridge")
            existing = []
        if existing:
            subnet = ipaddress.ip_interface(existing[0]).network
        else:
            subnet = _free_subnet()
            run("ip", "address", "add", f"{subnet[1]}/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
    return str(subnet)


def remove_bridge(bridge: str) -> None:
    """Remove the bridge where there is one."""
    if _addresses_of(bridge) is not None:
        run("ip", "link", "delete", bridge)


def address(subnet: str, number: int) -> str:
    """The subnet's address number so and so."""
    return str(ipaddress.ip_network(subnet)[number])


def plug_in(init_pid: int, subnet: str, number: int) -> None:
    """Give a running host its address on host0; from outside, so that a host needs no network service of its own."""
    enter = ("nsenter", f"--net=/proc/{init_pid}/ns/net")
    run(*enter, "ip", "address", "add", f"{address(subnet, number)}/24", "dev", "host0")
    run(*enter, "ip", "link", "set", "host0", "up")


def _addresses_of(interface: str) -> list[str] | None:
    for link in json.loads(run("ip", "-json", "address", "show")):
        if link["ifname"] == interface:
            return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"]
    return None


def _free_subnet() -> ipaddress.IPv4Network:
    """A subnet that no route of this machine touches.

    Chosen at random: a controller's SSH connection that outlives its lab must not meet a new host at an old address.
    """
    routes = json.loads(run("ip", "-4", "-json", "route", "show", "table", "all"))
    taken = [ipaddress.ip_network(r["dst"]) for r in routes if r["dst"] != "default"]
    for _attempt in range(200):
        subnet = ipaddress.ip_network(f"10.{random.randint(64, 254)}.{random.randint(0, 254)}.0/24")
        if not any(subnet.overlaps(net) for net in taken):
            return subnet
    raise LabError("No free 10.x.y.0/24 subnet was found: this machine's routes (ip route show table all) cover them")
