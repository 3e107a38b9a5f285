# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.as_told import as_told
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.look import Seen
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.stage import (
    cannot_be_staged,
    root_of,
    staged,
)

INFO = {"DockerRootDir": "/var/lib/docker", "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
CONTAINERD = {**INFO, "Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
WORDS = ("-H", "fd://", "--containerd=/run/containerd/containerd.sock")
OWN = ["--data-root=/new", "--exec-root=/run/docker", "--pidfile=/run/docker.pid", "--config-file=/new.json"]
OVERLAY2 = "--storage-driver=overlay2"


def seen(config=None, info=None, words=WORDS, there=(), **how):
    return Seen(info or INFO, "28.5.2", config or {}, words, exists=lambda path: path in there, **how)


@pytest.mark.parametrize(
    ("how", "words", "config"),
    [
        ({}, [OVERLAY2, "-H=fd://"], {}),
        ({"info": CONTAINERD}, ["-H=fd://"], {}),
        ({"config": {"storage-driver": "vfs"}}, ["-H=fd://"], {"storage-driver": "vfs"}),
        ({"config": {"features": {"containerd-snapshotter": True}}}, ["-H=fd://"],
         {"features": {"containerd-snapshotter": True}}),
        ({"words": ("-g", "/srv", "--exec-root=/x", "-p", "/opt/pid", "-D", "-lwarn")},
         [OVERLAY2, "-D=true", "-l=warn"], {}),
        # Sockets that are files are those of nobody else; what listens on a network does so in one of its own.
        ({"words": ("-H", "unix:///opt/docker.sock", "-H=tcp://10.0.0.1:2375")},
         [OVERLAY2, "-H=unix:///run/opt-docker.sock", "-H=tcp://10.0.0.1:2375"], {}),
        ({"config": {"hosts": ["unix:///opt/x", "fd://"]}, "words": ()}, [OVERLAY2],
         {"hosts": ["unix:///run/opt-x", "fd://"]}),
        # What dockerd itself refuses stays as it is.
        ({"config": {"hosts": 1, "data-root": "/srv", "userns-remap": "default"}, "words": ()}, [OVERLAY2],
         {"hosts": 1}),
        ({"config": {"bridge": "br0"}, "there": ("/sys/class/net/br0",)}, [OVERLAY2, "-H=fd://"], {}),
        ({"config": {"bridge": "br9"}}, [OVERLAY2, "-H=fd://"], {"bridge": "br9"}),
        ({"words": ("--bridge=none",)}, [OVERLAY2, "--bridge=none"], {}),
    ],
)  # fmt: skip
def test_it_has_the_hosts_flags_and_file_but_no_place_of_the_hosts(how, words, config):
    assert staged(seen(**how), "/new", "/new.json") == (OWN + words, config)


@pytest.mark.parametrize(
    ("config", "there", "root"),
    [
        ({}, ("/var/lib/docker",), "/var/lib/docker"),
        ({"data-root": "/srv/docker"}, ("/srv",), "/srv"),
        ({"data-root": "relative"}, (), "relative"),
        ({"data-root": "/srv"}, (), "/"),
    ],
)
def test_it_is_on_the_file_system_that_a_start_would_use(config, there, root):
    assert root_of(seen(config, there=there)) == root


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({}, ""),
        ({"config": {"storage-driver": ["zfs"], "bridge": {}}}, ""),
        ({"info": {**INFO, "Driver": "zfs"}}, "storage driver zfs"),
        ({"config": {"storage-driver": "devicemapper"}}, "storage driver devicemapper"),
        ({"info": {**INFO, "SecurityOptions": ["name=rootless"]}}, "rootless"),
    ],
)
def test_some_cannot_be_tried(how, why):
    found = cannot_be_staged(seen(**how))
    assert why in found and bool(why) == bool(found)


def test_what_is_told_is_what_was_obeyed():
    info = {
        **INFO, "LiveRestoreEnabled": True, "DefaultRuntime": "nvidia", "LoggingDriver": "journald",
        "CgroupDriver": "systemd", "Labels": ["a=b"], "Debug": False,
        "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"},
                     "nvidia": {"path": "/usr/bin/nvidia", "runtimeArgs": ["-x"]}},
        "RegistryConfig": {"Mirrors": ["https://mirror/"], "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/8"],
                           "IndexConfigs": {"registry:5000": {"Secure": False}, "docker.io": {"Secure": True}}},
        "DefaultAddressPools": [{"Base": "10.9.0.0/16", "Size": 24}],
    }  # fmt: skip
    waiting = {"log-opts": {"nope": "1"}, "storage-driver": "btrfs", "userns-remap": "default", "builder": {},
               "hosts": ["unix:///run/docker.sock", "tcp://10.0.0.1:2375"]}  # fmt: skip
    assert as_told(seen(waiting, info, ("--label=a=b",))) == {
        "data-root": "/var/lib/docker", "storage-driver": "overlay2", "live-restore": True,
        "default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia", "runtimeArgs": ["-x"]}},
        "log-driver": "journald", "exec-opts": ["native.cgroupdriver=systemd"],
        "registry-mirrors": ["https://mirror/"], "insecure-registries": ["10.0.0.0/8", "registry:5000"],
        "default-address-pools": [{"base": "10.9.0.0/16", "size": 24}], "userns-remap": "default",
        "hosts": ["unix:///run/docker.sock"],
    }  # fmt: skip
    assert as_told(seen({}, CONTAINERD)) == {
        "data-root": "/var/lib/docker", "features": {"containerd-snapshotter": True},
    }  # fmt: skip
