#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.audit_log import opened
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.trace import (
    since_from_option,
    sought_from_option,
    traced,
)

OPTIONS = {
    "object": {"type": "str", "required": True},
    "audit_log": {"type": "list", "elements": "path", "required": True},
    "since": {"type": "str"},
    "limit": {"type": "int", "default": 50},
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    options = module.params
    with errors_reported(module), ExitStack() as stack:
        sought, since = sought_from_option(options["object"]), since_from_option(options["since"], time.time_ns())
        if options["limit"] < 1:
            raise BadOption(f"limit: {options['limit']} entries are none. Give 1 or more, or leave it out.")
        if not all(map(str.strip, options["audit_log"] or [""])):
            raise BadOption("audit_log: it is empty. Name the file that the runs write.")
        logs = [pair for path in dict.fromkeys(options["audit_log"]) for pair in opened(path)]
        files = [stack.enter_context(file) for _name, file in logs]
        found = traced(itertools.chain.from_iterable(files), sought, since, options["limit"])
    if found.unreadable:
        module.warn(f"{found.unreadable} lines of the audit log cannot be read, and were passed over.")
    module.exit_json(changed=False, files=[name for name, _file in logs], **found._asdict())


if __name__ == "__main__":
    main()
