# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log of a prune, for those who ask buildcache_prune for one."""

from __future__ import annotations

import time

from .._results.audit_prune import removed_by_prune
from .audit import Audit


class Audited(Audit):
    """The audit log of a prune."""

    def removed(self, wanted, before, done, builders, orphans):
        """Log what has gone, and return what the result says of that; see audit_prune.removed_by_prune."""
        options = self._module.params
        return self.keep(removed_by_prune(options, wanted, before, done, builders, orphans, time.time_ns()))
