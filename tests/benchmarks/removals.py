# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The removal order of many records under a limit beside reading them: python -m tests.benchmarks.removals NUMBER
ROUNDS.

Reading is from the JSON text of /system/df to records. Writes as JSON the seconds of each round, and in mebibytes how
far the process grew for the first removal order.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import record_from_api
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import parse_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.gc import Rule, removals, total_bytes

from .records import api_records

NOW = parse_timestamp("2026-02-01T00:00:00Z")


def main():
    """Measure with so many records, of which nine tenths of the bytes are to go."""
    text = json.dumps(api_records(int(sys.argv[1])))
    rounds, memory = [], 0
    for _round in range(int(sys.argv[2])):
        records, reading = _timed(lambda: [record_from_api(entry) for entry in json.loads(text)])
        rule = Rule(keep_bytes=total_bytes(records) // 10)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        removed, order = _timed(lambda records=records, rule=rule: removals(records, rule, "28.5.2", NOW))
        memory = memory or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        rounds.append({"reading": reading, "removal order": order})
    print(json.dumps({"rounds": rounds, "memory": memory / 1024, "removed": len(removed.records)}))


def _timed(work):
    gc.collect()
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()
