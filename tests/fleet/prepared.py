# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that the role prepare has given what work with buildx takes."""

from __future__ import annotations

import json

import fleet
from test_playbooks import recap

VENV = "/opt/buildfleet"
PYTHON = f"{VENV}/bin/python"

WHALES = {"ansible_python_interpreter": PYTHON}
"""Extra variables that make the modules run with the Python that has python-on-whales."""

REMOVE = f"rm -rf {VENV}\n"
"""A script that takes it all away again."""


def prepare(*arguments, **variables):
    """Run the playbook, which must succeed; return {host: number of changes}."""
    status, output = fleet.playbook("prepare", "-e", json.dumps(variables), *arguments)
    assert status == 0, output
    return {host: counts["changed"] for host, counts in recap(output).items()}
