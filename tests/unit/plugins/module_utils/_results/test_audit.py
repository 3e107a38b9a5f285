# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of an audit log: what went, and which options chose it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import EMBEDDED, LastUse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.clear import Orphans
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.steps import Planned
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import Done
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.plan import TRUNCATE, Given, Item
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.audit import (
    audit_lines,
    policy_change,
    removed_by_rescue,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.audit_prune import (
    LONGEST_TEXT,
    removed_by_prune,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    DAY,
    NOW,
    container,
    image,
    observation,
    options,
    record,
)

MODULE = {"remove_orphaned_state": True}
HELD = observation(
    records=[record("r1", 10, description="x" * 500), record("r2", 20, type="source.local")],
    images=[image("sha256:aa", ["app:1"], unique=5, digests=("app@sha256:ff",)), image("sha256:bb", unique=6)],
    containers=[container("c1", "sha256:cc", size=3, created=1)._replace(name="job")],
)


def entries(done, before=HELD, builders=(), orphans=(), **given):
    """The entries of a prune with these options and Dones."""
    given = options(**{**MODULE, **given})
    return list(removed_by_prune(given, wanted_from_options(given), before, done, builders, orphans, NOW + 7 * SECOND))


def step(name, *ids, stage=0, planned=None, **about):
    return Done(Planned(name, planned or ids, 1, stage=stage), ids, **about)


def test_each_object_that_went_has_an_entry_with_the_options_that_chose_it():
    done = (
        step("containers", "c1"),
        step("images", "sha256:aa", "sha256:bb", planned=("sha256:aa", "sha256:bb", "sha256:left"), at=NOW),
        step("build_cache", "r2", "r1"),
    )
    found = entries(
        done, containers="stopped", images="unused", images_older_than="1h", unused_for="30m", max_used_space="15B"
    )
    assert [(one["kind"], one["id"], one["bytes"]) for one in found] == [
        ("containers", "c1", 3), ("images", "sha256:aa", 5), ("images", "sha256:bb", 6), ("build_cache", "r2", 20),
        ("build_cache", "r1", 10),
    ]  # fmt: skip
    assert found[0]["why"] == {"containers": "stopped"} and found[0]["name"] == "job"
    assert found[1]["why"] == {"images": "unused", "images_older_than": "1h"}
    assert found[1]["tags"] == ["app:1", "app@sha256:ff"] and found[2]["tags"] == []
    why = {"build_cache": True, "unused_for": "30m", "max_used_space": "15B"}
    assert found[3]["why"] == found[4]["why"] == why and found[3]["builder"] == EMBEDDED
    assert len(found[4]["description"]) == LONGEST_TEXT and found[3]["type"] == "source.local"
    # When the step was seen to be done, or else when it is written.
    assert [one["time"] for one in found[:2]] == ["2026-01-10T12:00:07Z", "2026-01-10T12:00:00Z"]
    assert {one["event"] for one in found} == {"removed"}


def test_an_image_says_by_which_name_it_was_chosen_or_that_it_went_with_its_children():
    held = observation(
        images=[
            image("sha256:aa", ["old/app:1"]),
            image("sha256:bb", parent="sha256:cc", age_days=9),
            image("sha256:cc", age_days=0, hidden=True),
        ]
    )
    held = held._replace(uses={"sha256:bb": LastUse(NOW - 2 * DAY * SECOND, "build")})
    given = {"images_remove": ["old/**", "none:*"], "images_older_than": "7d"}
    named, chosen, parent = entries((step("images", "sha256:aa", "sha256:bb", "sha256:cc"),), held, **given)
    assert named["why"] == {"images_remove": ["old/**"]}
    assert chosen["why"] == {
        "images": "dangling", "images_older_than": "7d", "last_used": "2026-01-08T12:00:00Z", "last_used_by": "build",
    }  # fmt: skip
    assert parent["why"] == {"with_children": True}


def test_a_stage_has_its_number_its_own_options_and_the_marks():
    given = {
        "high_watermark": "80%", "low_watermark": "70%", "unused_for": "1h",
        "stages": [{"unused_for": "2h", "images": "keep"}, {"images": "unused", "unused_for": None}],
    }  # fmt: skip
    first, second = entries((step("build_cache", "r1", stage=1), step("images", "sha256:aa", stage=2)), **given)
    marks = {"high_watermark": "80%", "low_watermark": "70%"}
    assert first["why"] == {"build_cache": True, "unused_for": "2h", **marks, "stage": 1}
    assert second["why"] == {"images": "unused", **marks, "stage": 2}


def test_what_was_not_there_at_the_start_is_told_without_what_is_not_known():
    image_entry, record_entry = entries((step("images", "sha256:new"), step("build_cache", "new")))
    assert image_entry["bytes"] is None is record_entry["bytes"] and "tags" not in image_entry


def test_other_builders_and_what_is_left_of_builders_have_entries():
    node = SimpleNamespace(builder="ci", name="ci0")
    chosen = SimpleNamespace(before=observation(records=[record("x", 9)]))
    builder = SimpleNamespace(node=node, chosen=chosen, done=step("build_cache", "x", "y"))
    orphan = SimpleNamespace(container="old0", volume="old0_state", bytes=77)
    gone = Orphans(Planned("orphaned_state", ("old0", "old0_state"), 77), ("old0_state",), going=(orphan,))
    x, y, left = entries((), builders=[builder], orphans=[gone], unused_for="30m")
    assert (x["builder"], x["node"], x["bytes"], y["bytes"]) == ("ci", "ci0", 9, None)
    assert x["why"] == {"build_cache": True, "unused_for": "30m"}
    assert (left["kind"], left["id"], left["bytes"]) == ("orphaned_state", "old0_state", 77)
    assert left["why"] == {"remove_orphaned_state": True, "orphans_older_than": "24h"}


@pytest.mark.parametrize("text", ['a\nb\x00"\u2028\x1b[31m', "ünïcode", "\ud800"])
def test_a_line_is_one_line_whatever_is_in_it(text):
    (line,) = audit_lines([{"time": "2026-01-10T12:00:00Z", "id": text}], "run", "unix:///s")
    assert line.isascii() and line.isprintable() and json.loads(line)["id"] == text
    assert list(json.loads(line)) == ["time", "run", "id", "engine"]


def test_a_rescue_logs_the_files_that_went_alone():
    planned = (Item("/d/one.log", 5, TRUNCATE), Item("/d/two.log", 7))
    given = [Given("container_logs", planned, ("/d/one.log",), error="1 failed"), Given("journal")]
    given_options = {"container_logs_over": "1KB", "until_free": "5%", "journal_over": "1GB"}
    (entry,) = removed_by_rescue(given, given_options, NOW)
    assert entry == {
        "time": "2026-01-10T12:00:00Z", "event": "removed", "kind": "container_logs", "id": "/d/one.log", "bytes": 5,
        "how": "truncate", "why": {"container_logs_over": "1KB", "until_free": "5%"},
    }  # fmt: skip


def test_a_change_of_a_policy_says_what_it_was_and_is():
    entry = policy_change(None, {"enabled": True, "rules": []}, "/etc/docker/daemon.json", {"state": "present"}, NOW)
    assert entry["event"] == "policy_changed" and entry["old"] is None and entry["new"]["enabled"]
