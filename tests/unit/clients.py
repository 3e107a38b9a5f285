# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of scripted engines, and what these tell of what they hold."""

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import EngineClient

RECORD = {"ID": "a", "Type": "regular", "Size": 10, "UsageCount": 1, "LastUsedAt": "2026-01-01T00:00:00Z"}
UNTAGGED = {"Id": "sha256:1", "RepoTags": [], "Size": 10, "SharedSize": 0, "Created": 1}
BUSY = {"status": 409, "json": {"message": "a prune operation is already running"}}
PRUNED = {"json": {"CachesDeleted": ["a"], "SpaceReclaimed": 10}}


def connection(path, **given):
    """Connection options as a module has them."""
    defaults = {
        "docker_host": f"unix://{path}",
        "api_version": "auto",
        "timeout": 5,
        "tls": False,
        "tls_hostname": None,
        "validate_certs": False,
        "ca_path": None,
        "client_cert": None,
        "client_key": None,
    }
    return dict(defaults, **given)


def client_of(engine, **given):
    return EngineClient(connection(engine.path, **given))
