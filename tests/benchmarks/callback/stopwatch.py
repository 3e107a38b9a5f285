# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stdout callback that writes one line of JSON for each task: its name, seconds, bytes to the host, and outcome.

The environment variable BENCH_NET_DEV names the host's own /proc/PID/net/dev, as this machine sees it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase


def _bytes_received() -> int:
    """Bytes that have arrived at the host's network interface, headers and all."""
    table = Path(os.environ["BENCH_NET_DEV"]).read_text(encoding="ascii")
    return int(re.search(r"^\s*host0:\s*(\d+)", table, re.M)[1])


class CallbackModule(CallbackBase):
    """Measures a play that runs on one host."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "stopwatch"

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._bytes, self._start = _bytes_received(), time.perf_counter()

    def v2_runner_on_ok(self, result):
        seconds, received = time.perf_counter() - self._start, _bytes_received() - self._bytes
        print(
            json.dumps(
                {"task": result.task_name, "seconds": seconds, "bytes": received, "changed": result.is_changed()}
            )
        )

    def v2_runner_on_skipped(self, result):
        self.v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        print(f"{result.task_name} failed: {result.result.get('msg')}", file=sys.stderr)

    def v2_runner_on_unreachable(self, result):
        print(f"The host cannot be reached: {result.result.get('msg')}", file=sys.stderr)
