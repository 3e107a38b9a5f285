# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fleet's report takes: python -m tests.benchmarks.report ROUNDS HOSTS….

For each number of hosts, made of recorded ones: the seconds of making the page, its megabytes, and where there is a
Chromium the seconds until it can be used there, and those of them that the browser itself worked. Writes as JSON the
rounds, each {figure: {hosts: value}}.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from ansible_collections.buildfleet.buildcache.plugins.filter.fleet_report import fleet_report

from ..tools.browser import Browser, NoBrowser
from ..unit.report_fleet import fleet
from .figures import turns

MADE, SIZE, USABLE, WORKED = "making", "page", "usable in Chromium", "of it Chromium's work"


def main():
    """Measure the numbers of hosts in turns; the first round does not count."""
    numbers = [int(one) for one in sys.argv[2:]]
    fleets = {number: fleet(number) for number in numbers}
    rounds = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, ExitStack() as stack:
        page = Path(scratch, "report.html")
        try:
            chromium = stack.enter_context(Browser())
            chromium.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        except NoBrowser as problem:
            print(f"Not measured in a browser: {problem}", file=sys.stderr)
            chromium = None
        for names in turns(numbers, int(sys.argv[1]) + 1):
            figures = {}
            for number in names:
                gc.collect()
                start = time.perf_counter()
                text = fleet_report(fleets[number], "html", 1.8e9, {"keep": "7d"})
                found = {MADE: time.perf_counter() - start}
                page.write_text(text, encoding="utf-8")
                found[SIZE] = page.stat().st_size / 1e6
                if chromium:
                    chromium.open(page)
                    found[USABLE] = int(chromium.run("return document.documentElement.dataset.ready")) / 1000
                    told = chromium.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
                    found[WORKED] = next(one["value"] for one in told if one["name"] == "TaskDuration")
                for name, value in found.items():
                    figures.setdefault(name, {})[number] = value
            rounds.append(figures)
    print(json.dumps(rounds[1:]))


if __name__ == "__main__":
    main()
