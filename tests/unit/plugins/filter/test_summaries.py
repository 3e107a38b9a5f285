# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.cleanup_summary import cleanup_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.facts_summary import facts_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.rescue_summary import rescue_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.trace_table import trace_table
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.disk import disk, told
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import image, observation, record

RESULT = {
    "steps": [],
    "predicted_bytes": 3 * 2**20,
    "freed_bytes": 2 * 2**20,
    "kept": [
        {"reason": "shared", "count": 2, "bytes": 4096, "remedy": ""},
        {"reason": "tagged_image", "count": 1, "bytes": 0, "remedy": ""},
    ],
}


def line(result, **hostvars):
    return cleanup_summary(dict(hostvars, inventory_hostname="host1", cleanup_result=result))


def test_the_line_of_a_cleanup():
    assert line(RESULT) == "host1: freed 2MB, predicted 3MB, still held: shared 4KB"
    assert line(dict(RESULT, kept=[])) == "host1: freed 2MB, predicted 3MB, still held: nothing"
    assert line(dict(RESULT, freed_bytes=None)).startswith("host1: freed an unknown amount")


def test_runs_that_nobody_heard_are_in_the_line():
    runs = [
        {"ended_at": None},
        {"ended_at": 5.0, "freed_bytes": 2**20, "msg": ""},
        {"ended_at": 6.0, "freed_bytes": None, "msg": "images: it broke"},
    ]
    assert line(dict(RESULT, previous=runs)).endswith(
        "; an earlier run was killed; an earlier run was cut off, freed 1MB; an earlier run was cut off, freed an "
        "unknown amount and failed: images: it broke"
    )


def test_the_line_of_a_preview():
    assert line(RESULT, ansible_check_mode=True) == "host1: would free 3MB, still held: shared 4KB"


def test_the_line_of_a_run_with_marks():
    marks = {"wanted_bytes": 50 * 2**20, "shortfall_bytes": 0, "steps": [{"stage": 1}, {"stage": 2}]}
    assert line(dict(RESULT, **marks)).startswith(
        "host1: freed 2MB, predicted 3MB, below its low marks by stage 2, still"
    )
    assert ", 20MB short of its low marks by stage 2, " in line({**RESULT, **marks, "shortfall_bytes": 20 * 2**20})
    inodes = {"wanted_bytes": 0, "shortfall_bytes": 0, "wanted_inodes": 900, "shortfall_inodes": 700}
    assert ", 700 inodes short of its low marks, " in line({**RESULT, **inodes})
    assert ", below its high marks, " in line({**RESULT, "wanted_bytes": 0, "shortfall_bytes": 0})


def test_long_lists_of_reasons_are_cut():
    kept = [{"reason": f"reason{number}", "count": 1, "bytes": 1024, "remedy": ""} for number in range(5)]
    assert line(dict(RESULT, kept=kept)).endswith("reason2 1KB and 2 more")


def test_the_line_of_a_failure_keeps_what_was_done():
    failed = line(dict(RESULT, failed=True, msg="images: it broke"))
    assert failed == "host1: freed 2MB, predicted 3MB, still held: shared 4KB; FAILED: images: it broke"
    assert line({"failed": True, "msg": "no socket"}) == "host1: FAILED: no socket"
    assert cleanup_summary({"inventory_hostname": "host1"}) == "host1: FAILED: the host was not reached"


def test_the_lines_of_facts():
    lines = facts_summary(facts(observation([record("a", 2048)], [image("b")]), Daemon({})))
    assert lines[0] == "engine 28.5.2, graphdriver image store (overlay2)"
    assert "build cache of default: 1 records, 2KB (0B shared with images, 2KB reclaimable)" in lines
    assert lines[-1].startswith("warning: untagged_images, 100B: 1 untagged image held by no container")


