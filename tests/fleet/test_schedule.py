# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schedules of docs/schedule.md, as printed: by cron, by a timer of systemd, as jobs of CI systems."""

from __future__ import annotations

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

PLACE = "/srv/builds"


@pytest.fixture
def place(lab, tmp_path):
    """A directory with what the text says is in its own: the inventory, the environment, and the collection."""
    (tmp_path / "hosts.yml").symlink_to(fleet.INVENTORY)
    (tmp_path / "ansible.cfg").write_text(PRINTED[f"{PLACE}/ansible.cfg"])
    (tmp_path / "requirements.yml").write_text(yaml.dump({"collections": [{"name": str(built()), "type": "file"}]}))
    return tmp_path


def built():
    """The collection as an archive."""
    made = fleet.ROOT / "build" / "schedule"
    command = [fleet.COMMANDS / "ansible-galaxy", "collection", "build", "--force", "--output-path", made, fleet.ROOT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(made.glob("*.tar.gz"))


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
    path = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
    status, output = run("set -e\n" + "\n".join(lines), place, PATH=path)
    assert status == 0 and "freed " in output, output
