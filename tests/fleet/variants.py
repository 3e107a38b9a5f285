# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make test` leaves to `make test-deep`: the variants of a behaviour beyond the first few."""

from __future__ import annotations

import pytest


def variants(values, first):
    """Return the values as parameters of a test; those after the first so many are marked as deep."""
    return [
        pytest.param(value, marks=pytest.mark.deep if number >= first else ()) for number, value in enumerate(values)
    ]
