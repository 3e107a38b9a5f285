# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.lean import LeanAction, lean_will_do


@pytest.mark.parametrize(
    ("arguments", "alone"),
    [
        ({}, True),
        ({"builders": ["default"], "unused_for": "3d"}, True),
        ({"builders": "default"}, True),
        ({"builders": None, "remove_orphaned_state": "no"}, True),
        ({"builders": ["all"]}, False),
        ({"builders": "default,ci"}, False),
        ({"builders": []}, False),
        ({"docker_host": "unix:///run/docker.sock"}, True),
        ({"docker_host": "/run/docker.sock"}, True),
        ({"docker_host": "tcp://far:2376"}, False),
        ({"docker_url": "ssh://far"}, False),
        ({"remove_orphaned_state": True}, False),
        ({"remove_orphaned_state": "yes"}, False),
        ({"look_ahead": "yes"}, False),
        ({"measure": "yes"}, False),
        ({"images": True}, False),
        ({"working_set": True}, False),
        ({"images": "unused", "high_watermark": "85%", "low_watermark": "70%"}, True),
        ({"high_inodes": "85%", "low_inodes": "70%"}, False),
        ({"audit_log": "/var/log/buildcache.jsonl"}, False),
    ],
)
def test_the_lean_will_do_is_what_no_option_goes_beyond(arguments, alone):
    assert lean_will_do(arguments) is alone


class Sent(LeanAction):
    """An action of which the modules that it sends are noted; ``lean`` is what the lean one returns."""

    def __init__(self, arguments, lean, async_val=0):
        self._task = SimpleNamespace(args=arguments, action="buildcache_prune", async_val=async_val)
        self.modules, self._lean = [], lean

    def _execute_module(self, module_name=None, task_vars=None, wrap_async=False):
        self.modules.append(module_name)
        return dict(self._lean) if module_name.endswith("_engine") else {"changed": True}


@pytest.fixture(autouse=True)
def no_action_base(monkeypatch):
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda self, tmp=None, task_vars=None: {})


@pytest.mark.parametrize(
    ("action", "modules", "result"),
    [
        (Sent({}, {"changed": False}), ["_engine"], {"changed": False}),
        (Sent({}, {"changed": False, "not_sent": True}), ["_engine", ""], {"changed": True}),
        (Sent({"builders": ["all"]}, {}), [""], {"changed": True}),
        (Sent({}, {}, async_val=60), [""], {"changed": True}),
    ],
)
def test_the_whole_module_is_sent_where_the_lean_one_will_not_do(action, modules, result):
    assert action.run() == result
    assert action.modules == [f"buildfleet.buildcache.buildcache_prune{suffix}" for suffix in modules]


def test_a_task_may_run_in_the_background():
    assert LeanAction._supports_async
