#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import read_config, write_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import (
    DAEMON_CONFIG,
    engine_figures,
    keep_way_back,
    observe_daemon,
    remember,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._gc_policy import (
    edited,
    policy_result,
    wanted_policy,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import EMBEDDED
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

RULE_OPTIONS = {
    "types": {"type": "list", "elements": "str"},
    "unused_for": {"type": "str"},
    "all": {"type": "bool", "default": False},
    "reserved_space": {"type": "str"},
    "max_used_space": {"type": "str"},
    "min_free_space": {"type": "str"},
    "filters": {"type": "dict"},
}
OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "enabled": {"type": "bool", "default": True},
    "rules": {"type": "list", "elements": "dict", "options": RULE_OPTIONS},
    "config_file": {"type": "path", "default": DAEMON_CONFIG},
    "engine_version": {"type": "str"},
    "unsupported": {"type": "str", "choices": ["fail", "approximate"], "default": "fail"},
    "backup": {"type": "bool", "default": False},
    "builder": {"type": "str"},
    "buildx_config": {"type": "path"},
    "recreate_builder": {"type": "bool", "default": False},
    "drain_timeout": {"type": "str", "default": "30m"},
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    if module.params["builder"] in (None, EMBEDDED):
        policy_of_engine(module)
    else:
        policy_of_builder(module)


def policy_of_builder(module):
    # Imported here: most runs have no need of it, and loading takes time on every host.
    from ansible_collections.buildfleet.buildcache.plugins.module_utils._builder_policy import put_policy

    with errors_reported(module), locked(module.params, shared=module.check_mode):
        drain = parse_duration(module.params["drain_timeout"], "drain_timeout") / SECOND
        result, warnings = put_policy(module.params, drain, module.check_mode, module.atomic_move)
    for warning in warnings:
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


def policy_of_engine(module):
    with errors_reported(module), locked(module.params, shared=module.check_mode):
        config = read_config(module.params["config_file"])
        engine = engine_figures(module.params, config)
        daemon = observe_daemon(config, engine.version, engine.docker_host)
        status = gc_status(daemon, engine.version)
        wanted = wanted_policy(module.params, engine.version, engine.filesystem_bytes, status.in_file)
        new = edited(config, wanted, engine.version, status.in_file)
        if new.changed and not module.check_mode:
            keep_way_back(config, status.in_file, daemon, new)
            copy = module.preserved_copy if module.params["backup"] else None
            config = write_config(config, new.text, module.atomic_move, copy)
        if not module.check_mode:
            remember(config, new.policy, daemon)
    for warning in warnings(wanted, new, engine.version):
        module.warn(warning)
    result = policy_result(daemon, status, wanted, new, engine.version, with_diff=module._diff)
    if config.backup:
        result["backup_file"] = config.backup
    module.exit_json(**result)


if __name__ == "__main__":
    main()
