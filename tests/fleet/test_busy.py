# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine that is busy, or slow: waiting, and ending in time with what was done so far."""

from __future__ import annotations

import time

import fleet
import pytest
import scripted

pytestmark = pytest.mark.any_engine

RECORD = {
    "ID": "record1",
    "Type": "regular",
    "Size": 1000,
    "Shared": False,
    "InUse": False,
    "LastUsedAt": "2026-01-01T00:00:00Z",
}
IMAGE = {"Id": "sha256:image1", "RepoTags": [], "Size": 500, "SharedSize": 0, "Created": 1}

BUSY = {"status": 409, "json": {"message": "a prune operation is already running"}}
PRUNED = {"json": {"CachesDeleted": ["record1"], "SpaceReclaimed": 1000}}
IMAGE_REMOVED = {
    "GET /images/sha256%3Aimage1/json": [{"json": IMAGE}],
    "DELETE /images/sha256%3Aimage1": [{"json": [{"Deleted": "sha256:image1"}]}],
}


def usage(records=(), images=()):
    """Return an answer to /system/df."""
    return {"json": {"LayersSize": 0, "BuildCache": list(records), "Images": list(images)}}


def test_a_busy_engine_is_waited_for(lab):
    script = scripted.quiet_engine()
    script["GET /system/df"] = [usage([RECORD]), usage()]
    script["POST /build/prune"] = [BUSY, BUSY, BUSY, PRUNED]
    with scripted.engine("busy", script) as docker_host:
        results = fleet.prune({"docker_host": docker_host})
        asked = scripted.requests("busy")
    for host, result in results.items():
        assert result["changed"] and result["steps"][2]["removed"]["ids"] == ["record1"], host
        assert sum(request.startswith("POST /build/prune") for request in asked[host]) == 4, (host, asked[host])


def test_a_deadline_ends_the_wait_with_what_was_done_so_far(lab):
    script = scripted.quiet_engine()
    script["GET /system/df"] = [usage([RECORD], [IMAGE]), usage([RECORD])]
    script.update(IMAGE_REMOVED)
    script["POST /build/prune"] = [BUSY]
    with scripted.engine("busy", script) as docker_host:
        results = fleet.run("buildcache_prune", {"docker_host": docker_host, "deadline": "3s"})
    for host, result in results.items():
        assert result["failed"] and result["changed"], host
        assert "still busy when the deadline was reached" in result["msg"], (host, result["msg"])
        assert "a prune operation is already running" in result["msg"], (host, result["msg"])
        _containers, images, build_cache = result["steps"]
        assert images["removed"]["ids"] == ["sha256:image1"] and "error" not in images, host
        assert build_cache["removed"]["ids"] == [] and "busy" in build_cache["error"], host


def test_a_deadline_ends_a_long_prune_with_what_was_done_so_far(lab):
    delay = 60  # seconds
    script = scripted.quiet_engine()
    second = {**RECORD, "ID": "record2"}
    script["GET /system/df"] = [usage([RECORD, second], [IMAGE]), usage([RECORD, second]), usage([second])]
    script.update(IMAGE_REMOVED)
    script["POST /build/prune"] = [{**PRUNED, "delay": delay}]
    with scripted.engine("slow", script) as docker_host:
        began = time.monotonic()
        results = fleet.run("buildcache_prune", {"docker_host": docker_host, "deadline": "3s"})
        took = time.monotonic() - began
    assert 3 < took < delay / 2, took
    for host, result in results.items():
        assert result["failed"] and "deadline was reached" in result["msg"], (host, result["msg"])
        _containers, images, build_cache = result["steps"]
        assert images["removed"]["ids"] == ["sha256:image1"] and "error" not in images, host
        assert build_cache["removed"]["ids"] == ["record1"], (host, build_cache)
