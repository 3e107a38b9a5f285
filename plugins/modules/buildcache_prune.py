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
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._others import others_to_prune
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._prune import carry_out, decide, pretend, settled
from ansible_collections.buildfleet.buildcache.plugins.module_utils._report import (
    all_here,
    failures,
    prune_result,
    warnings,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

OPTIONS = {
    "containers": {"type": "str", "choices": ["keep", "stopped"], "default": "keep"},
    "images": {"type": "str", "choices": ["dangling", "unused", "keep"], "default": "dangling"},
    "images_older_than": {"type": "str"},
    "images_filters": {"type": "dict"},
    "build_cache": {"type": "bool", "default": True},
    "bootstrap_stopped": {"type": "bool", "default": False},
    "remove_orphaned_state": {"type": "bool", "default": False},
    "all": {"type": "bool", "default": False},
    "unused_for": {"type": "str"},
    "types": {
        "type": "list",
        "elements": "str",
        "choices": ["regular", "source.local", "source.git.checkout", "exec.cachemount", "internal", "frontend"],
    },
    "filters": {"type": "dict"},
    "reserved_space": {"type": "str"},
    "max_used_space": {"type": "str"},
    "min_free_space": {"type": "str"},
    "deadline": {"type": "str", "default": "1h"},
}


def main():
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **BUILDER_OPTIONS, **OPTIONS), supports_check_mode=True
    )
    options = module.params
    with errors_reported(module), locked(options, shared=module.check_mode):
        wanted = wanted_from_options(options)
        deadline = Deadline(parse_duration(options["deadline"], "deadline") / SECOND)
        client = EngineClient(options)
        decided = decide(wanted, observe(client, container_sizes=wanted.containers == "stopped"))
        others = others_to_prune(options, wanted, client, decided.left.filesystems)
        if module.check_mode:
            done, after = pretend(decided)
            pruned, orphans = others.pretend()
        else:
            done, after = carry_out(wanted, client, decided, deadline)
            pruned, orphans = others.prune(deadline)
            after = settled(decided.before, after, all_here(done, pruned, orphans))
    if decided.doubt:
        module.warn(decided.doubt)
    for warning in warnings(pruned, options["builders"]):
        module.warn(warning)
    result = prune_result(
        wanted, decided.before, done, after, module.check_mode, module._diff, builders=pruned, orphans=orphans
    )
    failed = failures(done, pruned, orphans, options["builders"])
    if failed:
        module.fail_json(msg=failed, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
