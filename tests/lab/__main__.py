# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's commands: python3 -m tests.lab up|down|status, from the repository's root."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import host as hosts
from . import machine, network, recipes, rootfs
from .inventory import Host, Lab
from .shell import LabError, Unsuitable, check_interrupt, interrupt


def main() -> int:
    """Run one command; 0 where it went well, 1 where not, 2 where this machine cannot run the lab, 130 interrupted."""
    options = _parser().parse_args()
    lab = Lab(Path(__file__).parents[2])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        machine.check()
        with _lock(lab):
            lab.load()
            return options.command(lab, options)
    except Unsuitable as error:
        print(error, file=sys.stderr)
        return 2
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `make lab-down` removes what was made so far", file=sys.stderr)
        return 130


def up(lab: Lab, options: argparse.Namespace) -> int:
    """Boot the wanted hosts that do not run yet; those that run and are right stay as they are."""
    wanted = _wanted(options)
    machine.check_directory(lab.directory)
    machine.prepare()
    roots = _root_file_systems(wanted, options)
    public_key = lab.make_key()
    lab.subnet = network.create_bridge(lab.bridge)
    kept = _kept(lab, roots, options.disk)
    if options.buildkit_image:
        lab.buildkit_image = os.path.abspath(options.buildkit_image)
    missing = {name: kind for name, kind in wanted.items() if name not in kept}
    new = _new_hosts(lab, missing, roots, options.disk or "4G")
    lab.save()
    guard = threading.Lock()

    def bring_up(name: str) -> None:
        began = time.monotonic()
        host = kept.get(name) or new[name]
        if name in new:
            hosts.boot(lab, host, public_key)
            with guard:
                lab.hosts[name] = host
                lab.save()
            hosts.check_ready(lab, host)
            _check_image_store(host)
        if options.buildkit_image and host.has_buildx:
            with open(options.buildkit_image, "rb") as image:
                lab.ssh(host, "docker load", stdin=image, timeout=300)
        print(_line(host, f"{time.monotonic() - began:.1f} s" if name in new else "kept"), flush=True)

    # More at once only take longer, each of them and all together.
    _in_parallel(max(4, 2 * (os.cpu_count() or 1)), bring_up, wanted)
    lab.save()
    print(f"hosts up: {len(wanted)}; inventory: {lab.directory / 'inventory.yml'}")
    return 0


def down(lab: Lab, options: argparse.Namespace) -> int:
    """End every host and remove all that the lab made; the cache of root file systems stays."""
    del options
    left = hosts.names_left(lab)
    _in_parallel(8, lambda name: hosts.stop(lab, name), left)
    network.remove_bridge(lab.bridge)
    for path in (lab.directory / "state.json", lab.directory / "inventory.yml"):
        path.unlink(missing_ok=True)
    for directory in (lab.hosts_directory, lab.ssh_directory):
        rootfs.remove_tree(directory)
    print(f"hosts down: {len(left)}")
    return 0


def cut_power(lab: Lab, options: argparse.Namespace) -> int:
    """Cut the power of running hosts, and boot them again."""
    unknown = [name for name in options.names if name not in lab.hosts]
    if unknown:
        raise LabError(f"{', '.join(unknown)}: no such host is up")
    _in_parallel(8, lambda name: hosts.cut_power(lab, lab.hosts[name]), options.names)
    lab.save()
    return 0


def status(lab: Lab, options: argparse.Namespace) -> int:
    """Print one line for each host; 1 where there is none or one does not run."""
    del options
    all_run = bool(lab.hosts)
    for host in lab.hosts.values():
        running = hosts.is_running(lab, host)
        all_run &= running
        print(_line(host, "up" if running else "DEAD"))
    if not lab.hosts:
        print("no host is up")
    return 0 if all_run else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description="Real Docker build hosts on one machine.")
    commands = parser.add_subparsers(required=True, metavar="up|down|status|cut-power")
    boot = commands.add_parser("up", help="boot hosts and write .lab/inventory.yml")
    boot.add_argument("--hosts", default="4", help="how many, spread over the kinds, or their names with commas")
    boot.add_argument("--kinds", default="", help="those that a number is spread over, with commas; all if not given")
    boot.add_argument("--extra", action="extend", nargs="+", default=[], metavar="NAME=/DIR", help="hosts of your own")
    boot.add_argument("--buildkit-image", metavar="TAR", help="image to load into every host that has buildx")
    boot.add_argument("--disk", metavar="SIZE", help="size of each data disk, as in 4G (the default)")
    boot.set_defaults(command=up)
    commands.add_parser("down", help="remove everything but the cache").set_defaults(command=down)
    power = commands.add_parser("cut-power", help="kill the init of hosts, and boot them again")
    power.add_argument("names", nargs="+", metavar="HOST")
    power.set_defaults(command=cut_power)
    commands.add_parser("status", help="show the hosts").set_defaults(command=status)
    return parser


