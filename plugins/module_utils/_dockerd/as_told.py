# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A configuration by what a running dockerd tells of itself, for where no file is known with which it starts. Pure."""

from __future__ import annotations

from .flags import given
from .look import containerd_store, data_root

_RUNTIMES = ("runc", "io.containerd.")
"""Names of runtimes that dockerd has by itself."""
_LOOPBACK = ("127.0.0.0/8", "::1/128")
"""Registries that dockerd talks to without TLS by itself (moby, registry/config.go)."""
_AS_SET = ("userns-remap", "containerd", "exec-root", "group", "authorization-plugins")
"""Keys that dockerd does not tell of, and without which it would not be found, or not protected, as before. They are as
the file has them."""


def as_told(seen):
    """Return the configuration (a dict) that the dockerd which was Seen is known to obey: keys of its store, of live
    restore, runtimes, logging, registries, labels and addresses that do not stand among its flags."""
    info = seen.info
    registries = info.get("RegistryConfig") or {}
    found = {
        "data-root": data_root(seen.info),
        "storage-driver": None if containerd_store(info) else info.get("Driver"),
        "features": {"containerd-snapshotter": True} if containerd_store(info) else None,
        "live-restore": info.get("LiveRestoreEnabled") or None,
        "runtimes": _runtimes(info),
        "default-runtime": _unless(info.get("DefaultRuntime"), "runc"),
        "log-driver": _unless(info.get("LoggingDriver"), "json-file"),
        "exec-opts": [f"native.cgroupdriver={info['CgroupDriver']}"] if info.get("CgroupDriver") else None,
        "registry-mirrors": registries.get("Mirrors"),
        "insecure-registries": _insecure(registries),
        "labels": info.get("Labels"),
        "default-address-pools": _pools(info),
        "debug": info.get("Debug") or None,
        "experimental": info.get("ExperimentalBuild") or None,
        "hosts": _sockets(seen.config.get("hosts")),
        **{key: seen.config.get(key) for key in _AS_SET},
    }
    return {key: value for key, value in found.items() if value and not given(seen.words, key)}


def _unless(value, default):
    return None if value == default else value


def _runtimes(info):
    return {
        name: {"path": one["path"], **({"runtimeArgs": one["runtimeArgs"]} if one.get("runtimeArgs") else {})}
        for name, one in (info.get("Runtimes") or {}).items()
        if not name.startswith(_RUNTIMES) and one.get("path")
    }


def _insecure(registries):
    names = [name for name, one in (registries.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    return sorted({*(registries.get("InsecureRegistryCIDRs") or ()), *names} - set(_LOOPBACK))


def _sockets(hosts):
    # An address of the network may be what dockerd could not listen at.
    return [one for one in hosts if str(one).startswith(("unix:", "fd:"))] if isinstance(hosts, list) else None


def _pools(info):
    return [{"base": one["Base"], "size": one["Size"]} for one in info.get("DefaultAddressPools") or ()]
