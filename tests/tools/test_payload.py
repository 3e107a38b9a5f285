# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task sends to a host: the module and all that it imports, as ansible-core packs it
(executor/module_common.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Bytes beside those of ansible.builtin.ping, and why they may be so many. A ceiling comes down with what is left out.
CEILINGS = {
    "prune_engine": (
        1.41,
        "what most hosts run, every night: the plan, by marks and stages too, no builders and no policies",
    ),
    "facts_engine": (1.36, "what the engine obeys: policies are read and held to what is known to be wrong with them"),
    "prune": (2.08, "with other builders, or for facts: a prune and all that facts tell, for one look in place of two"),
    "facts": (
        1.87,
        "with other builders, for what a restart would meet, for last uses, for who holds what on the disk, or for "
        "what builds work with",
    ),
    "gc_policy": (1.66, "policies are read, written and held to what is known to be wrong, in files and builders"),
    "rescue": (1.34, "what a full host can give up, and where dockerd would keep its data if it ran"),
    "ballast": (1.30, "where dockerd would keep its data if it ran: its flags, its unit and its file are read"),
    "prune_timer": (2.14, "never sent by itself: put on a host once, with what starts it there"),
    "timer": (0.01, "nothing: the action plugin does all"),
    "trace": (1.12, "one object is sought among the lines of a log: options, patterns of names and the log's files"),
    "restart": (
        1.75,
        "dockerd is watched, tried before, brought back, and asked what it obeys and holds; the log of that",
    ),
}

# In a process of its own, since a collection's loader is set up once.
_PACK = """
import json, sys
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar

init_plugin_loader([sys.argv[1]])
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.lean import in_one
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.payload import packed_bare
sizes = {}
for name in sys.argv[2:]:
    found = module_loader.find_plugin_with_context(name)
    with packed_bare(in_one(name)):
        packed = modify_module(
            module_name=name, module_path=found.plugin_resolved_path, module_args={}, module_compression="ZIP_DEFLATED",
            templar=Templar(loader=DataLoader(), variables={}),
            task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
        )
    sizes[name] = len(packed.b_module_data)
print(json.dumps(sizes))
"""


@cache
def sizes():
    """Return the bytes of each payload: {module: bytes}."""
    names = [f"buildfleet.buildcache.buildcache_{name}" for name in CEILINGS]
    collections = str(ROOT / ".venv" / "collections")
    command = [sys.executable, "-c", _PACK, collections, "ansible.builtin.ping", *names]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_module_has_a_ceiling():
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("buildcache_*.py")}
    assert modules == {f"buildcache_{name}" for name in CEILINGS}


@pytest.mark.parametrize("name", CEILINGS)
def test_a_payload_is_no_larger_than_its_reason_is_worth(name):
    packed = sizes()
    ratio = packed[f"buildfleet.buildcache.buildcache_{name}"] / packed["ansible.builtin.ping"]
    ceiling, reason = CEILINGS[name]
    # A ceiling far above is none: bring it down with the payload.
    assert ceiling - 0.05 <= ratio <= ceiling, f"{ratio:.3f} of ping's, for: {reason}"
