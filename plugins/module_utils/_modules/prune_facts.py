# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts of a prune's own look, for those who ask buildcache_prune for them."""

from __future__ import annotations

from .._base.records import EMBEDDED
from .._builders.observe import observe_builders
from .._engine.last_cleanup import last_cleanup
from .._results.facts import facts
from .facts import daemon_here


class Looked:
    """The facts as buildcache_facts returns them, of an Observation that the prune has made."""

    def __init__(self, options, client, before):
        """Look at dockerd before anything is done: what cannot be read then ends the task while nothing is lost."""
        self._options, self._client = options, client
        self._daemon = daemon_here(options, client, before)

    def facts(self, observation):
        """Return the facts of the last look; other builders are asked again where the options name them."""
        builders = None
        if set(self._options["builders"]) != {EMBEDDED}:
            builders = observe_builders(self._options, self._client)
        return facts(observation, self._daemon, builders, last=last_cleanup(self._client.docker_host))
