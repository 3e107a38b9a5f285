# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of build host, and what goes into each one's root file system."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field

from .shell import LabError

_PACKAGES = (
    "busybox-static", "ca-certificates", "dbus", "docker-registry", "docker.io", "iproute2", "iptables",
    "openssh-server", "procps",
    "python3", "python3-docker", "python3-paramiko", "systemd-sysv", "util-linux",
)  # fmt: skip
_CLI_PACKAGES = ("docker-cli", "docker-buildx")

# They cost time or memory in every boot and have nothing to do in a container. Single timers rather than
# timers.target, so that timers which a test installs do run. The registry is run by the tests that push and pull.
_MASKED = (
    "apt-daily-upgrade.timer", "apt-daily.timer", "console-getty.service", "dev-hugepages.mount",
    "docker-registry.service",
    "dpkg-db-backup.timer", "fstrim.timer", "getty.target", "kmod-static-nodes.service", "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount", "sshd-keygen.service", "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-binfmt.service",
    "systemd-firstboot.service", "systemd-hibernate-clear.service", "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service", "systemd-logind-varlink.socket", "systemd-logind.service",
    "systemd-modules-load.service", "systemd-networkd.service", "systemd-networkd.socket", "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service", "systemd-pstore.service",
    "systemd-random-seed.service", "systemd-repart.service", "systemd-resolved.service", "systemd-tmpfiles-clean.timer",
    "systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service", "systemd-udevd.service",
    "systemd-update-done.service", "systemd-update-utmp-runlevel.service", "systemd-update-utmp.service", "tmp.mount",
)  # fmt: skip

_OPTIONS = (
    "--mode=root", "--variant=apt", "--format=directory", "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
    # The Release files of testing suites can be expired.
    '--aptopt=Acquire::Check-Valid-Until "false"',
)  # fmt: skip

_FILES = {
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
    "etc/ssh/sshd_config.d/lab.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\n",
    "etc/fstab": "",
    # There is no name server: without one, look-ups fail at once.
    "etc/resolv.conf": "",
}


@dataclass(frozen=True)
class Recipe:
    """What a root file system is made of."""

    suite: str
    packages: tuple[str, ...]
    options: tuple[str, ...] = _OPTIONS
    masked: tuple[str, ...] = _MASKED
    files: dict[str, str] = field(default_factory=lambda: dict(_FILES))

    def digest(self) -> str:
        """Twelve hexadecimal digits that change whenever anything in the recipe does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Kind:
    """One kind of build host: an engine version with an image store (`graphdriver` or `containerd`)."""

    name: str
    recipe: Recipe
    image_store: str
    daemon_json: dict = field(default_factory=dict)


_BOOKWORM = Recipe("bookworm", _PACKAGES)
_TRIXIE = Recipe("trixie", _PACKAGES + _CLI_PACKAGES)
_FORKY = Recipe("forky", _PACKAGES + _CLI_PACKAGES)

KINDS = {
    kind.name: kind
    for kind in (
        Kind("docker20", _BOOKWORM, "graphdriver"),
        Kind("docker26", _TRIXIE, "graphdriver"),
        Kind("docker28", _FORKY, "graphdriver"),
        Kind("docker28c", _FORKY, "containerd", {"features": {"containerd-snapshotter": True}}),
    )
}


def spread(hosts: str, of_kinds: str = "") -> dict[str, str]:
    """Map host names to kind names, for a number of hosts or a comma-separated list of host names.

    A number goes round the kinds, all or those of a comma-separated list: docker20, docker26, docker28, docker28c,
    docker20-2, and so on. A listed name is a kind's, or a kind's with a number: docker28c-3. Raises LabError for
    anything else.
    """
    kinds = of_kinds.split(",") if of_kinds else list(KINDS)
    if not set(kinds) <= set(KINDS):
        raise LabError(f"--kinds {of_kinds}: the kinds are {', '.join(KINDS)}")
    if hosts.isdigit():
        if not 1 <= int(hosts) <= 200:
            raise LabError(f"--hosts {hosts}: a lab has 1 to 200 hosts")
        rounds = (divmod(i, len(kinds)) for i in range(int(hosts)))
        return {kinds[k] if turn == 0 else f"{kinds[k]}-{turn + 1}": kinds[k] for turn, k in rounds}
    named = {}
    for name in hosts.split(","):
        kind, _dash, number = name.partition("-")
        if kind not in KINDS or (number or "-" in name) and not re.fullmatch(r"[1-9][0-9]{0,2}", number):
            raise LabError(f"--hosts {hosts}: {name!r} is neither a kind ({', '.join(KINDS)}) nor one with a number")
        named[name] = kind
    return named


def parse_extra(text: str) -> tuple[str, str]:
    """Split `name=/path/to/rootfs`; raise LabError where the name is not fit for a host or is a kind's."""
    name, _equals, path = text.partition("=")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name) or name.partition("-")[0] in KINDS:
        raise LabError(
            f"--extra {text}: give name=/path/to/rootfs, with a name of up to 20 small letters, digits and hyphens"
            f" that does not begin like one of the kinds ({', '.join(KINDS)})"
        )
    if not path.startswith("/"):
        raise LabError(f"--extra {text}: give the root file system's absolute path, as in {name}=/srv/rootfs")
    return name, path
