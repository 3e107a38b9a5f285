# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many examples the property tests try."""

from __future__ import annotations

import os
import sys

THOROUGH = ((3, 13),)
"""The newest Python that everybody tests with; properties show little of the others."""


def examples(number):
    """Return how many examples to try where ``number`` are tried on the Pythons that are tested thoroughly.

    FEW_EXAMPLES in the environment is for a run that is made again with all of them.
    """
    thorough = sys.version_info[:2] in THOROUGH and "FEW_EXAMPLES" not in os.environ
    return number if thorough else max(number // 10, 10)
