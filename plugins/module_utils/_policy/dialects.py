# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each version of the engine, and of BuildKit alone, spells a GC policy. Pure; the way back is reader.py.

Sources: moby, daemon/config/builder.go and builder-next/controller.go (getGCPolicy), builder-next/builder.go
(toBuildkitPruneInfo), 19.03 to 29; BuildKit, cmd/buildkitd/config (0.10 to 0.32).
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.units import (
    version_tuple,
)

FIRST_WITH_GC = (19, 3)
"""The first engine with builder.gc in daemon.json (moby, daemon/config/builder.go)."""

ENABLED_BY_DEFAULT = (28, 2)
"""The first engine that collects garbage unless told not to (moby, daemon/config/builder.go, IsEnabled)."""

SIZES_OPTIONAL = (27, 5)
"""The first engine that starts with a rule without keepStorage (moby, builder-next/controller.go, getGCPolicy)."""

FIRST_WITH_MIN_FREE = (28, 0, 2)
"""28.0.0 has the key, but every run of its GC fails with the graph driver (BuildKit issue 5821)."""


class Dialect(NamedTuple):
    """The keys for sizes since a version: of a rule, and of the default rules. One key: there is only one cap."""

    since: tuple
    sizes: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    text: bool = True


_ENGINES = (
    Dialect(
        (28, 0, 0),
        ("reservedSpace", "maxUsedSpace", "minFreeSpace"),
        ("defaultReservedSpace", "defaultMaxUsedSpace", "defaultMinFreeSpace"),
    ),
    Dialect((0, 0, 0), ("keepStorage",), ("defaultKeepStorage",)),
)

DEFAULT_SIZE_KEYS = tuple(sorted({key for row in _ENGINES for key in row.defaults}))
"""What shapes the default rules, in any version's spelling."""


def dialect(engine_version):
    """Return the Dialect of an engine's daemon.json."""
    return next(row for row in _ENGINES if version_tuple(engine_version) >= row.since)


def enabled_by_default(engine_version):
    """Whether an engine collects garbage where daemon.json does not say."""
    return version_tuple(engine_version) >= ENABLED_BY_DEFAULT
