# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: its disk, its overlay, its boot, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import machine, network, rootfs
from .inventory import Host, Lab
from .recipes import KINDS
from .shell import LabError, check_interrupt, run

_BOOT_SECONDS = 120


def boot(lab: Lab, host: Host, public_key: str) -> None:
    """Boot a host on a fresh disk and overlay, and wait until its engine and its sshd answer.

    Fills in the process ids, the host key and the image store. Raises LabError where a step fails, with where the
    host's console log is.
    """
    directory = lab.hosts_directory / host.name
    stop(lab, host.name)
    for name in ("upper", "work", "root", "disk"):
        (directory / name).mkdir(parents=True)
    _make_disk(directory, host.disk)
    overlay = f"lowerdir={host.rootfs},upperdir={directory}/upper,workdir={directory}/work"
    run("mount", "-t", "overlay", "-o", overlay, "buildcache-lab", str(directory / "root"))
    _write_own_files(directory, host, public_key)
    _power_on(lab, host, _answers, "its engine or its sshd")


def cut_power(lab: Lab, host: Host) -> None:
    """Kill a host's init, and boot the host again with the files that it had, until its sshd answers.

    Fills in the process ids. Raises LabError where it does not boot.
    """
    _end(lab, host.name)
    _remove_cgroup(_cgroup(lab, host.name))
    _power_on(lab, host, _lets_in, "its sshd")


def _power_on(lab: Lab, host: Host, is_up, what: str) -> None:
    directory = lab.hosts_directory / host.name
    nspawn = _start(lab, host.name)
    deadline = time.monotonic() + _BOOT_SECONDS

    def wait(what: str) -> None:
        check_interrupt()
        failure = "ended while booting" if nspawn.poll() is not None else f"{what} did not come up in {_BOOT_SECONDS} s"
        if nspawn.poll() is not None or time.monotonic() > deadline:
            console = directory / "console.log"
            last = "\n".join(console.read_text(errors="replace").splitlines()[-8:])
            raise LabError(f"{host.name}: {failure}. Its console ({console}) ends with:\n{last}")
        time.sleep(0.1)

    host.nspawn_pid = nspawn.pid
    while not (init_pid := _init_of(nspawn.pid)) or _is_nspawn(init_pid):
        wait("its init")
    host.init_pid = init_pid
    network.plug_in(init_pid, lab.subnet, host.number)
    while not is_up(host):
        wait(what)


def check_ready(lab: Lab, host: Host) -> None:
    """Fill in the engine's version, asked over SSH; raise LabError where it does not answer within 30 s."""
    host.engine = lab.ssh(host, "docker version --format '{{.Server.Version}}'", timeout=30).strip()


def is_running(lab: Lab, host: Host) -> bool:
    """Whether the host's own processes, as its record has them, still run."""
    return _supervisors(lab).get(host.name) == host.nspawn_pid and _init_of(host.nspawn_pid) == host.init_pid


def engine_info(init_pid: int, timeout: float = 10) -> dict:
    """What the engine's /info says, read from its socket; raises OSError where it does not answer in time (seconds)."""
    connection = _UnixConnection(f"/proc/{init_pid}/root/run/docker.sock", timeout)
    try:
        connection.request("GET", "/info")
        response = connection.getresponse()
        return json.loads(response.read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no proper answer from the engine: {error!r}") from None
    finally:
        connection.close()


def image_store(info: dict) -> str:
    """The image store, `graphdriver` or `containerd`, that an engine's /info tells of."""
    containerd = any("io.containerd.snapshotter" in value for _key, value in info.get("DriverStatus") or [])
    return "containerd" if containerd else "graphdriver"


def stop(lab: Lab, name: str) -> None:
    """End a host and remove all that it had, however much of it there is.

    Its disk is thrown away, so its init is killed rather than asked. Raises LabError where something outside the
    host holds its files.
    """
    _end(lab, name)
    rootfs.remove_tree(lab.hosts_directory / name)
    _remove_cgroup(_cgroup(lab, name))


def _end(lab: Lab, name: str) -> None:
    nspawn_pid = _supervisors(lab).get(name)
    if nspawn_pid:
        init_pid = _init_of(nspawn_pid)
        # With its init gone nspawn tidies up after itself.
        _kill(init_pid or nspawn_pid)
        for attempt in range(200):
            if name not in _supervisors(lab):
                break
            if attempt == 100:
                _kill(nspawn_pid)
            time.sleep(0.05)


def names_left(lab: Lab) -> list[str]:
    """The names of all hosts of which anything is left, in whatever state."""
    left = set(_supervisors(lab))
    if lab.hosts_directory.is_dir():
        left.update(entry.name for entry in lab.hosts_directory.iterdir())
    prefix = _cgroup(lab, "").name
    left.update(path.name[len(prefix) :] for path in _cgroup(lab, "").parent.glob(f"{prefix}*"))
    return sorted(left)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _make_disk(directory: Path, size: str) -> None:
    image = directory / "disk.img"
    run("truncate", f"--size={size}", str(image))
    run("mkfs.ext4", "-q", "-F", "-m", "1", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(image))
    # noinit_itable: no background writes that would disturb a measurement.
    run("mount", "-o", "loop,noinit_itable", str(image), str(directory / "disk"))
    for name in ("docker", "containerd"):
        (directory / "disk" / name).mkdir(mode=0o711)


def _write_own_files(directory: Path, host: Host, public_key: str) -> None:
    key = directory / "host_key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key))
    host.host_key = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{host.address} {host.name}\n",
        "etc/machine-id": f"{os.urandom(16).hex()}\n",
        # A network service in the host would take away the address that plug_in gives.
        "etc/systemd/network/00-lab.network": "[Match]\nName=host0\n\n[Link]\nUnmanaged=yes\n",
        "etc/ssh/ssh_host_ed25519_key": key.read_text(),
        "etc/ssh/ssh_host_ed25519_key.pub": key.with_suffix(".pub").read_text(),
        "root/.ssh/authorized_keys": public_key,
    }
    daemon_json = KINDS[host.kind].daemon_json if host.kind in KINDS else {}
    if daemon_json:
        files["etc/docker/daemon.json"] = json.dumps(daemon_json, indent=2) + "\n"
    root = directory / "root"
    for name, content in files.items():
        path = root / name
        if root not in path.resolve().parents:
            raise LabError(f"{host.rootfs}/{name} leads out of the root file system by a symbolic link: make it a file")
        path.parent.mkdir(mode=0o700 if name.startswith("root/") else 0o755, parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o600 if name.endswith("_key") or name.startswith("root/") else 0o644)


