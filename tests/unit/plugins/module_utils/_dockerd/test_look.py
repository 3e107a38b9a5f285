# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.flags import given, given_twice
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.look import Seen, obstacles
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.unit import start_command

INFO = {"DockerRootDir": "/var/lib/docker", "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
SWARM = {**INFO, "Swarm": {"LocalNodeState": "locked"}}
WORDS = ("-H", "fd://", "--containerd=/run/containerd/containerd.sock")


def codes(version="28.5.2", config=None, info=None, words=WORDS, **how):
    return [one.code for one in obstacles(Seen(info or INFO, version, config or {}, words, **how))]


@pytest.mark.parametrize(
    ("found", "how"),
    [
        ([], {}),
        ([], {"config": {"data-root": "/var/lib/docker/", "storage-driver": "overlay2", "runtimes": {}}}),
        ([], {"info": {**INFO, "DockerRootDir": "/var/lib/docker/100000.100000", "SecurityOptions": ["name=userns"]},
              "config": {"userns-remap": "default"}}),
        (["store_change_waits"], {"config": {"data-root": "/srv"}}),
        (["store_change_waits"], {"words": (*WORDS, "-g", "/srv")}),
        (["store_change_waits"], {"config": {"features": {"containerd-snapshotter": True}}}),
        ([], {"config": {"features": {"containerd-snapshotter": True}}, "version": "20.10.24"}),
        (["live_restore_with_swarm"], {"info": SWARM, "config": {"live-restore": True}}),
        (["live_restore_with_swarm"], {"info": SWARM, "words": (*WORDS, "--live-restore")}),
        ([], {"info": SWARM}),
        (["flag_and_file"], {"config": {"hosts": ["fd://"]}}),
        (["dockerd_cannot_start"], {"unit": {"LoadState": "masked"}}),
        (["dockerd_unit_changed"], {"unit": {"LoadState": "loaded", "NeedDaemonReload": "yes"}}),
        (["no_room_for_config"], {"room": 0}),
    ],
)  # fmt: skip
def test_what_a_restart_would_meet_is_found(found, how):
    assert codes(**how) == found


def test_flags_are_read_as_dockerd_reads_them():
    words = ("-Hfd://", "-D", "--log-opt", "a=b", "--log-opt=c=d", "--tlsverify", "-l", "warn", "rest")
    assert given(words, "hosts") == ["fd://"] and given(words, "log-opts") == ["a=b", "c=d"]
    assert given_twice(words, {"debug": False, "log-level": "info", "bip": ""}) == [
        ("debug", "-D"),
        ("log-level", "-l"),
    ]


def test_the_command_line_of_the_next_start_has_the_variables_of_the_unit():
    unit = {
        "ExecStart": "{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ${NONE} ; "
        "ignore_errors=no ; start_time=[n/a] ; }",
    }
    assert start_command(unit, ['# no\nDOCKER_OPTS="--data-root /srv -D"\n']) == [
        "/usr/sbin/dockerd", "-H", "fd://", "--data-root", "/srv", "-D", "",
    ]  # fmt: skip
    assert start_command({}, []) is None
