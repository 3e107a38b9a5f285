# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of two modules a task sends: the whole one, or one without the builders beyond the engine's own, and in a prune
without the facts and the GC policies that they tell of.

Ansible packs all that a module imports, wherever the import stands (ansible-core, executor/module_common.py,
ModuleDepFinder), so that what most tasks do not need can only be left out by sending another module.
"""

from __future__ import annotations

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils import options
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.payload import packed_bare

_OWN_ALONE = (None, "default", ["default"])


class BareAction(ActionBase):
    """Runs the module of the task's name, without comments and docstrings."""

    _supports_async = True

    @classmethod
    def finalize_task_arg(cls, name, value, templar, context):
        # Ansible calls this experimental: should it no longer ask here, every option is a template to it, as before.
        told, option = options.read(value, templar.available_variables)
        return option if told else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        return {**result, **self._sent("", task_vars)}

    def _sent(self, suffix, task_vars):
        # By its full name, also where the task has the short one (a checkout's ansible.cfg).
        name = f"buildfleet.buildcache.{self._task.action.rpartition('.')[2]}{suffix}"
        # The role timer has hosts run a module by the very options that the task of another role has.
        told = {"options": dict(self._task.args)} if (task_vars or {}).get("buildcache_tells_options") else {}
        with packed_bare(in_one(name)):
            done = self._execute_module(module_name=name, task_vars=task_vars, wrap_async=self._task.async_val)
        return {**done, **told}


class LeanAction(BareAction):
    """Runs the module of the task's name, or where that will do the one with ``_engine`` after its name."""

    def run(self, tmp=None, task_vars=None):
        if lean_will_do(self._task.args) and not self._task.async_val:
            result = ActionBase.run(self, tmp, task_vars)
            done = self._sent("_engine", task_vars)
            if not done.pop("not_sent", False):
                return {**result, **done}
        return super().run(tmp, task_vars)


def in_one(module):
    """Return the name of the file in module_utils that a lean module imports and that is sent with all that it imports
    itself, None for the whole ones."""
    name, lean, _end = module.rpartition("_engine")
    return f"_modules.{name.rpartition('buildcache_')[2]}" if lean else None


def lean_will_do(arguments):
    """Whether the options of a task ask for an engine's own builder over a socket of the host and nothing beyond that,
    nor a prune for facts, inodes or an audit log, nor facts for what a restart would meet, for each image, for the
    whole disk or for what builds work with.

    They are as the task has them: whatever cannot be told from them, the module on the host tells.
    """
    # In a prune, images says which go, in words that are no truth values.
    asked = ("remove_orphaned_state", "facts", "look_ahead", "measure", "images", "working_set")
    more = [boolean(arguments.get(option) or False, strict=False) for option in asked]
    host = arguments.get("docker_host") or arguments.get("docker_url") or ""
    elsewhere = "://" in host and "unix://" not in host
    more += [arguments.get("high_inodes"), arguments.get("audit_log")]
    return arguments.get("builders") in _OWN_ALONE and not elsewhere and not any(more)
