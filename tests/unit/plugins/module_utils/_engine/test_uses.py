# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs remember of images, and what the engine tells where the store does not."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import LastUse
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import uses
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.uses import (
    Memory,
    with_arrivals,
    with_ends,
    with_uses,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import DAY, NOW, container, image, observation

SOCKET = "unix:///var/run/docker.sock"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The directory of the state."""
    monkeypatch.setattr(
        "ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.state.directory", lambda: str(tmp_path)
    )
    return tmp_path


def held(*images, containers=()):
    return observation(images=[image(name) for name in images], containers=containers)


def test_what_was_in_use_is_remembered_until_it_is_gone(state):
    Memory(SOCKET).keep(held("a", "b", "c", containers=[container("1", "a", True), container("2", "b", created=5)]))
    assert Memory(SOCKET).seen == {"a": NOW, "b": 5 * SECOND}
    assert Memory("unix:///other.sock").seen == {}
    # Seen no more, and gone: the one stays with the time that was seen.
    Memory(SOCKET).keep(held("a"))
    assert Memory(SOCKET).seen == {"a": NOW}
    (file,) = state.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_more_than_so_many_are_remembered_the_latest(state, monkeypatch):
    monkeypatch.setattr(uses, "MOST_IMAGES", 2)
    containers = [container(name, name, created=number) for number, name in enumerate("abc", 1)]
    Memory(SOCKET).keep(held(*"abc", containers=containers))
    assert set(Memory(SOCKET).seen) == {"b", "c"}


@pytest.mark.parametrize("text", ["[broken", "[]", json.dumps({"a": "late", "b": -1, "c": 7})])
def test_what_cannot_be_read_is_not_known(state, text):
    Memory(SOCKET).keep(held("a", containers=[container("1", "a", True)]))
    (file,) = state.iterdir()
    file.write_text(text)
    assert Memory(SOCKET).seen in ({}, {"c": 7})


def test_what_cannot_be_written_is_not_remembered(state):
    (state / "images-13c4025c96f36e94.json").mkdir()
    Memory(SOCKET).keep(held("a", containers=[container("1", "a", True)]))
    assert Memory(SOCKET).seen == {}


def test_the_engine_is_asked_about_the_images_that_matter():
    asked = []

    class Client:
        def image(self, name):
            asked.append(name)
            return {"a": {"Metadata": {"LastTagTime": "2026-01-09T12:00:00Z"}}, "b": {"Metadata": None}}.get(
                name, {"Metadata": {"LastTagTime": "soon"}}
            )

    seen = with_arrivals(held("a", "b", "c", "d"), Client(), ["a", "b", "c"])
    assert asked == ["a", "b", "c"]
    assert [one.arrived for one in seen.images] == [NOW - DAY * SECOND, 0, 0, 0]
    assert with_uses(seen, {"d": NOW - 1}).uses["d"] == LastUse(NOW - 1, "seen")


def test_a_container_uses_its_image_until_it_ends():
    class Client:
        def container(self, name):
            if name == "broken":
                raise EngineError("it cannot be shown")
            return {"State": {"FinishedAt": {"ended": "2026-01-09T12:00:00Z"}.get(name, "0001-01-01T00:00:00Z")}}

    created = NOW // SECOND - 3 * DAY
    containers = [
        container(name, name, name == "runs", created=created) for name in ("ended", "runs", "waits", "broken")
    ]
    seen = with_uses(with_ends(held("ended", "runs", "waits", "broken", containers=containers), Client()), {})
    at = {name: use.at for name, use in seen.uses.items()}
    assert at["ended"] == NOW - DAY * SECOND and at["runs"] == NOW
