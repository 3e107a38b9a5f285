# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make test` has every behaviour, and what it leaves out is in `make test-deep`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.lab import recipes

ROOT = Path(__file__).resolve().parents[2]

DEEP_AS_A_WHOLE = {"test_policy_fuzz.py", "test_container_builders.py", "test_random_rollouts.py"}
"""Files of fuzz runs, of rollouts that something happens to, and of builders that the lab has only where an image of
BuildKit is given."""


def collected(*marked):
    """The fleet tests with these marks, as "file::test[variant]"."""
    command = [sys.executable, "-m", "pytest", "tests/fleet", "--collect-only", "--quiet", *marked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tests = [line.rpartition("/")[2] for line in done.stdout.splitlines() if "::" in line]
    assert tests, done.stdout + done.stderr
    return tests


def kinds_of_the_makefile():
    lists = re.findall(r"^(\w+_(?:KINDS|ANY|LAB)) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {name: set(value.split(",")) for name, value in lists}


def behaviours(tests):
    return {test.partition("[")[0] for test in tests}


def test_the_two_suites_together_have_every_fleet_test_once():
    fast, deep = collected("-m", "not deep"), collected("-m", "deep")
    assert sorted(fast + deep) == sorted(collected())
    left_out = behaviours(deep) - behaviours(fast)
    assert {test.partition("::")[0] for test in left_out} == DEEP_AS_A_WHOLE


def test_the_two_suites_together_have_every_kind_of_host():
    kinds = kinds_of_the_makefile()
    assert kinds["FAST_KINDS"] | kinds["OTHER_KINDS"] == kinds["ALL_KINDS"] == set(recipes.KINDS)
    assert kinds["OTHER_KINDS"] | kinds["OTHER_ANY"] == kinds["OTHER_LAB"]


def test_what_is_the_same_with_any_engine_is_tested_with_every_version():
    kinds = kinds_of_the_makefile()
    versions = {kind.recipe.digest() for kind in recipes.KINDS.values()}
    every = kinds["FAST_ANY"] | kinds["OTHER_ANY"] | kinds["DEEP_ANY"]
    assert {recipes.KINDS[name].recipe.digest() for name in every} == versions
