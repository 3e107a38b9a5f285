#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import filesystem_facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import parse_size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.data_root import data_root
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.ballast import (
    found_ballast,
    lay,
    remove_ballast,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.host import containerd_root, filesystems
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.service import runner
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.ballast import (
    NAME,
    NoRoom,
    refuse_full,
    refuse_place,
)

OPTIONS = {
    "path": {"type": "path"},
    "size": {"type": "str"},
    "inodes": {"type": "int", "default": 1000},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "data_path": {"type": "path"},
    "leave_free": {"type": "str"},
    "require_room": {"type": "bool", "default": True},
}


def main():
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS),
        required_if=[("state", "present", ("size",))],
        supports_check_mode=True,
    )
    options = module.params
    with errors_reported(module):
        size, leave = (
            None if options[name] is None else parse_size(options[name], name) for name in ("size", "leave_free")
        )
        if options["inodes"] < 0:
            raise BadOption(f"inodes: {options['inodes']} is no number of files. Write 0 for none.")
        root = data_root(options["docker_host"], options["data_path"], runner(module), "data_path")
        path = f"{root}/{NAME}" if options["path"] is None else options["path"]
        refuse_place(path, (root, containerd_root(root, "")))
        with locked(options, shared=module.check_mode):
            before = found_ballast(path) if os.path.isdir(os.path.dirname(path)) else None
            if options["state"] == "present":
                changed, wanted = have(module, path, root, before, size, leave)
            else:
                changed, wanted = before is not None, None
                if changed and not module.check_mode:
                    remove(path)
    result = {"changed": changed, "path": path, "size_bytes": wanted}
    result["filesystems"] = [filesystem_facts(one) for one in filesystems([os.path.dirname(path)])]
    if module._diff:
        old = {"size": before.size, "mode": f"{before.mode:04o}", "inodes": before.inodes} if before else {}
        new = {"size": wanted, "mode": "0600", "inodes": options["inodes"]} if wanted else {}
        result["diff"] = {"before_header": path, "after_header": path, "before": old, "after": new if changed else old}
    module.exit_json(**result)


def have(module, path, root, before, size, leave):
    """Lay the ballast where it is not as it is wanted; return whether it was not, and its bytes in the end. ``before``
    is the Ballast that is there, ``leave`` as for refuse_full. Raises BadOption, NoRoom and BuildcacheError."""
    options, disk = module.params, disk_of(path, root)
    wanted = size.in_bytes(disk.total)
    if before and before.will_do(wanted, options["inodes"]):
        return False, wanted
    try:
        refuse_full(path, wanted, options["inodes"], before, disk, leave)
    except NoRoom as problem:
        if options["require_room"]:
            raise
        module.warn(str(problem))
        return False, before and before.size
    if not module.check_mode:
        lay(path, wanted, options["inodes"])
    return True, wanted


def remove(path):
    """Remove the ballast. Raises BuildcacheError."""
    _gone, problems = remove_ballast(path)
    if problems:
        raise BuildcacheError(f"The ballast could not be removed: {'; '.join(problems)}.")


def disk_of(path, data):
    """Return the Filesystem of a ballast. Raises BadOption where it is not the one that holds the engine's data: giving
    it up would free nothing there."""
    directory = os.path.dirname(path)
    for one, option in ((directory, "path"), (data, "data_path")):
        if not os.path.isdir(one):
            raise BadOption(f"{option}: there is no directory {one}. Correct the path, or start dockerd once before.")
    if os.stat(directory).st_dev != os.stat(data).st_dev:
        raise BadOption(
            f"path: {path} is on another file system than the engine's data in {data}, where it would be of no use. "
            f"Name a path there, such as {data}/{NAME}."
        )
    return filesystems([directory])[0]


if __name__ == "__main__":
    main()
