# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a step has seen afterwards. Steps that engines carry out are in test_carry_out.py."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import decide, do, pretend
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import container, image, observation, options

BASE, HIDDEN = image("base", ["base:1"]), image("hidden", parent="base", hidden=True)
USED, OTHER = image("used", ["used:1"], parent="hidden"), image("other", ["other:1"], parent="hidden")


# As lists of engines tell it once nothing else is known of its parent.
@pytest.mark.parametrize("parent", ["hidden", ""])
def test_images_that_the_engine_does_not_list_are_seen_after_a_step_while_one_is_made_on_them(parent):
    before = observation(images=[BASE, USED, OTHER, HIDDEN], containers=[container("1", "used")])
    wanted = wanted_from_options(options(images="unused"))
    step = plan(wanted, before)[0][1]
    assert step.ids == ("other",)
    # As the engine lists them: without the one that nothing names.
    listed = observation(images=[BASE, USED._replace(parent=parent)], containers=before.containers)
    done, after = do(step, iter([(["other"], 0)]), before, lambda: listed)
    assert done.error is None and after.images == (BASE, USED, HIDDEN)
    assert {one.reason for one in kept(wanted, after)} == {"parent_image", "stopped_containers_image"}


def test_images_that_the_engine_does_not_list_go_with_the_last_that_was_made_on_them():
    before = observation(images=[BASE, OTHER, HIDDEN])
    step = plan(wanted_from_options(options(images="unused")), before)[0][1]
    _done, after = do(step, iter([(["other", "hidden"], 0)]), before, lambda: observation(images=[BASE]))
    assert after.images == (BASE,)


@pytest.mark.parametrize(
    ("given", "fails"),
    [({}, True), ({"images": "keep"}, False), ({"images": "keep", "images_remove": ["app"]}, True)],
)
def test_images_that_cannot_be_listed_fail_a_run_that_was_to_remove_some(given, fails):
    seen = observation()._replace(unread=(("images", "the engine is broken"),))
    wanted = wanted_from_options(options(**given))
    done, _left = pretend(wanted, decide(wanted, seen, None))
    assert [bool(one.error) for one in done] == [False, fails, False]


class Told:
    """An engine that tells when images were tagged: {id: timestamp}."""

    def __init__(self, tagged):
        self._tagged = tagged

    def image(self, name):
        return {"Metadata": {"LastTagTime": self._tagged.get(name)}}

    def container(self, name):
        return {}


@pytest.mark.parametrize("given", [{"protect_for": "1h"}, {"images_unused_for": "1h"}])
@pytest.mark.parametrize("unread", [(), (("build_cache", "the engine is broken"),)])
def test_what_is_young_stays_where_stores_and_lists_cannot_be_read(given, unread):
    held = observation(images=[image("young", ["y:1"], age_days=9), image("old", ["o:1"], age_days=9)])
    # An engine elsewhere, whose store is none of this host's.
    held = held._replace(unread=unread, engine=held.engine._replace(data_dirs=()))
    client = Told({"young": "2026-01-10T11:59:00Z"})
    decided = decide(wanted_from_options(options(images="unused", **given)), held, client, {})
    assert decided.steps[1].ids == ("old",) and decided.doubt
