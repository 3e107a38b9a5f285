# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding objects in audit logs, and the table of what was found."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.trace import (
    read_line,
    since_from_option,
    sought_from_option,
    table,
    traced,
    why_in_words,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import NOW

HASH = "0123456789abcdef" * 4
DIGEST = "fedcba9876543210" * 4
IMAGE = {
    "time": "2026-01-10T10:00:00Z", "event": "removed", "kind": "images", "id": f"sha256:{HASH}", "bytes": 2048,
    "tags": ["reg.example.com:5000/team/app:1.2", f"reg.example.com:5000/team/app@sha256:{DIGEST}"],
    "why": {"images": "unused", "images_filters": {"label": "a=b"}, "stage": 2},
}  # fmt: skip
HUB = {**IMAGE, "id": "sha256:" + "9" * 64, "tags": ["busybox:latest"], "time": "2026-01-09T10:00:00Z"}
RECORD = {
    "time": "2026-01-10T11:00:00Z", "event": "removed", "kind": "build_cache", "id": "k2xqxyq9zwz8w5q5v4o6dl0lk",
    "type": "regular", "bytes": None, "why": {"build_cache": True, "types": ["regular", "internal"]},
}  # fmt: skip
CONTAINER = {**RECORD, "kind": "containers", "id": "ab" * 32, "name": "job-7", "image": "busybox"}
POLICY = {
    "time": "2026-01-08T10:00:00Z", "event": "policy_changed", "file": "/etc/docker/daemon.json", "old": None,
    "new": {}, "why": {"module": "buildcache_gc_policy", "state": "present"},
}  # fmt: skip
ALL = (IMAGE, HUB, RECORD, CONTAINER, POLICY)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("reg.example.com:5000/team/app:1.2", [IMAGE]),
        ("reg.example.com:5000/team/app", [IMAGE]),
        ("reg.example.com:5000/*/app:1.?", [IMAGE]),
        ("reg.example.com:5000/**", [IMAGE]),
        ("team/app", []),
        ("reg.example.com:5000/team/app:1", []),
        (f"reg.example.com:5000/team/app@sha256:{DIGEST}", [IMAGE]),
        (f"sha256:{DIGEST}", [IMAGE]),
        (DIGEST[:12], [IMAGE]),
        (f"sha256:{HASH}", [IMAGE]),
        (HASH[:12], [IMAGE]),
        (HASH[:11], []),
        ("docker.io/library/busybox", [HUB]),
        (" busybox:latest ", [HUB]),
        ("**", [IMAGE, HUB]),
        (RECORD["id"], [RECORD]),
        (RECORD["id"][:12], [RECORD]),
        (RECORD["id"][:11], []),
        ("abababababab", [CONTAINER]),
        ("job-7", [CONTAINER]),
        ("/etc/docker/daemon.json", [POLICY]),
    ],
)
def test_an_object_is_found_by_what_people_call_it(word, found):
    sought = sought_from_option(word)
    assert [one for one in ALL if sought.names(one)] == found


@pytest.mark.parametrize(
    ("word", "says"), [("", "empty"), ("  ", "empty"), (":1", "repository"), ("a[z-a]", "pattern")]
)
def test_a_word_that_names_nothing_is_refused(word, says):
    with pytest.raises(BuildcacheError, match=says) as refused:
        sought_from_option(word)
    assert str(refused.value).startswith("object: ")


def test_times_are_given_as_a_duration_a_day_or_a_time():
    assert since_from_option(None, NOW) == ""
    assert since_from_option("36h", NOW) == "2026-01-09T00:00:00Z"
    assert since_from_option("2026-01-31", NOW) == "2026-01-31T00:00:00Z"
    assert since_from_option("2026-01-31T08:00:00+02:00", NOW) == "2026-01-31T06:00:00Z"
    for text in ("", "yesterday", "2026-13-01", "2026-01-31T08:00:00"):
        with pytest.raises(BuildcacheError, match="^since: "):
            since_from_option(text, NOW)


def test_lines_that_cannot_be_read_are_counted_and_the_youngest_entries_told():
    torn = json.dumps(IMAGE).encode()[:-9]
    odd = [b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"time": 5}', json.dumps({**IMAGE, "tags": [5]}).encode()]
    odd += [json.dumps({**IMAGE, "why": "so"}).encode(), json.dumps({**IMAGE, "id": 5}).encode()]
    lines = [
        torn,
        *odd,
        b"",
        b"\n",
        *(json.dumps({**IMAGE, "time": f"2026-01-10T10:00:0{n}Z"}).encode() for n in range(9)),
    ]
    sought = sought_from_option("reg.example.com:5000/team/app")
    found = traced(lines, sought, "2026-01-10T10:00:02Z", 3)
    assert [one["time"][-3:] for one in found.entries] == ["08Z", "07Z", "06Z"]
    assert found.count == 7 and found.unreadable == len(odd) + 1
    assert all(read_line(line) is None for line in [torn, *odd])


def test_why_is_told_in_words():
    assert why_in_words(IMAGE["why"]) == 'images unused, images_filters {"label": "a=b"}, stage 2'
    assert why_in_words(RECORD["why"]) == "build_cache, types regular internal"


def test_the_table_has_the_youngest_of_all_hosts_and_says_what_is_not_known():
    def result(*entries, count=None, unreadable=0, files=("/l",)):
        return {"entries": list(entries), "count": count or len(entries), "unreadable": unreadable, "files": files}

    hosts = {
        "h1": (result(IMAGE, HUB, unreadable=2), "", ""),
        "h2": (result(RECORD, count=5), "", ""),
        "h3": (result(files=()), "", ""),
        "h4": ({}, "it was\x1b[31m not reached", ""),
        "h5": ({}, "", "no path is set"),
        "h6": (result(POLICY), "", ""),
    }
    headings, newest, second, third, *rest = table(hosts, 3)
    assert headings.split() == ["host", "time", "what", "bytes", "why"]
    record = f"h2    2026-01-10T11:00:00Z  build_cache regular ({RECORD['id']})"
    assert newest.startswith(record) and newest.endswith("  -      build_cache, types regular internal")
    named = "2026-01-10T10:00:00Z  images reg.example.com:5000/team/app:1.2 (0123456789ab)  2KB    "
    assert second.startswith(f"h1    {named}")
    assert third.startswith("h1    2026-01-09T10:00:00Z  images busybox:latest (999999999999)")
    assert rest == [
        "and 5 more",
        "h1: 2 lines of the log cannot be read",
        "h3: no log: there is no such file",
        "h4: not known: it was?[31m not reached",
        "h5: no log: no path is set",
    ]
    policy = "policy in /etc/docker/daemon.json  -      module buildcache_gc_policy, state present"
    assert table({"h6": hosts["h6"]}, 3)[1:] == [f"h6    2026-01-08T10:00:00Z  {policy}"]
    assert table({"h3": hosts["h3"]}, 3) == ["nothing was found", "h3: no log: there is no such file"]
