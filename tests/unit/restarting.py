# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of the restart do to the file of a faked host, and see of it."""

from __future__ import annotations

import fcntl
import json
import os

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import before as _before
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import daemon as _daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import lock as _lock
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import read_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import Edited
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import gc_status
from ansible_collections.buildfleet.buildcache.tests.unit.faked_host import VERSION


def put(host, text):
    """Change the file by hand."""
    host.file.write_text(text)


def seen(host):
    config = read_config(str(host.file))
    daemon = _daemon.observe_daemon(config, lambda docker_host: None, VERSION, None, host.pid)
    return config, daemon, gc_status(daemon, VERSION)


def write(host, text):
    """Write a text as buildcache_gc_policy does."""
    config, daemon, status = seen(host)
    policy = _before.from_daemon_json(json.loads(text)["builder"], VERSION)
    _daemon.keep_way_back(config, status.in_file, daemon, Edited(text, {}, {}, policy, True))
    put(host, text)
    _daemon.remember(read_config(str(host.file)), policy, daemon)


def lock_is_free():
    if not os.path.exists(_lock.LOCK_FILE):
        return True
    with open(_lock.LOCK_FILE) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
