# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schedules of docs/schedule.md, as printed: by cron, by a timer of systemd, as jobs of CI systems."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import fleet
import pytest
import yaml

pytestmark = [pytest.mark.any_engine, pytest.mark.once]

_TEXT = (fleet.ROOT / "docs" / "schedule.md").read_text()
PRINTED = dict(re.findall(r"^```\w+\n# ([^\s,]+)[^\n]*\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL))
"""The files that are printed there, by their names."""

AWAY = {
    name: int(status)
    for status, names in re.findall(r"^\| (\d) \| (`\w+`.*) \|$", _TEXT, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", names)
}
"""The status of each playbook where a host is away."""

PLACE = "/srv/builds"


@pytest.fixture
def place(lab, tmp_path):
    """A directory with what the text says is in its own: the inventory and what Ansible reads beside it."""
    (tmp_path / "hosts.yml").symlink_to(fleet.INVENTORY)
    (tmp_path / "ansible.cfg").write_text(PRINTED[f"{PLACE}/ansible.cfg"])
    return tmp_path


def run(command, place, **environment):
    """Run a shell command in the place, with as little of an environment as cron gives; return status and output."""
    known = {"HOME": str(Path.home()), "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", **environment}
    ended = subprocess.run(
        ["/bin/sh", "-c", command.replace(PLACE, str(place))],
        cwd=place, env=known, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def test_cron_is_silent_unless_a_run_fails_or_the_one_before_goes_on(place):
    (place / "venv").symlink_to(sys.prefix)
    path = {"ANSIBLE_COLLECTIONS_PATH": str(fleet.ROOT / ".venv" / "collections")}
    (line,) = [line for line in PRINTED["/etc/cron.d/buildcache"].splitlines() if not line.startswith("MAILTO")]
    *when, user, command = line.split(" ", 6)
    assert when == ["30", "3", "*", "*", "*"] and user == "ansible" and "%" not in command
    assert run(command, place, **path) == (0, "")
    assert "freed " in (place / "cleanup.log").read_text()
    assert run(f"flock cleanup.lock sh -c {shlex.quote(command)}", place, **path) == (1, "")
    assert "freed " in (place / "cleanup.log").read_text()
    (place / "hosts.yml").unlink()
    status, mailed = run(command, place, **path)
    assert status == 0 and "hosts.yml" in mailed, mailed


def test_the_units_are_what_systemd_takes_and_start_what_cleans(place):
    (place / "venv").symlink_to(sys.prefix)
    units = {Path(name).name: text for name, text in PRINTED.items() if name.startswith("/etc/systemd")}
    put = "".join(f"cat >/run/schedule/{name} <<'END'\n{text}END\n" for name, text in units.items())
    # There is no such program on a build host.
    put = put.replace(f"ExecStart={PLACE}/venv/bin/ansible-playbook", "ExecStart=/bin/true").replace(PLACE, "/run")
    verify = f"systemd-analyze verify {' '.join(f'/run/schedule/{name}' for name in units)}"
    fleet.shell(f"rm -rf /run/schedule; mkdir /run/schedule\n{put}{verify}\nrm -r /run/schedule\n")
    (command,) = re.findall("^ExecStart=(.*)$", units["buildcache-fleet.service"], re.M)
    status, output = run(command, place, ANSIBLE_COLLECTIONS_PATH=str(fleet.ROOT / ".venv" / "collections"))
    assert status == 0 and "freed " in output, output


def test_a_job_of_a_ci_system_installs_all_and_cleans(place):
    lines = yaml.safe_load(PRINTED[".gitlab-ci.yml"])["cleanup"]["script"]
    job = yaml.safe_load(PRINTED[".github/workflows/cleanup.yml"])["jobs"]["cleanup"]
    assert [step["run"] for step in job["steps"] if "run" in step] == lines
    build = [fleet.COMMANDS / "ansible-galaxy", "collection", "build", "--output-path", place / "built", fleet.ROOT]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (archive,) = (place / "built").iterdir()
    (place / "requirements.yml").write_text(yaml.dump({"collections": [{"name": str(archive), "type": "file"}]}))
    path = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
    status, output = run("set -e\n" + "\n".join(lines), place, PATH=path)
    assert status == 0 and "freed " in output, output


def test_the_status_of_every_playbook_says_whether_a_host_is_away(tmp_path):
    assert set(AWAY) == {book.stem for book in (fleet.ROOT / "playbooks").iterdir()}
    hosts, report = tmp_path / "hosts.yml", tmp_path / "report"
    hosts.write_text(yaml.dump({"build_hosts": {"hosts": {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    given = {"object": "a", "trace_audit_log": "/a", "gc_policy_ready": "engine_default", "report_dir": str(report)}
    given["gc_plan_rules"] = [{"max_used_space": "1GB"}]
    ended = {name: fleet.playbook(name, "-i", str(hosts), "-l", "away", "-e", json.dumps(given)) for name in AWAY}
    assert {name: status for name, (status, _output) in ended.items()} == AWAY, ended
