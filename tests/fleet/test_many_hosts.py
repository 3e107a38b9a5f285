# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of many names, of which some are away, silent, slow, broken or die amid the run: each has its row, once."""

from __future__ import annotations

import csv
import json
import re
import shlex
import socket
import sys
from collections import Counter

import fleet
import pytest
from test_playbooks import recap
from variants import variants

pytestmark = pytest.mark.any_engine

_DIES = """#!/bin/sh
# Python, but for the connection that asked for it: that is cut.
process=$$
while ! grep -q ^sshd /proc/$process/comm; do process=$(awk '/^PPid:/ {print $2}' /proc/$process/status); done
kill -9 $process
"""
_NO_ENGINE = """#!/bin/sh
DOCKER_HOST=unix:///nonexistent.sock exec /usr/bin/python3 "$@"
"""
_RELAY = """
import os, socket, sys, threading, time
time.sleep(1)
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def send():
    while data := os.read(0, 65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""
_ALONE = "-o ControlMaster=no -o ControlPath=none"
_FAILED, _UNREACHABLE = "failed", "unreachable"
_ODD = {
    "refused": _UNREACHABLE, "silent": _UNREACHABLE, "dies": _UNREACHABLE, "no-python": _FAILED, "no-sudo": _FAILED,
    "no-engine": _FAILED, "slow": "",
}  # fmt: skip
"""What becomes of each odd kind of name; the slow one is as any other."""


@pytest.fixture
def many(lab, tmp_path):
    """Return a function that makes an inventory of so many names of the lab's hosts, some of each odd kind among them,
    and returns its path and {name: what becomes of it}."""
    relay = tmp_path / "relay.py"
    relay.write_text(_RELAY)
    for name, script in (("dies", _DIES), ("no-engine", _NO_ENGINE)):
        fleet.shell(f"cat >/run/{name} <<'end'\n{script}end\nchmod 755 /run/{name}")
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def odd(kind, real):
            common = real["ansible_ssh_common_args"]
            proxy = shlex.join(["-o", f"ProxyCommand={sys.executable} {relay} %h %p"])
            return {**real, **{
                "refused": {"ansible_host": "127.0.0.1", "ansible_port": 1},
                "silent": {
                    "ansible_host": "127.0.0.1", "ansible_port": silent.getsockname()[1], "ansible_timeout": 1,
                },
                "dies": {"ansible_python_interpreter": "/run/dies", "ansible_ssh_common_args": f"{common} {_ALONE}"},
                "no-python": {"ansible_python_interpreter": "/nonexistent/python3"},
                "no-sudo": {"ansible_become_exe": "/nonexistent/sudo", "ansible_become_user": "daemon"},
                "no-engine": {"ansible_python_interpreter": "/run/no-engine"},
                "slow": {"ansible_ssh_common_args": f"{common} {_ALONE} {proxy}"},
            }[kind]}  # fmt: skip

        def made(number, odds):
            real = [known for _host, known in sorted(lab.items())]
            hosts = {f"host-{turn}": real[turn % len(real)] for turn in range(number - odds * len(_ODD))}
            ends = dict.fromkeys(hosts, "")
            for kind, end in _ODD.items():
                names = [f"{kind}-{turn}" for turn in range(odds)]
                hosts.update({name: odd(kind, real[turn % len(real)]) for turn, name in enumerate(names)})
                ends.update(dict.fromkeys(names, end))
            path = tmp_path / "many.json"
            path.write_text(json.dumps({"many": {"hosts": hosts}}))
            return path, ends

        yield made
    fleet.shell("rm -f /run/dies /run/no-engine")


@pytest.mark.parametrize("size", variants([(16, 1), (200, 5)], first=1))
def test_every_host_has_one_row_in_summary_message_and_report(many, tmp_path, size):
    hosts, ends = many(*size)
    given = {"buildcache_hosts": "many", "report_dir": str(tmp_path / "report"), "report_preview": False}
    tell, told = tmp_path / "tell.yml", tmp_path / "told.json"
    tell.write_text(json.dumps([{"ansible.builtin.copy": {"content": "{{ notify_summary }}", "dest": str(told)}}]))
    given.update(notify_task_file=str(tell), notify_worst=len(ends), report_records=False)
    # Beyond ten that have not logged in yet, sshd turns some away (MaxStartups): of one host, not of many.
    forks = min(24, 8 * len(fleet.hosts()))
    arguments = ("-i", str(hosts), "--forks", str(forks), "-e", json.dumps(given))
    away = {host for host, end in ends.items() if end == _UNREACHABLE}
    bad = {host for host, end in ends.items() if end}

    status, output = fleet.playbook("cleanup", *arguments)
    rows = re.findall(r'^ +"([a-z]+[a-z0-9-]*): (freed |FAILED: )', output, re.MULTILINE)
    assert status == 2 and Counter(host for host, _row in rows) == Counter(list(ends)), output
    assert {host for host, row in rows if row == "FAILED: "} == bad, output
    counts = recap(output)
    assert set(counts) == set(ends) and {host for host, count in counts.items() if count["failed"]} == bad, output
    summary = json.loads(told.read_text())
    totals = {name: summary["totals"][name] for name in ("hosts", "failed", "unreachable")}
    assert totals == {"hosts": len(ends), "failed": len(bad), "unreachable": len(away)}, output
    assert {one["host"]: one["unreachable"] for one in summary["failures"]} == {host: host in away for host in bad}

    status, output = fleet.playbook("report", *arguments)
    assert status == 2 and {host for host, count in recap(output).items() if count["failed"]} == bad, output
    lines = list(csv.DictReader((tmp_path / "report" / "report.csv").open(newline="")))
    assert Counter(line["host"] for line in lines) == Counter(list(ends))
    states = {line["host"]: line["status"] for line in lines}
    assert {host for host, state in states.items() if state == _UNREACHABLE} == away, states
    assert {host for host, state in states.items() if state in (_UNREACHABLE, _FAILED)} == bad, states
    model = json.loads((tmp_path / "report" / "report.json").read_text())
    assert Counter(row["host"] for row in model["hosts"]) == Counter(list(ends))
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count('<th scope="row" data-label="Host"') == len(ends)

    # The policy that is in force: another one's restart would be planned for each name of the same host in turn.
    policy = {"gc_policy_ready": "engine_default", "gc_policy_serial": "100%", "gc_policy_max_fail_percentage": 100}
    status, output = fleet.playbook("site", "--check", *arguments, "-e", json.dumps(policy))
    rows = re.findall(r'^ +"([a-z]+[a-z0-9-]*): (would free |FAILED: )', output, re.MULTILINE)
    assert Counter(host for host, _row in rows) == Counter(list(ends)), output
    shown = [name for name in re.findall(r'^ +"(\S+)": \[$', output, re.MULTILINE) if name in ends]
    assert status in (2, 4) and Counter(shown) == Counter(list(set(ends) - bad)), output
