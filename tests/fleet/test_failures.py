# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Foreseeable trouble: a clear failure, before anything changes."""

from __future__ import annotations

import builds
import daemon
import engine
import fleet
import pytest
import scripted

pytestmark = pytest.mark.any_engine

NO_SDK = f"{builds.CONTEXT}/python-without-packages"

# -S keeps Debian's packages, and the docker SDK with them, off Python's path.
PREPARE = f"""
printf '#!/bin/sh\\nexec /usr/bin/python3 -S "$@"\\n' >{NO_SDK}
chmod +x {NO_SDK}
if ! id builder >/dev/null 2>&1; then
    echo 'builder:x:1234:1234::/home/builder:/bin/sh' >>/etc/passwd
    echo 'builder:x:1234:' >>/etc/group
    echo 'builder:*:20000:0:99999:7:::' >>/etc/shadow
fi
install -d -o builder /home/builder /home/builder/.ssh
install -o builder -m 600 /root/.ssh/authorized_keys /home/builder/.ssh/
"""

REFUSED = {
    "size": ({"max_used_space": "10Q"}, "max_used_space: '10Q' is not a size"),
    "size of nothing": ({"reserved_space": "0"}, "reserved_space: '0' is less than a byte"),
    "percentage": ({"min_free_space": "101%"}, "min_free_space: '101%' is not a percentage between 0 and 100"),
    "empty size": ({"min_free_space": ""}, "min_free_space: it is empty"),
    "duration": ({"unused_for": "3 weeks"}, "unused_for: '3 weeks' is not a duration"),
    "duration of nothing": ({"unused_for": "0s"}, "unused_for: '0s' is no time at all"),
    "deadline": ({"deadline": "soon"}, "deadline: 'soon' is not a duration"),
    "age of images": ({"images_older_than": "14"}, "images_older_than: '14' is not a duration"),
    "unknown filter": ({"filters": {"size": "1GB"}}, "filters: 'size' is not a filter for build cache"),
    "filter that engines ignore": ({"filters": {"label": "a=b"}}, "filters: 'label' cannot be used"),
    "unknown image filter": ({"images_filters": {"until": "24h"}}, "images_filters: 'until' is not a filter"),
    "no filters": ({"filters": {}}, "filters: it is empty"),
    "empty filter": ({"filters": {"id": ""}}, "filters: id has no value"),
    "empty image filter": ({"images_filters": {"label": []}}, "images_filters: label has no value"),
    "no types": ({"types": []}, "types: the list is empty"),
    "unknown type": ({"types": ["layer"]}, "value of types must be one or more of"),
    "internal without all": ({"types": ["internal"]}, "types: internal records are only removed with all=true"),
    "shared without all": ({"filters": {"shared": True}}, "filters: shared records are only removed with all=true"),
    "age of kept images": ({"images": "keep", "images_older_than": "1d"}, "images_older_than: it has no effect with"),
    "limit without build cache": ({"build_cache": False, "unused_for": "1d"}, "unused_for: it has no effect with"),
    "no builders": ({"builders": []}, "builders: the list is empty"),
    "api version": ({"api_version": "newest"}, "api_version: 'newest' is not an API version"),
    "unknown option": ({"older_than": "1d"}, "Unsupported parameters"),
}

UNREACHED = {
    "missing socket": ({"docker_host": "unix:///run/none.sock"}, {}, "There is no socket at unix:///run/none.sock"),
    "no permission": (
        {},
        {"ansible_user": "builder"},
        "No permission to use unix:///var/run/docker.sock. Run the task",
    ),
    "no SDK": (
        {"docker_host": "tcp://127.0.0.1:1"},
        {"ansible_python_interpreter": NO_SDK},
        "is reached with the docker SDK for Python, which cannot be imported by",
    ),
    "old engine": (
        {"docker_host": "{{ old_engine }}"},
        {},
        "Engine 18.06.3-ce at unix:///root/fleet/old.sock is too old: it has API 1.38, and 19.03",
    ),
}


@pytest.fixture(scope="module")
def filled(lab):
    """Hosts with an image and build cache that none of these tests may touch: {host: State}."""
    builds.empty_engines()
    fleet.shell(PREPARE + builds.generations("app:latest", 2, 1))
    return engine.look()


def check_untouched(filled):
    """Assert that the engines hold what they held."""
    for host, state in engine.look(list(filled)).items():
        assert state.contents == filled[host].contents, host


@pytest.fixture(scope="module")
def refused(filled):
    """The results of the refused options, {name: {host: result}}, on one host of each Python."""
    hosts = fleet.of_store("graphdriver")
    results = fleet.play([fleet.task("buildcache_prune", options) for options, _message in REFUSED.values()], hosts)
    check_untouched(filled)
    return dict(zip(REFUSED, results, strict=True))


@pytest.mark.parametrize("case", REFUSED)
def test_an_option_that_cannot_be_meant_is_refused(refused, case):
    for host, result in refused[case].items():
        assert result["failed"] and REFUSED[case][1] in result["msg"], (host, result["msg"])
        assert not result["changed"] and "steps" not in result, host


@pytest.fixture(scope="module")
def unreached(filled):
    """The results where the engine cannot be used: {(name, module): {host: result}}."""
    names = [(case, module) for case in UNREACHED for module in ("buildcache_facts", "buildcache_prune")]
    tasks = []
    for case, module in names:
        options, variables, _message = UNREACHED[case]
        tasks.append({**fleet.task(module, options), "vars": variables})
    old = scripted.quiet_engine(version="18.06.3-ce", api="1.38", min_api="1.12")
    with scripted.engine("old", old) as docker_host:
        results = fleet.play(tasks, variables={"old_engine": docker_host})
        asked = scripted.requests("old")
    assert asked == dict.fromkeys(filled, ["GET /version"] * 2)
    check_untouched(filled)
    return dict(zip(names, results, strict=True))


@pytest.mark.parametrize("module", ["buildcache_facts", "buildcache_prune"])
@pytest.mark.parametrize("case", UNREACHED)
def test_an_engine_that_cannot_be_used_is_told(unreached, case, module):
    for host, result in unreached[case, module].items():
        assert result["failed"] and UNREACHED[case][2] in result["msg"], (host, result["msg"])
        assert "steps" not in result and "ansible_facts" not in result, host


def test_a_stopped_dockerd_is_told(filled):
    tasks = [fleet.task("buildcache_facts"), fleet.task("buildcache_prune"), fleet.task("buildcache_prune", check=True)]
    fleet.shell("systemctl stop docker.socket docker.service 2>&1")
    try:
        runs = fleet.play(tasks)
    finally:
        fleet.shell(daemon.START)
    for results in runs:
        for host, result in results.items():
            assert result["failed"] and "systemctl status docker" in result["msg"], (host, result["msg"])
            assert "steps" not in result, host
    for host, state in engine.look(list(filled)).items():
        assert state.ids == filled[host].ids, host
