#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time

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
    AUDIT_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
    go_on_unheard,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.audit import Audit
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.policy_options import POLICY_OPTIONS
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import (
    edited,
    policy_result,
    wanted_policy,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.audit import policy_change

OPTIONS = {
    **POLICY_OPTIONS,
    "config_file": {"type": "path"},
    "engine_version": {"type": "str"},
    "backup": {"type": "bool", "default": False},
    "builder": {"type": "str"},
    "buildx_config": {"type": "path"},
    "recreate_builder": {"type": "bool", "default": False},
    "drain_timeout": {"type": "str", "default": "30m"},
    **AUDIT_OPTIONS,
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    with errors_reported(module):
        audit = Audit(module) if module.params["audit_log"] is not None else None
    if module.params["builder"] in (None, EMBEDDED):
        policy_of_engine(module, audit)
    else:
        policy_of_builder(module, audit)


def policy_of_builder(module, audit):
    # Imported here: most runs have no need of it, and loading takes time on every host.
    from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.policy import put_policy

    with errors_reported(module), locked(module.params, shared=module.check_mode):
        drain = parse_duration(module.params["drain_timeout"], "drain_timeout") / SECOND
        # A builder is without its container for a moment.
        go_on_unheard()
        result, warnings = put_policy(module.params, drain, module.check_mode, module.atomic_move)
        if audit and not module.check_mode:
            old, new = (json.loads(result["diff"][when] or "null") for when in ("before", "after"))
            result["audit"] = audit.keep(changes(module, old, new, "buildkitd.toml"))
    for warning in warnings:
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


def policy_of_engine(module, audit):
    with errors_reported(module), locked(module.params, shared=module.check_mode):
        engine = engine_figures(module.params, SdkTransport)
        config = read_config(config_path(module.params["config_file"], engine.pid))
        daemon = observe_daemon(config, reported_rules, engine.version, engine.docker_host, engine.pid)
        status, found = gc_status(daemon, engine.version), []
        size = engine.filesystem_bytes(config)
        wanted = wanted_policy(module.params, engine.version, size, status.in_file)
        new = edited(config, wanted, engine.version, status.in_file)
        if new.changed and not module.check_mode:
            keep_way_back(config, status.in_file, daemon, new)
            copy = module.preserved_copy if module.params["backup"] else None
            config = write_config(config, new.text, module.atomic_move, copy)
            found = changes(module, *(policy and terms(policy) for policy in (status.in_file, new.policy)), config.path)
        if not module.check_mode:
            remember(config, new.policy, daemon)
        logged = audit and not module.check_mode and audit.keep(found)
    for warning in warnings(wanted, new, engine.version):
        module.warn(warning)
    result = policy_result(daemon, status, wanted, new, engine.version, with_diff=module._diff)
    result["config_file"] = config.path
    if config.backup:
        result["backup_file"] = config.backup
    if logged:
        result["audit"] = logged
    module.exit_json(**result)


def changes(module, old, new, file):
    """Return what an audit log tells of a policy in a file, in our terms before and after: nothing where it is the
    same."""
    why = {name: module.params[name] for name in ("state", "builder", "unsupported") if module.params[name]}
    why = {"module": "buildcache_gc_policy", **why}
    return [policy_change(old, new, file, why, time.time_ns())] if old != new else []


if __name__ == "__main__":
    main()
