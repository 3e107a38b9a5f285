#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import EMBEDDED
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_duration
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.reported import reported_rules
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.daemon import (
    engine_figures,
    keep_way_back,
    observe_daemon,
    remember,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.own import config_path
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import read_config, write_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.sdk import SdkTransport
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
    go_on_unheard,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.policy_options import POLICY_OPTIONS
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import (
    edited,
    policy_result,
    wanted_policy,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import gc_status

OPTIONS = {
    **POLICY_OPTIONS,
    "config_file": {"type": "path"},
    "engine_version": {"type": "str"},
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
    from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.policy import put_policy

    with errors_reported(module), locked(module.params, shared=module.check_mode):
        drain = parse_duration(module.params["drain_timeout"], "drain_timeout") / SECOND
        # A builder is without its container for a moment.
        go_on_unheard()
        result, warnings = put_policy(module.params, drain, module.check_mode, module.atomic_move)
    for warning in warnings:
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


def policy_of_engine(module):
    with errors_reported(module), locked(module.params, shared=module.check_mode):
        engine = engine_figures(module.params, SdkTransport)
        config = read_config(config_path(module.params["config_file"], engine.pid))
        daemon = observe_daemon(config, reported_rules, engine.version, engine.docker_host, engine.pid)
        status = gc_status(daemon, engine.version)
        size = engine.filesystem_bytes(config)
        wanted = wanted_policy(module.params, engine.version, size, status.in_file)
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
    result["config_file"] = config.path
    if config.backup:
        result["backup_file"] = config.backup
    module.exit_json(**result)


if __name__ == "__main__":
    main()
