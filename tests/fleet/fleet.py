# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's hosts as the tests see them: modules and playbooks by Ansible, scripts by ssh, all hosts side by side."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import workers
import yaml
from warm import Warm

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Path(sys.executable).parent
"""Where the ansible commands of the Python that runs the tests are."""

KINDS = workers.KINDS
"""The kinds of hosts that are tested, each the name of one host, the oldest engine first."""

ANY_ENGINE = workers.ANY_ENGINE
"""Those of files that are marked any_engine."""

TIME_LIMIT = 600  # seconds, after which any one command counts as hanging: a slow machine takes its time

_TEMPORARY = tempfile.TemporaryDirectory(prefix="fleet-")
"""For playbooks, a worker's inventory, and the sockets of the connections that shell() keeps."""

_LAB = ROOT / ".lab" / "inventory.yml"
INVENTORY = workers.inventory(_LAB, Path(_TEMPORARY.name))

_OWN_CALLBACK = {
    "ANSIBLE_STDOUT_CALLBACK": "fleet_json",
    "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback_plugins")),
}


def choose(kinds):
    """Have the tests from now on run on the hosts of these kinds."""
    workers.inventory(_LAB, Path(_TEMPORARY.name), kinds)
    hosts.cache_clear()


@cache
def hosts():
    """Return the lab's hosts: {name: inventory variables}. Raises LookupError where the lab is not up."""
    if not INVENTORY.exists():
        raise LookupError(f"There is no lab at {INVENTORY}: boot it with `make lab`, then run the tests again.")
    group = yaml.safe_load(INVENTORY.read_text())["build_hosts"]
    if not group["children"]:
        raise LookupError("The lab has no hosts for this worker: `make lab HOSTS=n`, each kind for each, then again.")
    return {
        name: {**group["vars"], **variables}
        for kind in group["children"].values()
        for name, variables in kind["hosts"].items()
    }


def of_store(image_store):
    """Return the names of the hosts whose image store is ``graphdriver`` or ``containerd``."""
    return [name for name, variables in hosts().items() if variables["lab_image_store"] == image_store]


def task(module, options=None, *, check=False, diff=False, per_host=None):
    """Return the Ansible task that runs a module of the collection; for play().

    ``options`` are the same for all hosts, ``per_host`` differs: {option: {host: value}}. What tests make is young, and
    not protected unless they say so.
    """
    options = {**({"protect_for": "0s"} if module == "buildcache_prune" else {}), **(options or {})}
    for option, values in (per_host or {}).items():
        options[option] = "{{ " + json.dumps(values) + "[inventory_hostname] }}"
    return {f"buildfleet.buildcache.{module}": options, "check_mode": check, "diff": diff, "ignore_errors": True}


def play(tasks, on=None, variables=None):
    """Run tasks, one after the other, over SSH on all hosts or those named in ``on``; return a list of {host: result}.

    A task that fails on a host does not keep the next one from running there. ``variables`` are extra variables of
    Ansible. Fails where a host cannot be reached or anything shows a traceback.
    """
    on = list(hosts() if on is None else on)
    if not on:
        return [{} for _task in tasks]
    numbered = [{"name": str(number), **one} for number, one in enumerate(tasks)]
    book = Path(_TEMPORARY.name, f"{threading.get_ident()}.yml")
    book.write_text(json.dumps([{"hosts": on, "gather_facts": False, "tasks": numbered}]))
    command = ["ansible-playbook", "-i", str(INVENTORY), str(book), "-e", json.dumps(variables or {})]
    _status, output = ansible(*command, environment=_OWN_CALLBACK)
    results = [{} for _task in tasks]
    for line in (json.loads(text) for text in output.splitlines() if text.startswith('{"host"')):
        assert line["status"] != "unreachable", line
        results[int(line["task"])][line["host"]] = {**line["result"], "failed": line["status"] == "failed"}
    assert all(set(one) == set(on) for one in results), f"Some results are missing:\n{output}"
    return results


def run(module, options=None, *, on=None, variables=None, **how):
    """Run a module of the collection and return {host: result}; see task() and play()."""
    return play([task(module, options, **how)], on, variables)[0]


def prune(options=None, **how):
    """Run buildcache_prune on hosts where it must succeed and return {host: result}; see run()."""
    return succeeded(run("buildcache_prune", options, **how))


