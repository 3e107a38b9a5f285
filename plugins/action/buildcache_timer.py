# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tempfile

from ansible import constants as C
from ansible.plugins.action import ActionBase

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.archive import archive
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.payload import packed_bare

_OPTIONS = {
    "path": {"type": "path", "required": True},
    "settings": {"type": "path", "required": True},
    "python": {"type": "path", "default": "/usr/bin/python3"},
}


class ActionModule(ActionBase):
    """Makes the archive, and has Ansible's copy put it on the host."""

    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        _validation, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        with packed_bare():
            built, _path = self._configure_module("buildfleet.buildcache.buildcache_prune_timer", {}, task_vars)
        with tempfile.TemporaryDirectory(dir=C.DEFAULT_LOCAL_TMP) as directory:
            source = os.path.join(directory, "archive")
            with open(source, "wb") as file:
                file.write(archive(built.b_module_data))
            return {**result, **self._copied(source, options, task_vars)}

    def _copied(self, source, options, task_vars):
        task = self._task.copy()
        # Tried where it will stand before it takes the place of the one before.
        trial = f"{options['python']} %s {options['settings']} --check"
        task.args = {"src": source, "dest": options["path"], "mode": "0755", "validate": trial}
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        done = copy.run(task_vars=task_vars)
        if done.get("failed") and "exit_status" in done:
            said = " ".join(f"{done['stdout']} {done['stderr']}".split())
            done["msg"] = f"The host cannot clean up by the archive, which was not put there. {said}"
        return done
