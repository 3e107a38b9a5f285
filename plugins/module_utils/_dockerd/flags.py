# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dockerd's flags, and the keys of its configuration file that say the same. Pure."""

from __future__ import annotations

_SHORT = {
    "H": "hosts", "D": "debug", "l": "log-level", "b": "bridge", "p": "pidfile", "s": "storage-driver", "G": "group",
    "g": "data-root",
}  # fmt: skip
"""Flags of one letter (moby, cmd/dockerd/config.go and config_unix.go; -g to 22.06)."""

_LONG = {
    "host": "hosts", "graph": "data-root", "label": "labels", "log-opt": "log-opts", "storage-opt": "storage-opts",
    "exec-opt": "exec-opts", "insecure-registry": "insecure-registries", "registry-mirror": "registry-mirrors",
    "dns-opt": "dns-opts", "default-ulimit": "default-ulimits", "authorization-plugin": "authorization-plugins",
    "node-generic-resource": "node-generic-resources", "default-address-pool": "default-address-pools",
    "cdi-spec-dir": "cdi-spec-dirs", "feature": "features", "add-runtime": "runtimes",
}  # fmt: skip
"""Flags whose key has another name (the same files: the names of the NamedListOpts)."""

_BOTH = {"runtimes", "features", "builder"}
"""Keys that may stand in both (moby, daemon/config/config.go, skipDuplicates and skipValidateOptions)."""

_SWITCHES = {
    "debug", "live-restore", "iptables", "ip6tables", "ip-forward", "ip-masq", "ipv6", "icc", "userland-proxy", "tls",
    "tlsverify", "selinux-enabled", "experimental", "init", "no-new-privileges", "validate", "raw-logs", "rootless",
    "cri-containerd", "disable-legacy-registry", "ip-forward-no-drop", "allow-direct-routing", "help", "version",
}  # fmt: skip
"""Flags that take no word after them (the same files: BoolVar)."""


def parsed(words):
    """Yield (key, value, flag as it stands) for each flag of a command line, without the program."""
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            key = _LONG.get(name[2:], name[2:])
        elif word.startswith("-") and len(word) > 1:
            key = _SHORT.get(word[1], word[1])
            if not equals and len(word) > 2 and key not in _SWITCHES:
                name, equals, value = word[:2], "=", word[2:]
        else:
            continue
        if not equals and key in _SWITCHES:
            value = "true"
        elif not equals:
            value = words.pop(0) if words else ""
        yield key, value, name


def given(words, key):
    """Return the values that a command line gives for a key, in their order."""
    return [value for found, value, _flag in parsed(words) if found == key]


def given_twice(words, config):
    """Return what stands among the flags and in the configuration (a dict) as well: a list of (key, flag)."""
    found = {key: flag for key, _value, flag in parsed(words) if key not in _BOTH and key in config}
    return sorted(found.items())
