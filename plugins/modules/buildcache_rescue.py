#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.data_root import data_root
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import rescue
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import listening_dockerd
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.host import containerd_root, filesystems
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.arguments import (
    AUDIT_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
    go_on_unheard,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.audit import Audit
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.service import runner
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.ballast import NAME, refuse_place
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.plan import (
    CONTAINER_LOGS,
    DEFAULT,
    JOURNAL,
    PACKAGE_CACHES,
    TRUNCATE,
    Given,
    chosen,
    wanted_from_options,
    without,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.audit import removed_by_rescue
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.rescue import (
    rescue_failure,
    rescue_result,
)

OPTIONS = {
    "ballast": {"type": "str"},
    "container_logs_over": {"type": "str"},
    "journal_over": {"type": "str"},
    "package_caches": {"type": "bool", "default": False},
    "root_dir": {"type": "path"},
    "until_free": {"type": "str"},
    **AUDIT_OPTIONS,
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    options = module.params
    with errors_reported(module):
        wanted = wanted_from_options(options)
        audit = Audit(module) if options["audit_log"] is not None else None
        with locked(options, shared=module.check_mode):
            sources, root, ballast = sources_of(wanted, options, runner(module))
            places = [root, containerd_root(root, ""), *(source.directory for source in sources)]
            before, given = filesystems(places), []
            after = before
            go_on_unheard()
            for source in sources:
                one, after = given_up(source, after, wanted.until_free, module.check_mode)
                given.append(one)
            if audit and not module.check_mode:
                logged = audit.keep(removed_by_rescue(given, options, time.time_ns()))
    if not module.check_mode:
        after = filesystems(places)
        warn_of_tails(module, given)
    result = rescue_result(given, before, after, wanted.until_free, module.check_mode, module._diff)
    result["ballast"] = ballast and {"path": ballast.path, "size_bytes": ballast.size, "inodes": ballast.inodes}
    if audit and not module.check_mode:
        result["audit"] = logged
    failed = rescue_failure(given)
    if failed:
        module.fail_json(msg=failed, **result)
    module.exit_json(**result)


def sources_of(wanted, options, run):
    """Return the Sources of what may be given up, in their order, dockerd's directory, and the Ballast that is there.
    Raises BadOption."""
    root = data_root(options["docker_host"], options["root_dir"], run)
    sources, ballast, look = [], None, rescue.looked_at
    if wanted.ballast:
        path = f"{root}/{NAME}" if wanted.ballast == DEFAULT else wanted.ballast
        refuse_place(path, (root, containerd_root(root, "")))
        if os.path.isdir(os.path.dirname(path)):
            source, ballast = rescue.ballast(path)
            sources.append(source)
        elif wanted.ballast != DEFAULT:
            raise BadOption(f"ballast: there is no directory {os.path.dirname(path)}. Correct the path.")
    if wanted.container_logs_over:
        sources.append(look(CONTAINER_LOGS, root, lambda: rescue.container_logs(root, wanted.container_logs_over)))
    if wanted.journal_over:
        sources.append(look(JOURNAL, rescue.JOURNALS, lambda: rescue.journal(wanted.journal_over, run)))
    if wanted.package_caches:
        sources.append(look(PACKAGE_CACHES, root, lambda: rescue.package_caches(run)))
    return sources, root, ballast


def given_up(source, known, until_free, check_mode):
    """Give up what a Source has until enough is free on its file system; return what was Given, and the Filesystems
    after: in check mode ``known`` as they would be."""
    own = filesystems([source.directory])
    if source.error or not own:
        return Given(source.step, error=source.error), known
    disk = next((one for one in known if one.device == own[0].device), own[0]) if check_mode else own[0]
    items = chosen(source.items, disk, until_free, source.together)
    if check_mode:
        after = tuple(without(one, items) if one.device == disk.device else one for one in known)
        return Given(source.step, items, tuple(one.path for one in items)), after
    given = source.gives(items)
    gained = filesystems([source.directory])[0].free - disk.free
    return given._replace(freed=gained if given.planned else 0), known


def warn_of_tails(module, given):
    """Say what a running dockerd makes of a log that was emptied below it."""
    emptied = [item for one in given for item in one.planned if item.how == TRUNCATE and item.path in one.paths]
    if emptied and listening_dockerd(module.params["docker_host"]):
        module.warn(
            f"{len(emptied)} logs were emptied while dockerd runs. docker logs shows what comes from now on. But with "
            "newer engines (28.5.2 was seen) docker logs --tail does not work for these containers, and may take a CPU "
            "without an end, until the log is rotated or dockerd is restarted."
        )


if __name__ == "__main__":
    main()
