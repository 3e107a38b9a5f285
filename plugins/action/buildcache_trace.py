# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.lean import BareAction


class ActionModule(BareAction):
    """Sends buildcache_trace."""
