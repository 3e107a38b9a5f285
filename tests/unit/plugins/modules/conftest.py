# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A faked host, and the module run on it."""

from __future__ import annotations

import json
import signal
import time

import pytest
from ansible.module_utils import basic

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import before as _before
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import daemon as _daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import drain as _drain
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import own as _own
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import rehearsal as _rehearsal
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import restart as _restart
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import running as _running
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import lock as _lock
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import state as _kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import Home
from ansible_collections.buildfleet.buildcache.plugins.modules import buildcache_restart
from ansible_collections.buildfleet.buildcache.tests.unit.faked_host import OLD, Host
from ansible_collections.buildfleet.buildcache.tests.unit.restarting import lock_is_free, put


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that obeys OLD, which nothing is known of yet."""
    found = Host(tmp_path)
    monkeypatch.setattr(_kept, "directory", lambda: str(tmp_path / "state"))
    monkeypatch.setattr(_lock, "LOCK_FILE", str(tmp_path / "buildcache" / "lock"))
    for module in (_restart, _running, buildcache_restart):
        monkeypatch.setattr(module, "EngineClient", found.client)
    monkeypatch.setattr(_own, "home_of", lambda docker_host, info: Home(found.pid, True))
    monkeypatch.setattr(_own, "command_of", lambda pid: [])
    monkeypatch.setattr(_running, "listening_dockerd", lambda docker_host: None)
    monkeypatch.setattr(_before, "command_of", lambda pid: [str(found.program)])
    monkeypatch.setattr(_rehearsal, "command_of", lambda pid: [str(found.program)])
    for module in (_before, _restart, _running, _daemon):
        monkeypatch.setattr(module, "start_of", found.processes.get)
    for name in ("_POLL", "ANSWER"):
        monkeypatch.setattr(_restart, name, 0.01)
    monkeypatch.setattr(_drain, "_POLL", 0.01)
    monkeypatch.setattr(_drain, "open_requests", lambda pid, config: found.requests.pop(0) if found.requests else None)
    monkeypatch.setattr(buildcache_restart, "service_of", lambda module: found)
    monkeypatch.setattr(buildcache_restart, "Rehearsal", lambda: found)
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    put(found, OLD)
    time.sleep(0.01)
    found.processes[100] = time.time()
    time.sleep(0.01)
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(host, monkeypatch, capsys):
    """Run the module with options; return its result. Nobody may hold the lock after it."""

    def run(**options):
        given = {
            "config_file": str(host.file), "docker_host": f"unix://{host.file.parent}/docker.sock",
            "health_timeout": "100ms", "lock_timeout": "100ms", "drain_timeout": "100ms", **options,
        }  # fmt: skip
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            buildcache_restart.main()
        assert lock_is_free()
        return json.loads(capsys.readouterr().out)

    return run
