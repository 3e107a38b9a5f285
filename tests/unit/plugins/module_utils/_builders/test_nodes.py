# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    INACTIVE,
    RUNNING,
    STOPPED,
    UNREACHABLE,
    known_rules,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import instances as _instances
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import (
    chosen_nodes,
    filesystem_from_stat,
    nodes_from_listing,
    prune_arguments,
    pruned_from_buildctl,
    records_from_buildctl,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import Rule

RULE = {"all": True, "filter": None, "keepDuration": 0, "maxUsedSpace": 5, "minFreeSpace": 0, "reservedSpace": 0}
TWO = {
    "Name": "two",
    "Driver": "docker-container",
    "Nodes": [
        {"Name": "two0", "Endpoint": "default", "Status": "running", "Version": "v0.25.2", "GCPolicy": [RULE]},
        {"Name": "two1", "Endpoint": "far", "Status": "stopped"},
    ],
}
LISTING = [
    {"Name": "default", "Driver": "docker", "Nodes": [{"Name": "default", "Endpoint": "default", "Status": "running"}]},
    TWO,
    TWO,  # buildx before 0.21 repeats the line for each node
    {"Name": "new", "Driver": "docker-container", "Nodes": [{"Name": "new0", "Endpoint": "default"}]},
    {"Name": "silent", "Driver": "", "Err": "Cannot connect", "Nodes": [{"Endpoint": "", "Name": ""}]},
    {"Name": "far", "Driver": "docker", "Nodes": [{"Name": "far", "Endpoint": "far", "Status": "running"}]},
    {"Name": "rem", "Driver": "remote", "Nodes": [{"Name": "rem0", "Endpoint": "tcp://far:1", "Status": "inactive"}]},
]


def listed(*entries):
    return nodes_from_listing("\n".join(map(json.dumps, entries or LISTING)))


def test_a_listing_names_every_node_once_and_not_the_engines_own():
    assert [(one.builder, one.name, one.driver, one.status) for one in listed()] == [
        ("two", "two0", "docker-container", RUNNING),
        ("two", "two1", "docker-container", STOPPED),
        ("new", "new0", "docker-container", INACTIVE),
        ("silent", "silent", "docker", UNREACHABLE),
        ("far", "far", "docker", RUNNING),
        ("rem", "rem0", "remote", INACTIVE),
    ]


def test_who_should_answer_and_does_not_is_in_trouble():
    troubles = {one.name: one.trouble for one in listed() if one.trouble}
    assert troubles == {
        "silent": "Builder silent cannot be reached: Cannot connect",
        "rem0": "Builder rem does not answer at tcp://far:1.",
    }


def test_a_node_is_called_by_its_builder_where_it_is_the_first():
    assert [one.label for one in listed()][:3] == ["two", "two (two1)", "new"]


def test_rules_that_buildx_knows_only_a_part_of_are_not_known():
    assert listed()[0].reported == [RULE]
    assert known_rules([{"all": True, "keepBytes": 5}]) is None
    assert known_rules(None) is None
    assert known_rules([]) == []


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"Nodes": []}', '{"Name": "a", "Nodes": 5}'])
def test_another_form_of_listing_is_said_to_be_unknown(text):
    with pytest.raises(BuildcacheError, match="form that is not known"):
        nodes_from_listing(text)


@pytest.mark.parametrize(
    ("version", "engine"),
    [
        ("0.32.2", "28.2"),
        ("0.21.0", "28.1"),
        ("0.17.3", "27.4"),
        ("0.13.2", "23.0"),
        ("0.9.3", "20.10"),
        (None, "20.10"),
    ],
)
def test_a_buildkit_reckons_as_the_first_engine_with_its_arithmetic(version, engine):
    entry = {"Name": "a", "Driver": "remote", "Nodes": [{"Name": "a0", "Version": version and f"v{version}"}]}
    assert listed(entry)[0].engine_version == engine


