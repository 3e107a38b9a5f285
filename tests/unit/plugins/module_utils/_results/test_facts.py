# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What facts tell of an engine that cannot account for all that it holds: null for a figure that is not known."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    BUILD_CACHE,
    IMAGE_SIZES,
    IMAGES,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import image, observation, record

HELD = observation([record("a", 10)], [image("tagged", ["a:1"], size=70, unique=7)])
BROKEN = "GET /system/df: layer does not exist."


@pytest.mark.parametrize(
    ("unread", "known", "unknown", "says", "size"),
    [
        (
            {BUILD_CACHE: BROKEN},
            {"count", "untagged", "in_use", "size_bytes", "reclaimable_bytes"},
            {"records"},
            "its build cache cannot be listed",
            70,
        ),
        (
            {IMAGE_SIZES: BROKEN},
            {"count", "untagged", "in_use", "reclaimable_bytes", "records"},
            {"size_bytes"},
            "what its images share is not known",
            70,
        ),
        (
            {BUILD_CACHE: BROKEN, IMAGES: BROKEN},
            set(),
            {"count", "untagged", "in_use", "size_bytes", "reclaimable_bytes", "records"},
            "its build cache cannot be listed and its images cannot be listed",
            0,
        ),
    ],
)
def test_what_cannot_be_listed_is_null_and_a_finding_with_bytes_and_a_remedy(unread, known, unknown, says, size):
    seen = HELD._replace(
        unread=tuple(unread.items()),
        records=() if BUILD_CACHE in unread else HELD.records,
        images=() if IMAGES in unread else HELD.images,
    )
    told = facts(seen, Daemon({}))
    (builder,) = told["builders"]
    figures = {**told["images"], "records": builder["record_count"]}
    assert {name for name, figure in figures.items() if figure is None} == unknown
    assert {name for name, figure in figures.items() if figure is not None} == known
    assert builder["error"] == (BROKEN if BUILD_CACHE in unread else None)
    (finding,) = [one for one in told["findings"] if one["code"] == "usage_unreadable"]
    assert (finding["severity"], finding["bytes"]) == ("warning", size)
    assert finding["message"] == f"The engine cannot account for its disk: {says}. {BROKEN}"
    assert finding["remedy"].startswith("Restart dockerd")
