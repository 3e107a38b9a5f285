# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work of buildcache_facts beside the bare requests that it makes: python -m tests.benchmarks.facts SOCKET ROUNDS.

In one process and through the same client: /version, /info, /system/df and /containers/json, decoded; then the same
with what the module makes of the answers. Writes the seconds of each round as JSON, and those of a /system/df alone.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.daemon import local_daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts

from .figures import turns


def main():
    """Measure against the engine at the socket; the first round does not count."""
    connection = {
        "docker_host": f"unix://{sys.argv[1]}", "api_version": "auto", "timeout": 60,
        "tls": False, "validate_certs": False,
    }  # fmt: skip

    def bare():
        client = EngineClient(connection)
        client.info()
        client.disk_usage()
        client.containers()

    def with_facts():
        observation = observe(EngineClient(connection))
        engine = observation.engine
        # What buildx reports is the work of another program.
        daemon = local_daemon(lambda _host: None, engine.version, connection["docker_host"], None, engine.pid)
        return json.dumps(facts(observation, daemon))

    ways = {"bare requests": bare, "requests and facts": with_facts}
    rounds = []
    for names in turns(list(ways), int(sys.argv[2]) + 1):
        seconds = {}
        for name in names:
            gc.collect()
            start = time.perf_counter()
            ways[name]()
            seconds[name] = time.perf_counter() - start
        rounds.append(seconds)
    measured = [{name: one[name] for name in ways} for one in rounds[1:]]
    client = EngineClient(connection)
    start = time.perf_counter()
    records = client.disk_usage()["BuildCache"]
    seconds = time.perf_counter() - start
    print(json.dumps({"rounds": measured, "records": len(records), "disk usage": seconds}))


if __name__ == "__main__":
    main()
