# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log of a restart: the policy that it takes back."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress

from .._base.errors import BuildcacheError
from .._dockerd.running import running
from .._policy.policy import terms
from .._results.audit import policy_change
from .audit import Audit


@contextmanager
def way_back_logged(module, host, result):
    """Log it where a restart puts the file of before back, however it ends; ``host()`` returns the Host. Raises
    BadOption where no log can be kept."""
    if module.params["audit_log"] is None or module.check_mode:
        yield
        return
    audit, old = Audit(module), _in_file(host)
    try:
        yield
    finally:
        if result["rolled_back"]:
            why = {"module": "buildcache_restart", "rolled_back": True}
            change = policy_change(old, _in_file(host), host().config_file, why, time.time_ns())
            result["audit"] = audit.keep([change])


def _in_file(host):
    """Return the policy in the file in our terms, None where it cannot be read, or dockerd does not answer."""
    with suppress(BuildcacheError):
        policy = running(host()).status.in_file
        return policy and terms(policy)
    return None
