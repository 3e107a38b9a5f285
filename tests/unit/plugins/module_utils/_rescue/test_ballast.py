# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import Filesystem
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import Size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.ballast import (
    Ballast,
    NoRoom,
    refuse_full,
    refuse_place,
)

ROOTS = ("/var/lib/docker", "/var/lib/containerd")
DISK = Filesystem("/d", 1, 1000, 500, 400, 100, 50)


@pytest.mark.parametrize("path", ["/var/lib/ballast", "/var/lib/docker/buildcache-ballast", "/var/lib/docker-ballast"])
def test_a_ballast_may_be_beside_the_engines_data(path):
    refuse_place(path, ROOTS)


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/docker", "/var/lib/docker/engine-id", "/var/lib/docker/volumes/ballast", "ballast", "",
        "/var/lib/containerd/io.containerd.metadata.v1.bolt/ballast", "/var/lib/docker/",
    ],
)  # fmt: skip
def test_and_not_among_it(path):
    with pytest.raises(BadOption):
        refuse_place(path, ROOTS)


@pytest.mark.parametrize(
    ("size", "inodes", "before", "leave", "room"),
    [
        (200, 25, None, None, True),
        (201, 25, None, None, False),
        (200, 26, None, None, False),
        (250, 10, Ballast("/d/b", 100, 100, 0o600, 10), None, True),
        (251, 10, Ballast("/d/b", 100, 100, 0o600, 10), None, False),
        (100, 10, None, Size(30, percent=True), True),
        (100, 10, None, Size(31, percent=True), False),
        (100, 10, None, Size(301), False),
    ],
)
def test_as_much_as_it_takes_stays_free_and_what_is_asked_for(size, inodes, before, leave, room):
    if room:
        refuse_full("/d/b", size, inodes, before, DISK, leave)
    else:
        with pytest.raises(NoRoom, match="There is no room for a ballast"):
            refuse_full("/d/b", size, inodes, before, DISK, leave)
