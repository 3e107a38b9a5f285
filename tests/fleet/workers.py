# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests side by side: each worker of pytest-xdist has hosts of its own, one of every kind, under the kinds' names."""

from __future__ import annotations

import json
import os
import re

import yaml

from tests.lab import recipes

KINDS = tuple(os.environ.get("KINDS", ",".join(recipes.KINDS)).split(","))
"""See fleet.KINDS."""

ANY_ENGINE = tuple(os.environ.get("ANY_ENGINE", ",".join(KINDS)).split(","))
"""The kinds for tests of what is the same with any engine, which `make test` shows on one."""


def inventory(lab, directory, kinds=KINDS):
    """Return the path of the inventory that the tests of this process use.

    That is the lab's own, ``lab``; in a worker, or where kinds are chosen, one with a share of these ``kinds``, made in
    ``directory``.
    """
    if not lab.exists() or not {"PYTEST_XDIST_WORKER", "KINDS"} & set(os.environ):
        return lab
    path = directory / "inventory.yml"
    turn = int(re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", "gw0"))[1]) + 1
    path.write_text(json.dumps(share(yaml.safe_load(lab.read_text()), turn, kinds)))
    return path


def share(whole, turn, kinds=KINDS):
    """Return what of the lab's inventory is the worker's whose turn it is, from 1, of these kinds.

    Its hosts are those that the lab made in that turn, docker20-2 in the second; they are called as in the first.
    """
    group = whole["build_hosts"]
    suffix = "" if turn == 1 else f"-{turn}"
    children = {
        f"kind_{kind}": {"hosts": {kind: group["children"][f"kind_{kind}"]["hosts"][kind + suffix]}}
        for kind in kinds
        if kind + suffix in group["children"].get(f"kind_{kind}", {"hosts": ()})["hosts"]
    }
    return {"build_hosts": {**group, "children": children}}
