# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that say which GC policy is wanted, of the module buildcache_gc_policy and of a filter."""

from __future__ import annotations

RULE_OPTIONS = {
    "types": {"type": "list", "elements": "str"},
    "unused_for": {"type": "str"},
    "all": {"type": "bool", "default": False},
    "reserved_space": {"type": "str"},
    "max_used_space": {"type": "str"},
    "min_free_space": {"type": "str"},
    "filters": {"type": "dict"},
}
POLICY_OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "enabled": {"type": "bool", "default": True},
    "rules": {"type": "list", "elements": "dict", "options": RULE_OPTIONS},
    "unsupported": {"type": "str", "choices": ["fail", "approximate"], "default": "fail"},
}