def test_what_the_engine_could_not_list_is_not_known():
    broken = observation()._replace(unread=(("images", "it is broken"),))
    assert "images: not known" in facts_summary(facts(broken, Daemon({})))
    broken = observation(images=[image("b")])._replace(unread=(("image_sizes", "it is broken"),))
    assert [line for line in facts_summary(facts(broken, Daemon({}))) if "size not known" in line]


def test_a_disk_is_told_by_who_holds_it():
    sizes = {("volumes", name): (2**20 * number, 1) for number, name in enumerate("abcde", 1)}
    (whole,) = told([disk("/data", 2**30, 20 * 2**20, 9, sizes, complete=False)])
    lines = facts_summary({**facts(observation(), Daemon({})), "disks": [whole]})
    assert "/data: 20MB used, of which not all was measured in time:" in lines
    assert "  15MB volumes: e 5MB, d 4MB, c 3MB" in lines and "  5MB elsewhere" in lines


def test_the_line_of_a_rescue():
    def line(**hostvars):
        return rescue_summary(dict(hostvars, inventory_hostname="host1"))

    step = {"step": "ballast", "paths": ["/b"], "planned_bytes": 2**21, "freed_bytes": 2**20}
    freed = {"steps": [step, {**step, "step": "journal", "paths": []}]}
    done = {"rescue_freed": freed, "rescue_started": {"changed": True}, "cleanup_result": RESULT}
    assert line() == "host1: FAILED: the host was not reached"
    assert line(rescue_freed={"steps": []}) == "host1: nothing to do"
    assert line(**done) == "host1: freed ballast 1MB, dockerd started, cleanup 2MB"
    assert line(ansible_check_mode=True, **done) == (
        "host1: would free ballast 2MB, dockerd to be started, cleanup 3MB"
    )
    assert line(**done, rescue_laid={"changed": True}).endswith(", ballast laid again")
    assert line(rescue_freed=freed, rescue_failure="It broke.") == "host1: freed ballast 1MB; FAILED: It broke."
    lost = {"unreachable": True, "msg": "no route"}
    assert line(rescue_freed=lost) == "host1: nothing to do; FAILED: The host was not reached: no route"
    assert line(rescue_freed=freed, rescue_dockerd=lost).endswith("MB; FAILED: The host was not reached: no route")


def test_the_table_of_a_trace_says_what_kept_a_host_from_being_read():
    hosts = [
        {"inventory_hostname": "h1", "trace_result": {"entries": [], "count": 0, "unreadable": 0, "files": ["/l"]}},
        {"inventory_hostname": "h2", "trace_result": {"skipped": True}},
        {
            "inventory_hostname": "h3",
            "trace_result": {"failed": True, "msg": "no"},
            "trace_failure": "it cannot be read",
        },
        {"inventory_hostname": "h4"},
    ]
    assert trace_table(hosts, "5") == [
        "nothing was found",
        "h2: no log: no path of an audit log is set for it",
        "h3: not known: it cannot be read",
        "h4: not known: the host was not reached",
    ]
    for limit in (0, "some", -1):
        with pytest.raises(AnsibleFilterError, match="^trace_limit: "):
            trace_table(hosts, limit)


def test_what_builds_work_with_is_told_where_it_was_asked_for():
    held = facts(observation([record("a", 2048, created_at="2026-01-10T11:00:00Z")]), Daemon({}))
    assert not [one for one in facts_summary(held) if ", used: " in one]
    (builder,) = held["builders"]
    used = {within: {"bytes": size} for within, size in (("1d", 1024), ("7d", 2048), ("30d", 4096))}
    builder["working_set"] = {"used_within": used, "made_per_day": None, "growth": None}
    assert "build cache of default, used: 1KB within 1d, 2KB within 7d, 4KB within 30d" in facts_summary(held)
    builder["working_set"].update(made_per_day=3072, growth={"bytes_per_day": -1024})
    (line,) = [one for one in facts_summary(held) if ", used: " in one]
    assert line.endswith(" within 30d, 3KB made in a day; the disk's used bytes change by -1KB a day")
    builder["working_set"] = None
    assert not [one for one in facts_summary(held) if ", used: " in one]
