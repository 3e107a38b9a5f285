# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the audit log."""

    DOCUMENTATION = r"""
options:
  audit_log:
    description:
      - Path of a file on the host to which each object that was really removed, or each policy that was changed, is
        appended as a line of JSON. C(docs/audit_log.md) describes the lines. Without it nothing is logged, and nothing
        in check mode.
      - The directory has to be there. The file is made with mode 0640. A symbolic link is refused.
      - What cannot be logged, as on a full disk, is a warning and fails nothing.
      - M(buildfleet.buildcache.buildcache_trace) finds in it when something went, and why.
    type: path
  audit_log_max_size:
    description:
      - Where the log would become larger than this, such as V(10MB), it is renamed to C(.1) first, an older one to
        C(.2), and so on; C(.3) is the last that is kept.
      - What one run has to say is never divided, and can be more.
    type: str
    default: 10MB
  run_id:
    description:
      - What the lines of O(audit_log) name the run by. One that all hosts of a run share finds them together.
      - Unless it is set, each task makes one of its own.
    type: str
"""
