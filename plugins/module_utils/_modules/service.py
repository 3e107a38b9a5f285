# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manager of dockerd's service, by the options of a module."""

from __future__ import annotations

from .._dockerd.service import service_manager


def runner(module):
    """Return what runs a command for a module, as service_manager wants it."""

    def run(command):
        return module.run_command(command, handle_exceptions=False)

    return run


def service_of(module):
    """Return the manager of the service that a module's options name."""
    return service_manager(module.params["service_manager"], module.params["service"], runner(module))
