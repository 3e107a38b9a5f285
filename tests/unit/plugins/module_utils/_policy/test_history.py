# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.history import (
    History,
    Version,
    about_to_write,
    can_be_restarted,
    mapped,
    observed,
    ways_back,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import LastLook


def at(moment, text):
    return Version(text, LastLook(text or "", moment, moment))


OLD, HAND, NEW, NEWER = (at(moment, text) for moment, text in ((10, "old"), (20, "hand"), (30, "new"), (40, "newer")))
NO_FILE = at(0, None)


@pytest.mark.parametrize(
    ("kept", "now", "changed_at", "started_at", "expected"),
    [
        # The daemon started with what stands there now.
        (History(OLD, OLD, NEW), NEW, 30, 35, History(started=NEW)),
        (History(), OLD, 10, 10, History(started=OLD)),
        # It was changed since, or nobody knows.
        (History(OLD), HAND, 20, 15, History(OLD)),
        (History(OLD), HAND, 20, None, History(OLD)),
        (History(), NO_FILE, None, 15, History()),
        # We wrote, somebody started dockerd, and then changed the file again.
        (History(OLD, OLD, NEW), HAND, 50, 35, History(OLD, NEW, None)),
        (History(OLD, OLD, NEW), HAND, 50, 25, History(OLD, OLD, NEW)),
    ],
)
def test_dockerd_has_started_with_what_was_not_written_since(kept, now, changed_at, started_at, expected):
    assert observed(kept, now, changed_at, started_at) == expected


@pytest.mark.parametrize(
    ("kept", "now", "new", "back"),
    [
        # The text just before comes first: it has what was changed of other keys.
        (History(OLD), HAND, NEW, [HAND, OLD]),
        (History(OLD), OLD, NEW, [OLD]),
        (History(), NO_FILE, NEW, [NO_FILE]),
        # A second policy before the first was ever in force: it is no place to go back to.
        (History(OLD, HAND, NEW), NEW, NEWER, [HAND, OLD]),
        # Unless somebody has changed it.
        (History(OLD, OLD, NEW), HAND, NEWER, [HAND, OLD]),
        # A write that did not come about.
        (History(OLD, OLD, NEW), OLD, NEWER, [OLD]),
    ],
)
def test_what_stood_there_before_is_gone_back_to_first(kept, now, new, back):
    assert ways_back(about_to_write(kept, now, new), new.text) == back


@pytest.mark.parametrize(
    ("known", "text", "can"),
    [
        (History(), "hand", False),
        (History(OLD), "hand", True),
        (History(OLD), "old", True),
        (History(None, OLD), "x", True),
    ],
)
def test_without_anything_to_go_back_to_nothing_is_restarted(known, text, can):
    assert can_be_restarted(known, text) is can


def test_a_key_that_all_texts_get_is_in_all_of_them():
    found = mapped(History(OLD, None, NO_FILE), lambda text: f"{text}!")
    assert [found.started.text, found.before, found.written.text] == ["old!", None, "None!"]
