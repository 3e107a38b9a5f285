# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options that choose builders."""

    DOCUMENTATION = r"""
options:
  builders:
    description:
      - Names of the builders. V(default) is the BuildKit embedded in the engine, V(all) stands for every builder that
        buildx lists, the engines of other docker contexts too. On a host without buildx V(all) is V(default).
      - Builders other than V(default) need buildx 0.13 or later and python-on-whales on the host; see the role
        P(buildfleet.buildcache.prepare#role).
      - The driver C(docker-container) needs BuildKit 0.11 or later. The driver C(remote) needs C(buildctl) on the host.
    type: list
    elements: str
    default: [default]
  buildx_config:
    description:
      - The directory of the buildx configuration of the user whose builders are meant, such as
        C(/home/runner/.docker/buildx). Unless it is set it is that of the user who runs the task, which is root with
        C(become=true), and the one of C(become_user) where that is set.
      - Docker contexts are read from the directory above it. Where root runs the task, buildx is run as the owner of
        the directory, so that no file in it comes to belong to root.
    type: path
"""
