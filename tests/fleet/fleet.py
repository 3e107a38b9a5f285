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
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / ".lab" / "inventory.yml"
COMMANDS = Path(sys.executable).parent
"""Where the ansible commands of the Python that runs the tests are."""

TIME_LIMIT = 180  # seconds, for any one command

# For the connections that shell() shares.
_SOCKETS = tempfile.TemporaryDirectory(prefix="fleet-")

_OWN_CALLBACK = {
    "ANSIBLE_STDOUT_CALLBACK": "fleet_json",
    "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback_plugins")),
    # Ad-hoc runs take no stdout callback without it.
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
}


@cache
def hosts():
    """Return the lab's hosts: {name: inventory variables}. Raises LookupError where the lab is not up."""
    if not INVENTORY.exists():
        raise LookupError(f"There is no lab at {INVENTORY}: boot it with `make lab`, then run the tests again.")
    group = yaml.safe_load(INVENTORY.read_text())["build_hosts"]
    return {
        name: {**group["vars"], **variables}
        for kind in group["children"].values()
        for name, variables in kind["hosts"].items()
    }


def of_store(image_store):
    """Return the names of the hosts whose image store is ``graphdriver`` or ``containerd``."""
    return [name for name, variables in hosts().items() if variables["lab_image_store"] == image_store]


def run(module, options=None, *, on=None, check=False, diff=False, per_host=None, variables=None):
    """Run a module of the collection over SSH, on all hosts or those named in ``on``, and return {host: result}.

    ``options`` are the same for all hosts, ``per_host`` differs: {option: {host: value}}. ``variables`` are extra
    variables of Ansible. Fails where a host cannot be reached or anything shows a traceback.
    """
    options = dict(options or {})
    for option in per_host or {}:
        options[option] = "{{ per_host[%r][inventory_hostname] }}" % option  # noqa: UP031 (braces)
    command = ["-m", f"buildfleet.buildcache.{module}"]
    # Ansible does not take an empty dict for options.
    command += ["-a", json.dumps(options)] if options else []
    command += ["-e", json.dumps({**(variables or {}), "per_host": per_host or {}})]
    command += ["--check"] * check + ["--diff"] * diff
    pattern = ",".join(on or hosts())
    status, output = ansible("ansible", pattern, "-i", str(INVENTORY), *command, environment=_OWN_CALLBACK)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"host"')]
    results = {line["host"]: line["result"] for line in lines}
    missing = set(on or hosts()) - {line["host"] for line in lines if line["status"] != "unreachable"}
    assert not missing, f"{module} gave no result on {', '.join(sorted(missing))}:\n{output}"
    failed = {line["host"] for line in lines if line["status"] == "failed"}
    for host, result in results.items():
        result["failed"] = host in failed
    assert status == (2 if failed else 0), output
    return results


def prune(options=None, **how):
    """Run buildcache_prune on hosts where it must succeed; see run()."""
    results = run("buildcache_prune", options, **how)
    for host, result in results.items():
        assert not result["failed"], f"{host}: {result['msg']}"
    return results


def facts(options=None, **how):
    """Run buildcache_facts on hosts where it must succeed, and return {host: the facts}; see run()."""
    results = run("buildcache_facts", options, **how)
    for host, result in results.items():
        assert not result["failed"], f"{host}: {result['msg']}"
    return {host: result["ansible_facts"]["buildcache"] for host, result in results.items()}


def playbook(name, *arguments):
    """Run a playbook of the collection by its full name; return its exit status and its output."""
    return ansible("ansible-playbook", "-i", str(INVENTORY), f"buildfleet.buildcache.{name}", *arguments)


def ansible(command, *arguments, environment=None):
    """Run one of Ansible's commands in the checkout; return its exit status and its output.

    Fails where the output shows a traceback.
    """
    ended = subprocess.run(
        [COMMANDS / command, *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert "Traceback" not in ended.stdout, ended.stdout
    return ended.returncode, ended.stdout


def shell(script, on=None, interpreter="bash -eu"):
    """Run a script by ssh, on all hosts or those named in ``on``, and return {host: what it printed}.

    ``script`` can be a dict with one script for each host. Fails where a script does.
    """
    names = list(on or (script if isinstance(script, dict) else hosts()))

    def one(host):
        text = script[host] if isinstance(script, dict) else script
        ended = subprocess.run(
            [*_ssh(host), interpreter], input=text, capture_output=True, text=True, timeout=TIME_LIMIT
        )
        assert ended.returncode == 0, f"{host}: exit status {ended.returncode} of\n{text}\n{ended.stderr}"
        return ended.stdout

    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def _ssh(host):
    known = hosts()[host]
    options = ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlMaster=auto"]
    options += ["-o", "ControlPersist=20s", "-o", f"ControlPath={_SOCKETS.name}/%C"]
    options += ["-i", known["ansible_ssh_private_key_file"], *shlex.split(known["ansible_ssh_common_args"])]
    return ["ssh", *options, f"{known['ansible_user']}@{known['ansible_host']}"]