def facts(options=None, **how):
    """Run buildcache_facts on hosts where it must succeed and return {host: the facts}; see run()."""
    results = succeeded(run("buildcache_facts", options, **how))
    return {host: result["ansible_facts"]["buildcache"] for host, result in results.items()}


def succeeded(results):
    """Return {host: result} as it is, if no host failed."""
    for host, result in results.items():
        assert not result["failed"], f"{host}: {result['msg']}"
    return results


_UNPROTECTED = ("-e", "cleanup_protect_for=0s")
"""For playbooks: what tests make is young."""


def playbook(name, *arguments):
    """Run a playbook of the collection by its full name; return its exit status and its output."""
    command = ("ansible-playbook", "-i", str(INVENTORY), f"buildfleet.buildcache.{name}")
    return ansible(*command, *_UNPROTECTED, *arguments)


def playbook_results(name, *arguments, environment=None):
    """Run a playbook of the collection by its full name, with a failure or without; return {task: {host: result}}.

    Of a task that is unreachable the result is what Ansible says of that. Each result has the ``action`` of its task.
    """
    command = ("ansible-playbook", "-i", str(INVENTORY), f"buildfleet.buildcache.{name}")
    command = (*command, *_UNPROTECTED, *arguments)
    _status, output = ansible(*command, environment={**_OWN_CALLBACK, **(environment or {})})
    results = {}
    for line in (json.loads(text) for text in output.splitlines() if text.startswith('{"host"')):
        result = {**line["result"], "failed": line["status"] == "failed", "action": line["action"]}
        results.setdefault(line["task"].rpartition(" : ")[2], {})[line["host"]] = result
    assert results, output
    return results


def ansible(command, *arguments, environment=None):
    """Run one of Ansible's commands in the checkout; return its exit status and its output.

    Fails where the output shows a traceback.
    """
    status, output = _warm(environment).run(command, arguments, TIME_LIMIT) or _cold(command, arguments, environment)
    assert "Traceback" not in output, output
    return status, output


_WARM = {}
"""Warm processes by their environment."""


def _environment(environment):
    sockets = os.path.join(_TEMPORARY.name, "cp")
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets, **(environment or {})}


def _warm(environment):
    key = json.dumps(environment, sort_keys=True)
    return _WARM.setdefault(key, Warm(ROOT, _environment(environment)))


def _cold(command, arguments, environment):
    ended = subprocess.run(
        [COMMANDS / command, *arguments],
        cwd=ROOT,
        env=_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    return ended.returncode, ended.stdout


def shell(script, on=None, interpreter="bash -eu"):
    """Run a script by ssh, on all hosts or those named in ``on``, and return {host: what it printed}.

    ``script`` can be a dict with one script for each host. Fails where a script does.
    """
    everywhere = script if isinstance(script, dict) else hosts()
    names = list(everywhere if on is None else on)

    def one(host):
        text = script[host] if isinstance(script, dict) else script
        ended = subprocess.run(
            [*_ssh(host), interpreter], input=text, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
        assert ended.returncode == 0, f"{host}: exit status {ended.returncode} of\n{text}\n{ended.stderr}"
        return ended.stdout

    with ThreadPoolExecutor(len(names) or 1) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def cut_power(on):
    """Cut the power of hosts, and wait until they have booted again and let us in."""
    known = hosts()
    command = [sys.executable, "-m", "tests.lab", "cut-power", *(known[host]["lab_name"] for host in on)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    # Of the connections of before, nobody tells their masters that they are gone.
    for socket in Path(_TEMPORARY.name).glob("**/*"):
        if socket.is_socket():
            socket.unlink()


def load_image(host, archive):
    """Load an image from an archive of this machine into a host's engine, and return what docker says."""
    with archive.open("rb") as image:
        ended = subprocess.run(
            [*_ssh(host), "docker load"], stdin=image, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
    assert ended.returncode == 0, f"{host}: {ended.stderr}"
    return ended.stdout


def _ssh(host):
    known = hosts()[host]
    options = ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlMaster=auto"]
    options += ["-o", "ControlPersist=20s", "-o", f"ControlPath={_TEMPORARY.name}/%C"]
    options += ["-i", known["ansible_ssh_private_key_file"], *shlex.split(known["ansible_ssh_common_args"])]
    return ["ssh", *options, f"{known['ansible_user']}@{known['ansible_host']}"]
