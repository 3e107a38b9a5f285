# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import LastUse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.images import image_facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import image, observation


def test_an_image_is_told_with_its_last_use_and_what_is_not_known_is_null():
    known = image("a", ["a:1"], created=1_700_000_000, digests=("a@sha256:0",), arrived=5 * SECOND)
    assert image_facts(known, {"a": LastUse(7 * SECOND, "build")}) == {
        "id": "a",
        "tags": ["a:1"],
        "digests": ["a@sha256:0"],
        "size_bytes": 1000,
        "unique_bytes": 100,
        "created_at": 1_700_000_000,
        "arrived_at": 5,
        "last_used_at": 7,
        "last_used_by": "build",
    }
    unknown = image_facts(image("b", created=0), {})
    assert [unknown[f"{what}_at"] for what in ("created", "arrived", "last_used")] == [None] * 3


def test_images_are_listed_where_that_is_asked_for():
    held = observation(images=[image("a")])
    assert "list" not in facts(held, Daemon())["images"]
    assert facts(held, Daemon(), listed=[])["images"]["list"] == []
