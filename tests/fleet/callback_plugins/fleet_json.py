# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stdout callback of the fleet tests: one line of JSON for each result, and nothing else."""

from __future__ import annotations

import json

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: fleet_json
type: stdout
short_description: One line of JSON for each result
description:
  - Prints a dict with C(host), C(task), C(action), C(status) and C(result) for each result.
"""


class CallbackModule(CallbackBase):
    """Prints each result as it arrives."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "fleet_json"

    def v2_runner_on_ok(self, result):
        self._print("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._print("failed", result)

    def v2_runner_on_unreachable(self, result):
        self._print("unreachable", result)

    def _print(self, status, result):
        line = {"host": result.host.get_name(), "task": result.task.name, "action": result.task.action}
        line.update(status=status, result=result.result)
        self._display.display(json.dumps(line, default=str))
