# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ladders of docs/stages.md and of the README, for the kinds of hosts of docs/gc_policies.md, and the module's
examples can be used as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache import last_use
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import options

ROOT = Path(__file__).parents[5]
DOCS = ROOT / "docs"
PAGE = (DOCS / "stages.md").read_text(encoding="utf-8")
LADDERS = [
    block
    for text in (PAGE, (ROOT / "README.md").read_text(encoding="utf-8"))
    for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    if "cleanup_stages" in block
]


EXAMPLES = yaml.safe_load(
    yaml.safe_load((ROOT / "plugins" / "modules" / "buildcache_prune.yml").read_text(encoding="utf-8"))["EXAMPLES"]
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_an_example_of_the_module_can_be_used(example):
    given = example["buildfleet.buildcache.buildcache_prune"] or {}
    of_run = ("fail_on_shortfall", "facts", "buildx_config")
    assert wanted_from_options(options(**{name: one for name, one in given.items() if name not in of_run}))


@pytest.mark.parametrize("block", LADDERS)
def test_a_ladder_can_be_used(block):
    given = {name.partition("_")[2]: value for name, value in yaml.safe_load(block).items()}
    given.pop("fail_on_shortfall", None)
    wanted = wanted_from_options(options(**given))
    assert len(wanted.stages) >= 3 and wanted.marks


def test_every_kind_of_host_has_one():
    kinds = {"Small disk", "Large disk", "Shared CI runner", "Release builder"}
    headings = [set(re.findall(r"^## (.*)$", text, flags=re.MULTILINE)) for text in (
        PAGE, (DOCS / "gc_policies.md").read_text(encoding="utf-8"))]  # fmt: skip
    assert all(kinds <= one for one in headings) and len(LADDERS) == 5


def test_every_source_of_a_last_use_is_told():
    sources = {getattr(last_use, name) for name in ("CONTAINER", "SEEN", "BUILD", "ARRIVED", "CREATED", "CHILD")}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) == sources
