# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The account of an engine that is broken or busy: waited for where that helps, and had in parts where it does not."""

from __future__ import annotations

import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import DeadlineReached, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    BUILD_CACHE,
    IMAGE_SIZES,
    IMAGES,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import usage as _usage
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import Deadline
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.usage import build_cache, disk_usage

RECORD, IMAGE = {"ID": "a"}, {"Id": "sha256:1"}
BROKEN = "layer does not exist"
OLD, NEW = (1, 41), (1, 51)


class Engine:
    """Answers ``/system/df`` by the types that work, and ``/images/json`` by the ``lists`` that do: a set that has True
    where the one with shared sizes works, and False where that without does."""

    def __init__(self, works=(), lists=(True, False), api=NEW):
        self.works, self.lists, self.api, self.asked = works, lists, api, []

    def __call__(self, method, path, params=None, patience=None):
        self.asked.append(path)
        if path == "/images/json":
            if bool(params) in self.lists:
                return [IMAGE]
            raise EngineError("list failed", status=500)
        types = tuple(params["type"])
        if self.api == OLD or not set(types) <= set(self.works):
            raise EngineError(BROKEN, status=500)
        return {"BuildCache": [RECORD], "Images": [IMAGE], "LayersSize": 7}


@pytest.mark.parametrize(
    ("engine", "records", "images", "unread"),
    [
        (Engine(("build-cache", "image")), 1, 1, {}),
        (Engine(("build-cache",)), 1, 1, {IMAGE_SIZES: BROKEN}),
        (Engine(("build-cache",), lists=(False,)), 1, 1, {IMAGE_SIZES: BROKEN}),
        (Engine(("build-cache",), lists=()), 1, 0, {IMAGES: "list failed"}),
        (Engine(("image",)), 0, 1, {BUILD_CACHE: BROKEN}),
        (Engine(()), 0, 1, {BUILD_CACHE: BROKEN, IMAGE_SIZES: BROKEN}),
        (Engine((), lists=()), 0, 0, {BUILD_CACHE: BROKEN, IMAGES: "list failed"}),
        (Engine(api=OLD), 0, 1, {BUILD_CACHE: BROKEN, IMAGE_SIZES: BROKEN}),
        (Engine(api=OLD, lists=()), 0, 0, {BUILD_CACHE: BROKEN, IMAGES: "list failed"}),
    ],
)
def test_what_can_be_listed_of_a_broken_engine_is(engine, records, images, unread):
    seen = disk_usage(engine, engine.api, Deadline(5))
    assert (len(seen["BuildCache"]), len(seen["Images"]), seen["Unread"]) == (records, images, unread)


def test_an_old_engine_is_not_asked_for_types_that_it_does_not_know():
    engine = Engine(api=OLD)
    disk_usage(engine, OLD, Deadline(5))
    assert engine.asked == ["/system/df", "/images/json"]


def test_a_connection_that_fails_is_no_broken_list():
    def ask(*_request, **_how):
        raise EngineError("Cannot talk to the engine")

    with pytest.raises(EngineError, match="Cannot talk"):
        disk_usage(ask, NEW, Deadline(5))


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ("message", "deadline", "least", "most"),
    [
        # A broken store says so for ever.
        ("snapshot does not exist: not found", 3600, 20, 31),
        ("a disk usage operation is already running", 600, 580, 600),
        ("a disk usage operation is already running", 5, 2, 5),
        (BROKEN, 3600, 0, 0),
    ],
)
def test_each_trouble_is_waited_for_as_long_as_it_may_pass(monkeypatch, message, deadline, least, most):
    clock = Clock(monkeypatch)

    def ask(*_request, **_how):
        raise EngineError(message, status=500)

    with pytest.raises(EngineError) as given_up:
        build_cache(ask, Deadline(deadline))
    assert least <= clock.now - 1000 <= most
    assert ("asked again for" in str(given_up.value)) == (message != BROKEN)


def test_an_answer_that_does_not_come_is_said_to_be_slow():
    def ask(*_request, **_how):
        raise DeadlineReached("The deadline was reached while the engine was at work.", True)

    seen = disk_usage(ask_or_list(ask), NEW, Deadline(5))
    assert set(seen["Unread"]) == {BUILD_CACHE, IMAGE_SIZES}
    assert all("raise the option deadline" in why for why in seen["Unread"].values())


def ask_or_list(ask):
    return lambda method, path, **how: [IMAGE] if path == "/images/json" else ask(method, path, **how)


def test_every_pattern_has_a_wording_of_its_own():
    known = [
        "snapshot sha256:1 does not exist: not found",
        "content digest sha256:1: not found",
        "a disk usage operation is already running",
    ]
    assert [[bool(words.search(text)) for words, _longest in _usage._PASSING].count(True) for text in known] == [1] * 3
    assert len(known) == len(_usage._PASSING)
