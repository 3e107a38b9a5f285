# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door to the builders beyond the engine's own. What is behind it is loaded only where one is asked for, since most
runs ask for none, and loading takes time on every host."""

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import EMBEDDED


class NoOthers:
    """No other builder is to be pruned."""

    def pretend(self):
        """Return the Pruned of each builder, and the Orphans."""
        return (), ()

    def prune(self, deadline):
        """Return the Pruned of each builder, and the Orphans."""
        return (), ()


def others_to_prune(options, wanted, client, filesystems):
    """Return the Others that the options of buildcache_prune ask for, or NoOthers; see _prune_builders.Others."""
    if set(options["builders"]) == {EMBEDDED} and not options["remove_orphaned_state"]:
        return NoOthers()
    from ansible_collections.buildfleet.buildcache.plugins.module_utils._prune_builders import Others

    return Others(options, wanted, client, filesystems)


def others_seen(options, client):
    """Return the Builders that the options of buildcache_facts ask for, None for the engine's own alone; see
    _observe_builders. Raises BadOption where no builder is named."""
    names = options["builders"]
    if not names:
        raise BadOption("builders: the list is empty. Name builders, or leave it out for the engine's own.")
    if set(names) == {EMBEDDED}:
        return None
    from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe_builders import observe_builders

    return observe_builders(options, client)
