# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of which room may import which (pyproject.toml) hold, and break when an arrow is turned round."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = Path("plugins", "module_utils")


def lint_imports(checkout):
    """The exit status of import-linter on a checkout, and what it prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout.parents[2]), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path):
    """A copy of the rooms and of the rules, as a collection."""
    copy = tmp_path / "ansible_collections" / "buildfleet" / "buildcache"
    shutil.copytree(ROOT / ROOMS, copy / ROOMS, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def test_the_rules_hold(checkout):
    status, printed = lint_imports(checkout)
    assert status == 0, printed


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("_base/units.py", "from .._cache import gc", "Arrows between rooms go one way BROKEN"),
        ("_cache/gc.py", "from .._policy import lint", "Arrows between rooms go one way BROKEN"),
        ("_engine/host.py", "from .._policy import lint", "Arrows between rooms go one way BROKEN"),
        ("_dockerd/state.py", "from .._builders import command", "Arrows between rooms go one way BROKEN"),
        ("_results/facts.py", "from .._engine import host", "Results are made of values, not of engines BROKEN"),
        ("_policy/lint.py", "import os", "Pure rooms take time, disks and engines as arguments BROKEN"),
        ("_cache/gc.py", "from time import time", "Pure rooms take time, disks and engines as arguments BROKEN"),
        ("_dockerd/state.py", "from ansible.module_utils import basic", "Edges know nothing of Ansible BROKEN"),
        ("_new/__init__.py", "", "Arrows between rooms go one way"),
    ],
)
def test_an_arrow_that_is_turned_round_breaks_them(checkout, file, line, rule):
    path = checkout / ROOMS / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as opened:
        opened.write(f"\n{line}\n")
    status, printed = lint_imports(checkout)
    assert status == 1, printed
    assert rule in printed
