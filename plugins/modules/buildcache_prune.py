#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    check_builders,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._prune import carry_out, decide, pretend
from ansible_collections.buildfleet.buildcache.plugins.module_utils._report import failures, prune_result
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

OPTIONS = {
    "containers": {"type": "str", "choices": ["keep", "stopped"], "default": "keep"},
    "images": {"type": "str", "choices": ["dangling", "unused", "keep"], "default": "dangling"},
    "images_older_than": {"type": "str"},
    "images_filters": {"type": "dict"},
    "build_cache": {"type": "bool", "default": True},
    "builders": {"type": "list", "elements": "str", "default": ["default"]},
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
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    with errors_reported(module), locked(module.params, shared=module.check_mode):
        check_builders(module.params["builders"])
        wanted = wanted_from_options(module.params)
        deadline = Deadline(parse_duration(module.params["deadline"], "deadline") / SECOND)
        client = EngineClient(module.params)
        decided = decide(wanted, observe(client, container_sizes=wanted.containers == "stopped"))
        if module.check_mode:
            done, after = pretend(decided)
        else:
            done, after = carry_out(wanted, client, decided, deadline)
    if decided.doubt:
        module.warn(decided.doubt)
    result = prune_result(wanted, decided.before, done, after, check_mode=module.check_mode, with_diff=module._diff)
    if failures(done):
        module.fail_json(msg=failures(done), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
