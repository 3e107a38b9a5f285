# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers to /version as the engines' sources have them."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.identity import require_docker_engine


def version(platform, *names):
    return {"Platform": {"Name": platform}, "Components": [{"Name": name} for name in names]}


@pytest.mark.parametrize(
    "answer",
    [
        version("", "Engine", "containerd", "runc", "docker-init"),
        version("Docker Engine - Community", "Engine", "containerd"),
        version("Mirantis Container Runtime", "Engine"),
        version("Docker Desktop 4.34.2 (167172)", "Engine"),
        {"Engine": "balena-engine", **version("", "Engine")},
    ],
)
def test_moby_and_its_forks_are_docker_engines(answer):
    require_docker_engine(answer, "unix:///s")


@pytest.mark.parametrize(
    ("answer", "name", "own_way"),
    [
        (version("linux/amd64/debian-13", "Podman Engine", "Conmon"), "Podman Engine", "(podman system prune)"),
        (version("", "containerd"), "containerd", "(nerdctl system prune)"),
        (version("some platform"), "some platform", ""),
        ({"Components": None, "Platform": None}, "no engine that gives its name", ""),
        ({"Components": [{}]}, "no engine that gives its name", ""),
        ({"Components": ["Engine"]}, "no engine that gives its name", ""),
        ([], "no engine that gives its name", ""),
    ],
)
def test_others_are_refused_by_name(answer, name, own_way):
    with pytest.raises(EngineError) as refused:
        require_docker_engine(answer, "unix:///s")
    assert f"at unix:///s speaks Docker's API, but is {name}, not Docker Engine" in str(refused.value)
    assert own_way in str(refused.value)