@contextmanager
def _lock(lab: Lab):
    lab.directory.mkdir(exist_ok=True)
    with open(lab.directory / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another lab command of this checkout", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wanted(options: argparse.Namespace) -> dict[str, str]:
    """The wanted hosts' kinds by name; raises LabError for options that cannot be met."""
    wanted = recipes.spread(options.hosts, options.kinds)
    for name, _path in map(recipes.parse_extra, options.extra):
        wanted[name] = "extra"
    if options.disk and not re.fullmatch(r"[1-9][0-9]*[MG]", options.disk):
        raise LabError(f"--disk {options.disk}: give megabytes or gigabytes, as in 512M or 4G")
    if options.buildkit_image and not os.access(options.buildkit_image, os.R_OK):
        raise LabError(f"--buildkit-image {options.buildkit_image}: there is no such file")
    return wanted


def _root_file_systems(wanted: dict[str, str], options: argparse.Namespace) -> dict[str, Path]:
    """Each wanted host's root file system; those that the cache lacks are made, two side by side."""
    extra = {name: Path(path).resolve() for name, path in map(recipes.parse_extra, options.extra)}
    for name, path in extra.items():
        if not path.is_dir():
            raise LabError(f"--extra {name}={path}: there is no such directory")
        lacking = rootfs.missing(path)
        if lacking:
            raise LabError(f"--extra {name}={path}: the root file system lacks {', '.join(lacking)}")
    recipe_of = {name: recipes.KINDS[kind].recipe for name, kind in wanted.items() if name not in extra}
    suites = {recipe.suite: recipe for recipe in recipe_of.values()}
    made = _in_parallel(2, lambda suite: rootfs.ensure(suites[suite]), suites)
    return {**{name: made[recipe.suite] for name, recipe in recipe_of.items()}, **extra}


def _kept(lab: Lab, roots: dict[str, Path], disk: str | None) -> dict[str, Host]:
    """The wanted hosts that run and are right; those that ended, or are not right, are taken off the lab's list."""

    def is_right(name: str) -> bool:
        host = lab.hosts[name]
        if not hosts.is_running(lab, host):
            return False
        if name not in roots:
            return True
        if host.rootfs != str(roots[name]) or disk not in (None, host.disk):
            return False
        try:
            hosts.check_ready(lab, host)
        except LabError:
            check_interrupt()
            return False
        return True

    for name, right in _in_parallel(8, is_right, lab.hosts).items():
        if not right:
            hosts.stop(lab, name)
            del lab.hosts[name]
    return {name: host for name, host in lab.hosts.items() if name in roots}


def _new_hosts(lab: Lab, kinds: dict[str, str], roots: dict[str, Path], disk: str) -> dict[str, Host]:
    """Records for hosts yet to be booted, each with an address of its own."""
    used = {host.number for host in lab.hosts.values()}
    new = {}
    for name, kind in kinds.items():
        # An address is not used again at once: see network._free_subnet.
        order = (*range(lab.last_number + 1, 255), *range(11, 255))
        number = next((number for number in order if number not in used), None)
        if number is None:
            raise LabError("All addresses of the lab's subnet are in use: run `make lab-down` first")
        used.add(number)
        lab.last_number = number
        new[name] = Host(
            name=name,
            kind=kind,
            rootfs=str(roots[name]),
            disk=disk,
            number=number,
            address=network.address(lab.subnet, number),
            has_buildx=rootfs.has_buildx(roots[name]),
        )
    return new


def _check_image_store(host: Host) -> None:
    kind = recipes.KINDS.get(host.kind)
    if kind and kind.image_store != host.image_store:
        raise LabError(f"{host.name}: its engine uses the {host.image_store} store, wanted is {kind.image_store}")


def _line(host: Host, last: str) -> str:
    return f"{host.name:14} {host.address:15} {host.engine:15} {host.image_store:12} {last}"


def _in_parallel(workers: int, work, names) -> dict:
    """Do `work` for each name and return the results by name; raise LabError with all that failed.

    An interrupt ends the running commands.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = {name: pool.submit(work, name) for name in names}
        try:
            errors = [error for error in (future.exception() for future in futures.values()) if error]
        except KeyboardInterrupt:
            interrupt()
            pool.shutdown(cancel_futures=True)
            raise
    for error in errors:
        if not isinstance(error, LabError):
            raise error
    if errors:
        raise LabError("\nlab: ".join(map(str, errors)))
    return {name: future.result() for name, future in futures.items()}


if __name__ == "__main__":
    sys.exit(main())