def test_builders_are_chosen_by_name():
    nodes = listed()
    assert chosen_nodes(["all"], nodes) == nodes
    assert [one.name for one in chosen_nodes(["default", "two"], nodes)] == ["two0", "two1"]
    with pytest.raises(BadOption, match="no builder 'nobody'; there are default, far, new"):
        chosen_nodes(["nobody", "two"], nodes)


def test_records_are_read_from_buildctl():
    entry = {
        "id": "a",
        "recordType": "source.local",
        "size": 7,
        "shared": True,
        "inUse": True,
        "parents": ["b"],
        "usageCount": 3,
        "lastUsedAt": "2026-01-01T00:00:00.000000001Z",
        "createdAt": "2026-01-01T00:00:00Z",
        "description": "d",
        "mutable": True,
    }
    (record,) = records_from_buildctl(json.dumps([entry]))
    assert record[:7] == ("a", "source.local", 7, True, True, ("b",), 3)
    assert record[7:] == ("2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00Z", "d")
    assert records_from_buildctl("null\n") == ()
    with pytest.raises(BuildcacheError, match="form that is not known"):
        records_from_buildctl("ID SIZE")


def test_what_was_pruned_is_read_line_by_line():
    assert pruned_from_buildctl('{"id":"a","size":5}\n{"id":"b"}\n') == (["a", "b"], 5)
    assert pruned_from_buildctl("") == ([], 0)
    with pytest.raises(BuildcacheError, match="form that is not known"):
        pruned_from_buildctl("Total: 5B")


def test_a_rule_is_said_in_buildctls_words():
    assert prune_arguments(Rule()) == ["prune", "--format", "{{json .}}"]
    rule = Rule(all=True, unused_for=90 * SECOND, type="regular", id="ab", description='a "b"', shared=False)
    assert prune_arguments(rule)[3:] == [
        *("--all", "--keep-duration", "1m30s"),
        *("--filter", 'type==regular,id~=ab,description=="a \\"b\\"",private'),
    ]


@given(st.integers(1, 2**50))
def test_a_cap_arrives_to_the_byte(cap):
    (text,) = prune_arguments(Rule(keep_bytes=cap))[4:]
    assert int(float(text) * 1e6) == cap


def test_a_file_system_is_read_from_stat():
    disk = filesystem_from_stat("/x", "4096 1000 500 400 90 80\n")
    assert (disk.total, disk.free, disk.available) == (4096000, 2048000, 1638400)
    assert (disk.inodes_total, disk.inodes_available) == (90, 80)
    with pytest.raises(BuildcacheError):
        filesystem_from_stat("/x", "stat: unknown")


def test_nodes_of_all_users_are_known(tmp_path, monkeypatch):
    for home, name in (("ann", "a0"), ("bob", "b0")):
        instances = tmp_path / home / ".docker" / "buildx" / "instances"
        instances.mkdir(parents=True)
        (instances / "one").write_text(json.dumps({"Nodes": [{"Name": name}]}))
        (instances / "broken").write_text("{")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "instances").mkdir(parents=True)
    (elsewhere / "instances" / "one").write_text(json.dumps({"Nodes": [{"Name": "c0"}]}))
    homes = [type("User", (), {"pw_dir": str(tmp_path / name)}) for name in ("ann", "bob", "nobody")]
    monkeypatch.setattr(_instances.pwd, "getpwall", lambda: homes)
    assert _instances.known_nodes(str(elsewhere)) == {"a0", "b0", "c0"}


def test_work_with_the_engine_alone_loads_nothing_of_other_builders():
    names = "buildcache_facts_engine, buildcache_prune_engine, buildcache_gc_policy, buildcache_restart"
    code = (
        f"import sys\nfrom ansible_collections.buildfleet.buildcache.plugins.modules import {names}\n"
        "others = ('whales', 'tomlkit', '.buildx', '_builders.prune', '_builders.observe', '_builders.policy')\n"
        "print([name for name in sys.modules if name.endswith(others)])"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    assert subprocess.check_output([sys.executable, "-c", code], env=environment).decode().strip() == "[]"
