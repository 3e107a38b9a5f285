# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/gc_policy_traps.md and docs/gc_policies.md say what the code does."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import Object
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import version_tuple
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import idle as _idle
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import lint as _lint
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import lint_filters as _lint_filters
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import policy as _policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import spelling as _spelling
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import wanted_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.tests.unit.policies import ENGINES

ROOT = Path(__file__).parents[5]
DOCS = ROOT / "docs"
ROLE = ROOT / "roles" / "gc_policy"
TRAPS = (DOCS / "gc_policy_traps.md").read_text(encoding="utf-8")
POLICIES = (DOCS / "gc_policies.md").read_text(encoding="utf-8")
MODULE = "buildfleet.buildcache.buildcache_gc_policy"
ROOM = {"keepStorage": "1GB"}


def in_gc(section):
    return {"builder": {"gc": {"enabled": True, **section}}}


# What a table's snippets are a part of, by the heading above it.
FILE_AROUND = {
    "Keys and sizes": in_gc,
    "Filters": lambda filters: in_gc({"policy": [{**ROOM, "filter": filters}, ROOM]}),
    "Rules and policies": in_gc,
    "The file as a whole": lambda whole: whole,
}


def sections():
    """The text below each heading of the page of traps."""
    parts = re.split(r"^## (.*)\n", TRAPS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def rows():
    """What each row claims: the whole file, and a pair of code and engines for each code."""
    for heading, file_around in FILE_AROUND.items():
        for line in re.findall(r"^\| `.*$", sections()[heading], flags=re.MULTILINE):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            claims = [re.fullmatch(r"`(gc_\w+)`(?: (\S+))?", claim) for claim in cells[4].split(", ") if claim != "–"]
            snippet = json.loads(cells[0].strip("`"), object_pairs_hook=Object)
            yield pytest.param(file_around(snippet), claims, id=cells[0])


def is_among(version, engines):
    """Whether an engine is among those that a cell names: none for all, "<28", "≥28" or "28.0.0–28.0.1"."""
    number = version_tuple(version)
    if not engines:
        return True
    if engines[0] in "<≥":
        return (number < version_tuple(engines[1:])) == (engines[0] == "<")
    first, last = engines.split("–")
    return version_tuple(first) <= number <= version_tuple(last)


@pytest.mark.parametrize(("config", "claims"), list(rows()))
def test_each_snippet_has_the_codes_that_the_page_says_and_no_other(config, claims):
    for version in ENGINES:
        claimed = {claim[1] for claim in claims if is_among(version, claim[2])}
        assert {trap.code for trap in traps(config, version)} == claimed, version


def test_every_code_is_explained_and_has_a_row():
    source = "".join(map(inspect.getsource, (_idle, _lint, _lint_filters, _policy, _spelling)))
    codes = {code for pair in re.findall(r'Trap\(\s*"(\w+)"|\[(gc_\w+)\]', source) for code in pair if code}
    assert {"gc_wrong_type", "gc_policy_empty", "gc_rule_unsupported"} < codes
    assert set(re.findall(r'<a id="(\w+)"></a>`\1`', TRAPS)) == codes
    tables = "".join(text for heading, text in sections().items() if heading != "The codes")
    assert set(re.findall(r"`(gc_[a-z_]+)`", tables)) == codes


def test_the_pages_link_to_what_is_there():
    for text in (TRAPS, POLICIES):
        for target in re.findall(r"\]\(([\w/.]+)", text):
            assert (DOCS / target).is_file(), target


def policies():
    """The options of each task on the page of policies."""
    for block in re.findall(r"^```yaml\n(.*?)^```", POLICIES, flags=re.MULTILINE | re.DOTALL):
        for task in yaml.safe_load(block):
            yield pytest.param(task[MODULE], id=task["name"])


@pytest.mark.parametrize("options", list(policies()))
@pytest.mark.parametrize("version", ["20.10.24", "23.0.1", "26.1.5", "27.5.1", "28.0.4", "28.5.2", "29.7.2"])
def test_each_policy_is_taken_by_every_engine(options, version):
    defaults = {"state": "present", "enabled": True, "unsupported": "fail"}
    wanted = wanted_policy({**defaults, **options}, version, filesystem_bytes=2**40, in_file=None)
    assert len(wanted.policy.rules) == len(options["rules"])
    # Only one that asks for free space says that older engines can do less.
    approximated = version_tuple(version) < (28,) and options.get("unsupported") == "approximate"
    assert bool(wanted.missing) == approximated


def test_the_role_has_the_policies_of_the_page():
    ready = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["gc_policy_ready_policies"]
    on_page = {policy.id.lower().replace(" ", "_"): policy.values[0]["rules"] for policy in policies()}
    # That of the engine has no rules of ours.
    on_page["engine_default"] = []
    assert ready == {name: on_page.get(name) for name in ready}
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    assert specs["main"]["options"]["gc_policy_ready"]["choices"] == ["", *ready]
