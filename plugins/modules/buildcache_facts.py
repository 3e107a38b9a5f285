#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    BUILDER_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import DAEMON_CONFIG, local_daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._others import others_seen

OPTIONS = {
    "records": {"type": "bool", "default": False},
    "config_file": {"type": "path", "default": DAEMON_CONFIG},
}


def main():
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **BUILDER_OPTIONS, **OPTIONS), supports_check_mode=True
    )
    options = module.params
    with errors_reported(module), locked(options, shared=True):
        client = EngineClient(options)
        builders = others_seen(options, client)
        observation = observe(client)
        daemon = Daemon()
        if client.is_local:
            daemon = local_daemon(observation.engine.version, options["docker_host"], options["config_file"])
    module.exit_json(ansible_facts={"buildcache": facts(observation, daemon, builders, options["records"])})


if __name__ == "__main__":
    main()