def _start(lab: Lab, name: str) -> subprocess.Popen:
    directory = lab.hosts_directory / name
    nspawn = [
        "systemd-nspawn", "--quiet", f"--directory={directory}/root", f"--machine={lab.id}-{name}",
        f"--hostname={name}", "--register=no", "--keep-unit", "--boot", f"--network-bridge={lab.bridge}",
        "--capability=all", "--system-call-filter=add_key keyctl bpf", "--resolv-conf=off", "--timezone=off",
        f"--bind={directory}/disk/docker:/var/lib/docker",
        f"--bind={directory}/disk/containerd:/var/lib/containerd",
    ]  # fmt: skip
    # Each host needs a control group of its own: nspawn divides the one that it is started in, and would have all
    # hosts share the part for their payload.
    if machine.runs_systemd():
        scope = f"--unit={_cgroup(lab, name).name}"
        command = ["systemd-run", "--quiet", "--scope", "--collect", "--property=Delegate=yes", scope, *nspawn]
    else:
        cgroup = _cgroup(lab, name)
        cgroup.mkdir(exist_ok=True)
        command = ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(cgroup), *nspawn]
    with open(directory / "console.log", "wb") as console:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _is_nspawn(init_pid: int) -> bool:
    """Whether an init is still nspawn's own child, which has no network yet and is about to run the real one."""
    try:
        return os.path.basename(os.readlink(f"/proc/{init_pid}/exe")) == "systemd-nspawn"
    except OSError:
        return True


def _answers(host: Host) -> bool:
    """Whether engine and sshd answer; the engine tells its image store."""
    try:
        host.image_store = image_store(engine_info(host.init_pid))
        return _lets_in(host)
    except OSError:
        return False


def _lets_in(host: Host) -> bool:
    try:
        with socket.create_connection((host.address, 22), timeout=5) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _supervisors(lab: Lab) -> dict[str, int]:
    """The lab's running systemd-nspawn processes by host name, found by their command lines."""
    prefix = f"--machine={lab.id}-"
    found = {}
    for pid in _pids():
        command = _command_line(pid)
        if command and os.path.basename(command[0]) == "systemd-nspawn":
            for word in command:
                if word.startswith(prefix):
                    found[word[len(prefix) :]] = pid
    return found


def _init_of(nspawn_pid: int) -> int | None:
    """The child of an nspawn process that is process 1 in its own namespace."""
    for pid in _pids():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["PPid"] == str(nspawn_pid) and fields["NSpid"].split()[1:] == ["1"]:
            return pid
    return None


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _cgroup(lab: Lab, name: str) -> Path:
    return (machine.cgroup2_mount() or Path("/sys/fs/cgroup")) / f"buildcache-lab-{lab.id}-{name}"


def _remove_cgroup(cgroup: Path) -> None:
    for directory, _subdirectories, _files in os.walk(cgroup, topdown=False):
        for attempt in range(50):
            try:
                os.rmdir(directory)
                break
            except OSError:
                # Its last processes are still going.
                if attempt == 49:
                    raise LabError(f"{directory} cannot be removed: see its cgroup.procs for what runs there") from None
                time.sleep(0.1)
