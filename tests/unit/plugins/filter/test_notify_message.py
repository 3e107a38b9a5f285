# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.cleanup_summary import cleanup_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.notify_message import notify_message
from ansible_collections.buildfleet.buildcache.plugins.filter.rescue_summary import rescue_summary

LOST = {"unreachable": True, "msg": "no route"}


def disk(used, inodes=0, total=100):
    return {
        "path": "/data",
        "used_percent": used,
        "available_bytes": 1,
        "inodes_total": total,
        "inodes_available": total - inodes,
    }


def cleaned(used=50.0, **given):
    result = {"steps": [], "predicted_bytes": 3 * 2**20, "freed_bytes": 2 * 2**20, "kept": [], "changed": True}
    return {**result, "filesystems": {"before": [disk(99)], "after": [disk(10), disk(used)]}, **given}


def host(name, result=None, **hostvars):
    return {"inventory_hostname": name, **({"cleanup_result": result} if result else {}), **hostvars}


def summary(hosts, **more):
    return notify_message(hosts, "cleanup", **more)["summary"]


def test_a_message_has_totals_failures_and_the_fullest_disks():
    hosts = [
        host("calm", cleaned(20.0, changed=False, freed_bytes=0)),
        host("full", cleaned(97.5)),
        host("broken", cleaned(60.0, failed=True, msg="images: it broke")),
        host("down", {"failed": True, "msg": "no socket", "changed": False}),
        host("gone", LOST),
        host("never"),
    ]
    told = notify_message(hosts, "cleanup", worst=2)
    assert told["message"].splitlines() == [
        "buildcache cleanup: 6 hosts, 2 changed, 4 failed (2 unreachable); freed 4MB, predicted 9MB",
        "Failed:",
        "- broken: images: it broke",
        "- down: no socket",
        "- and 2 more",
        "Fullest disks:",
        "- full: /data 97.5% used; " + cleanup_summary(hosts[1])[6:],
        "- broken: /data 60.0% used; " + cleanup_summary(hosts[2])[8:],
    ]
    assert told["summary"]["totals"] == {
        "hosts": 6,
        "changed": 2,
        "failed": 4,
        "unreachable": 2,
        "predicted_bytes": 9 * 2**20,
        "freed_bytes": 4 * 2**20,
    }
    assert summary(hosts)["failures"][2] == {"host": "gone", "unreachable": True, "message": "no route"}


def test_nothing_is_freed_in_check_mode():
    told = notify_message([host("one", cleaned(), ansible_check_mode=True)], "cleanup", check_mode=True)
    assert told["message"].startswith(
        "buildcache cleanup (check mode): 1 host, 1 would change, 0 failed; would free 3MB\nFullest"
    )
    assert told["summary"]["check_mode"] and told["summary"]["totals"]["freed_bytes"] == 0


def test_what_is_not_known_counts_for_nothing():
    odd = cleaned(freed_bytes=None, filesystems={"before": [], "after": []})
    told = summary([host("one", odd)])
    assert told["totals"]["freed_bytes"] == 0 and told["worst"] == []


def test_a_disk_without_inodes_is_as_full_as_one_without_bytes():
    hosts = [host("bytes", cleaned(80.0)), host("inodes", cleaned(**{"filesystems": {"after": [disk(5.0, 95)]}}))]
    told = notify_message([*hosts, host("none", cleaned(filesystems={"after": [disk(9, total=0)]}))], "cleanup")
    assert [one["host"] for one in told["summary"]["worst"]] == ["inodes", "bytes", "none"]
    assert "- inodes: /data 5.0% and 95.0% of its inodes used; " in told["message"]


def test_a_rescue_is_told_by_its_steps():
    steps = [{"step": "ballast", "paths": ["/b"], "planned_bytes": 2**21, "freed_bytes": 2**20}]
    freed = {"steps": steps, "changed": True, "filesystems": {"after": [disk(40.0)]}}
    hosts = [
        host("one", cleaned(30.0), rescue_freed=freed),
        host("two", rescue_freed=freed, rescue_start_failure="No start."),
        host("gone", rescue_freed=LOST),
    ]
    told = notify_message(hosts, "rescue")["summary"]
    assert told["totals"]["freed_bytes"] == 4 * 2**20 and told["totals"]["predicted_bytes"] == 7 * 2**20
    assert [one["used_percent"] for one in told["worst"]] == [40.0, 30.0]
    assert told["worst"][1]["line"] == rescue_summary(hosts[0])[5:]
    assert [(one["host"], one["message"]) for one in told["failures"]] == [
        ("two", "No start."),
        ("gone", "The host was not reached: no route"),
    ]


@pytest.mark.parametrize(
    ("hosts", "due"),
    [
        ([host("one", cleaned(changed=False))], {"always"}),
        ([host("one", cleaned())], {"always", "changes"}),
        ([host("one", LOST)], {"always", "changes", "failures"}),
        ([], {"always", "changes", "failures"}),
    ],
)
def test_a_message_is_due_where_it_is_asked_for(hosts, due):
    for only in ("always", "changes", "failures"):
        assert notify_message(hosts, "cleanup", only=only)["due"] == (only in due), only


def test_a_run_without_hosts_and_a_trial_say_so():
    assert notify_message([], "cleanup")["message"] == "buildcache cleanup: no host matched, nothing was done"
    trial = notify_message([], "", only="failures")
    assert "a trial of the settings" in trial["message"] and trial["due"]


def test_what_hosts_say_is_harmless_in_a_chat_and_cut():
    evil = "<!channel> <@U1> @here `x` [a](http://b)\n\x1b[31m\u202e" + "z" * 10_000_000
    began = time.monotonic()
    told = notify_message([host("h" * 300 + "<!here>", {"failed": True, "msg": evil})], "clean<!up>")
    assert time.monotonic() - began < 1
    (failure,) = told["summary"]["failures"]
    assert failure["host"] == "h" * 59 + "…" and len(failure["message"]) == 300
    assert failure["message"].startswith("‹!channel› ‹＠U1› ＠here 'x' [a] (http://b) [31m zzz")
    assert not set("<>@`\x1b\u202e") & set(told["message"]) and told["message"].count("\n") == 2
    lines = notify_message([host(f"h{n}", {"failed": True, "msg": "x" * 300}) for n in range(50)], "cleanup", worst=50)
    assert len(lines["message"]) == 4000


def test_the_time_grows_with_the_hosts_and_no_faster():
    def seconds(count):
        hosts = [host(f"host{number}", cleaned(number % 100)) for number in range(count)]
        began = time.process_time()
        notify_message(hosts, "cleanup")
        return time.process_time() - began

    assert seconds(20_000) < 40 * max(min(seconds(2000) for _again in range(3)), 0.01)


@pytest.mark.parametrize(
    ("given", "said"), [({"worst": "many"}, "notify_worst: many"), ({"only": "sometimes"}, "notify_only: sometimes")]
)
def test_what_cannot_be_meant_is_refused(given, said):
    with pytest.raises(AnsibleFilterError, match=said):
        notify_message([], "cleanup", **given)
