# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log of a module: its options, and what it has to say of a log that could not be written."""

from __future__ import annotations

import secrets

from .._base.errors import BadOption
from .._engine.audit_log import AuditLog
from .._results.audit import audit_lines


class Audit:
    """The audit log that a module's options ask for. Raises BadOption where none can be kept there."""

    def __init__(self, module):
        """``module`` is an AnsibleModule with AUDIT_OPTIONS, of which audit_log is set."""
        options = module.params
        if options["run_id"] is not None and not options["run_id"].strip():
            raise BadOption("run_id: it is empty. Leave it out for one that is made for the run.")
        self._log = AuditLog(options["audit_log"], options["audit_log_max_size"])
        self._run = options["run_id"] or secrets.token_hex(8)
        self._module = module

    def keep(self, entries):
        """Append the entries, and return what the result says of that. What cannot be logged is a warning."""
        lines, logged, problem = audit_lines(entries, self._run, self._module.params["docker_host"]), 0, ""
        if lines:
            logged, problem = self._log.append(lines)
        if problem:
            missing = f"{len(lines) - logged} of {len(lines)} entries are not in it. " if logged < len(lines) else ""
            self._module.warn(f"audit_log: {self._log.path}: {missing}{problem}")
        return {"path": self._log.path, "run": self._run, "entries": logged}
