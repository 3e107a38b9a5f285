# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files in which buildx keeps the builders of each user."""

from __future__ import annotations

import glob
import json
import os
import pwd
from contextlib import suppress


def buildx_directory(config=None):
    """Return the directory of a buildx configuration: ``config``, or that of who runs this (buildx, util/confutil,
    ConfigDir)."""
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return config or os.environ.get("BUILDX_CONFIG") or os.path.join(docker, "buildx")


def known_nodes(config=None):
    """Return the names of the nodes of all builders of all users of this host, as far as they can be read.

    ``config`` is a directory with a buildx configuration that is in no home.
    """
    homes = [os.path.join(user.pw_dir, ".docker", "buildx") for user in pwd.getpwall()]
    found = set()
    for directory in {*homes, buildx_directory(config)}:
        for path in glob.glob(os.path.join(glob.escape(directory), "instances", "*")):
            with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
                with open(path, encoding="utf-8") as file:
                    found.update(node["Name"] for node in json.load(file)["Nodes"])
    return found
