# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many random trials to make, and the seed that repeats them: TRIALS and SEED in the environment."""

from __future__ import annotations

import os
import random

TRIALS = int(os.environ.get("TRIALS") or 30)
SEED = int(os.environ.get("SEED") or random.randrange(10**6))

QUIET = 32  # seconds between two rounds of builds, so that an age parts them
ROOM = 24  # seconds that the preview and the run may take before a record of the second round is of that age
