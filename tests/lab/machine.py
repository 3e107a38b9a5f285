# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the lab runs on: is it fit, what does it lack, and where does it get its packages."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .shell import LabError, Unsuitable, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INOTIFY_INSTANCES = 8192

_COMMANDS = {
    "mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2", "nsenter": "util-linux",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "mkfs.ext4": "e2fsprogs", "mount": "mount",
    "losetup": "mount",
}  # fmt: skip
_SUITES = {"bookworm", "trixie", "forky", "oldstable", "stable", "testing", "unstable", "sid"}
_CAP_SYS_ADMIN = 21
_INSTEAD = "Run the playbooks against an inventory of your own hosts instead; README.md says how."


def prepare() -> None:
    """Make this machine ready for the lab: check it, install missing packages, raise the inotify limit.

    Raises Unsuitable where it cannot run the lab, LabError where apt-get fails.
    """
    check()
    _install_missing()
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    # Each host's systemd takes several instances of the one root user.
    if int(limit.read_text()) < INOTIFY_INSTANCES:
        limit.write_text(str(INOTIFY_INSTANCES))


def check() -> None:
    """Raise Unsuitable, with every reason, where this machine cannot run the lab."""
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    release = os_release()
    reasons = []
    if "debian" not in (release.get("ID"), *release.get("ID_LIKE", "").split()) or not shutil.which("apt-get"):
        reasons.append("it is not Debian or a relative of Debian with apt-get")
    elif os.geteuid() != 0:
        reasons.append("you are not root")
    elif not _has_capability(_CAP_SYS_ADMIN):
        reasons.append("root may not mount file systems here (no CAP_SYS_ADMIN), as in an unprivileged container")
    elif not _has_file_system("overlay"):
        reasons.append("its kernel has no overlay file system")
    elif not os.path.exists("/dev/loop-control"):
        reasons.append("its kernel has no loop devices (/dev/loop-control is missing)")
    elif cgroup2_mount() is None:
        reasons.append("no cgroup2 hierarchy is mounted")
    if reasons:
        raise Unsuitable(f"This machine cannot run the lab: {'; '.join(reasons)}. {_INSTEAD}")


def check_directory(directory: Path) -> None:
    """Raise LabError where the lab's mounts cannot be in this directory."""
    if re.search(r"[:,\\\s]", str(directory)):
        raise LabError(f"{directory}: the lab's mounts need a path without spaces, colons, commas and backslashes")
    if run("stat", "--file-system", "--format=%T", str(directory)).strip() == "overlayfs":
        raise Unsuitable(f"{directory} is on an overlay file system, which carries no other: use a checkout on a disk")


def os_release(path: str = "/etc/os-release") -> dict[str, str]:
    """The fields of os-release, without their quotes; empty where there is no such file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip("\"'") for key, _separator, value in (line.partition("=") for line in lines)}


def cgroup2_mount() -> Path | None:
    """Where the cgroup2 hierarchy is mounted, or None."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _dash, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return Path(before.split()[4])
    return None


def runs_systemd() -> bool:
    """Whether this machine's own init is systemd."""
    return os.path.isdir("/run/systemd/system")


def mirror() -> str:
    """The Debian mirror that this machine's own apt sources name, or LAB_MIRROR; raises LabError where none does."""
    given = os.environ.get("LAB_MIRROR")
    if given:
        return given
    etc = Path("/etc/apt")
    for path in (etc / "sources.list", *sorted(etc.glob("sources.list.d/*"))):
        if path.suffix in (".list", ".sources") and path.is_file():
            parse = deb822_sources if path.suffix == ".sources" else one_line_sources
            for uri, suites, components in parse(path.read_text()):
                if uri.startswith(("http://", "https://", "file:")) and _SUITES & set(suites) and "main" in components:
                    return uri
    raise LabError("No apt source of this machine names a Debian mirror: give one's address in LAB_MIRROR")


def one_line_sources(text: str) -> list[tuple[str, list[str], list[str]]]:
    """The `deb` lines of a sources.list as (URI, suites, components)."""
    sources = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), len(words))
            words = words[:1] + words[end + 1 :]
        if len(words) >= 3:
            sources.append((words[1], [words[2]], words[3:]))
    return sources


def deb822_sources(text: str) -> list[tuple[str, list[str], list[str]]]:
    """The enabled `deb` stanzas of a .sources file as (URI, suites, components), one for each URI."""
    sources = []
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    for stanza in "\n".join(lines).replace("\n ", " ").replace("\n\t", " ").split("\n\n"):
        pairs = (line.partition(":") for line in stanza.splitlines())
        fields = {key.strip().lower(): value.split() for key, _separator, value in pairs}
        if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
            for uri in fields.get("uris", []):
                sources.append((uri, fields.get("suites", []), fields.get("components", [])))
    return sources


def _install_missing() -> None:
    packages = {package for command, package in _COMMANDS.items() if not shutil.which(command)}
    if not KEYRING.exists():
        packages.add("debian-archive-keyring")
    if packages:
        print(f"installing {' '.join(sorted(packages))}", flush=True)
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        install = ("apt-get", "install", "-qq", "--no-install-recommends", *sorted(packages))
        try:
            run(*install)
        except LabError:
            # A fresh machine has no package lists yet, or outdated ones.
            run("apt-get", "update", "-qq")
            run(*install)


def _has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)


def _has_file_system(name: str) -> bool:
    listed = Path("/proc/filesystems")
    if name not in listed.read_text().split() and shutil.which("modprobe"):
        try:
            run("modprobe", name)
        except LabError:
            return False
    return name in listed.read_text().split()
