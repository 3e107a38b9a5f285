# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab knows of itself: its files in .lab/, its state, and the inventory for Ansible."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from .shell import LabError, run


@dataclass
class Host:
    """One running host, as state.json has it."""

    name: str
    kind: str
    rootfs: str
    disk: str
    number: int
    address: str
    has_buildx: bool
    host_key: str = ""
    nspawn_pid: int = 0
    init_pid: int = 0
    engine: str = ""
    image_store: str = ""


class Lab:
    """The lab of one checkout. Every name on the machine outside .lab/ carries `id`, so no two labs meet."""

    def __init__(self, checkout: Path):
        self.root = checkout.resolve()
        self.id = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        self.directory = self.root / ".lab"
        self.hosts_directory = self.directory / "hosts"
        self.ssh_directory = self.directory / "ssh"
        self.bridge = f"bcl-{self.id}"
        self.subnet = ""
        self.last_number = 10
        self.buildkit_image = ""
        self.hosts: dict[str, Host] = {}

    def load(self) -> None:
        """Read state.json where there is one; raise LabError where it is another checkout's."""
        try:
            state = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            return
        if state["root"] != str(self.root):
            raise LabError(
                f"{self.directory} is the lab of {state['root']}. If this checkout is a copy, remove its .lab;"
                " if it was moved while its lab was up, move it back and run `make lab-down` there"
            )
        self.subnet, self.last_number = state["subnet"], state["last_number"]
        self.buildkit_image = state.get("buildkit_image", "")
        self.hosts = {name: Host(**fields) for name, fields in state["hosts"].items()}

    def save(self) -> None:
        """Write state.json, inventory.yml and ssh/known_hosts for the hosts that run."""
        hosts = {name: asdict(host) for name, host in sorted(self.hosts.items())}
        state = {"root": str(self.root), "id": self.id, "bridge": self.bridge, "subnet": self.subnet}
        state.update(last_number=self.last_number, buildkit_image=self.buildkit_image, hosts=hosts)
        _replace(self.directory / "state.json", json.dumps(state, indent=2) + "\n")
        known = "".join(f"{host.address} {host.host_key}\n" for host in self.hosts.values())
        _replace(self.ssh_directory / "known_hosts", known)
        _replace(self.directory / "inventory.yml", "---\n" + _yaml(self.inventory()))

    def inventory(self) -> dict:
        """The inventory: group build_hosts, with a child group kind_KIND for each kind."""
        groups: dict = {}
        for host in sorted(self.hosts.values(), key=lambda host: host.number):
            group = groups.setdefault("kind_" + host.kind, {"hosts": {}})
            group["hosts"][host.name] = {
                "ansible_host": host.address,
                "lab_name": host.name,
                "lab_kind": host.kind,
                "lab_image_store": host.image_store,
                "lab_data_disk": str(self.hosts_directory / host.name / "disk"),
                "lab_init_pid": host.init_pid,
                "lab_has_buildx": host.has_buildx,
            }
        common = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.ssh_directory / "id_ed25519"),
            "ansible_ssh_common_args": shlex.join(self.ssh_options()),
            "ansible_python_interpreter": "/usr/bin/python3",
            # Where the tests find it again, which remove every image from the hosts.
            "lab_buildkit_image": self.buildkit_image,
        }
        return {"build_hosts": {"vars": common, "children": groups}}

    def ssh_options(self) -> list[str]:
        """The options by which ssh trusts the lab's own keys and nothing else."""
        known_hosts = self.ssh_directory / "known_hosts"
        options = (f"UserKnownHostsFile={known_hosts}", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes")
        return [word for option in options for word in ("-o", option)]

    def ssh(self, host: Host, command: str, **options) -> str:
        """Run a shell command on a host and return its output; `options` go to `shell.run`."""
        key = str(self.ssh_directory / "id_ed25519")
        batch = ("-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
        return run("ssh", *batch, "-i", key, *self.ssh_options(), f"root@{host.address}", command, **options)

    def make_key(self) -> str:
        """The public half of the lab's SSH key, which is made where there is none."""
        key = self.ssh_directory / "id_ed25519"
        self.ssh_directory.mkdir(parents=True, exist_ok=True)
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "buildcache-lab", "-f", str(key))
        return key.with_suffix(".pub").read_text()


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, so that a reader never sees half of it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def _yaml(node: dict, depth: int = 0) -> str:
    """Nested mappings as block YAML; JSON spells their scalars."""
    lines = []
    for key, value in node.items():
        if isinstance(value, dict) and value:
            lines.append("  " * depth + f"{key}:\n" + _yaml(value, depth + 1))
        else:
            lines.append("  " * depth + f"{key}: {json.dumps(value)}\n")
    return "".join(lines)
