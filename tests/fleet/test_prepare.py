# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that reach nothing get the libraries: the distribution's, and python-on-whales from a wheelhouse."""

from __future__ import annotations

import json
import shutil

import fleet
import pytest
from prepared import PYTHON, REMOVE, VENV, prepare

ONE = fleet.KINDS[-1]


@pytest.fixture
def fresh(lab):
    """Hosts without the virtual environment, before the test and after."""
    fleet.shell(REMOVE)
    yield
    fleet.shell(REMOVE)


def files():
    """Return what {host: files with size and time of change} have outside the virtual environment."""
    return fleet.shell(
        f"find /etc /opt /root /tmp /usr /var/lib/apt /var/lib/dpkg -xdev -path '{VENV}/*' -prune -o"
        " -path '*/__pycache__*' -prune -o -path '/root/.ansible*' -prune -o ! -type d -printf '%p %s %T@\\n' | sort"
    )


def test_nothing_is_installed_unless_asked(fresh):
    before = files()
    assert prepare() == dict.fromkeys(fleet.hosts(), 0)
    assert files() == before
    fleet.shell(f"test ! -e {VENV}")


def test_check_mode_on_a_fresh_host_changes_nothing(fresh, wheelhouse):
    before = files()
    changes = prepare("--check", prepare_buildx="yes", prepare_wheelhouse=str(wheelhouse))
    assert changes == dict.fromkeys(fleet.hosts(), 1)
    assert files() == before
    fleet.shell(f"test ! -e {VENV}")


def test_a_wheelhouse_gives_every_host_python_on_whales_beside_the_distributions_sdk(fresh, wheelhouse, tmp_path):
    # As an inventory names it for every play, before it is there.
    inventory = tmp_path / "interpreter.yml"
    inventory.write_text(json.dumps({"build_hosts": {"vars": {"ansible_python_interpreter": PYTHON}}}))
    # Empty strings as from a survey.
    wanted = {"prepare_buildx": True, "prepare_wheelhouse": str(wheelhouse), "prepare_venv": "", "prepare_python": ""}
    before = files()
    assert all(prepare("-i", str(inventory), **wanted).values())
    assert not any(prepare("-i", str(inventory), **wanted).values())
    assert not any(prepare(prepare_buildx=True).values())
    assert files() == before

    fleet.shell("test -e /usr/lib/python3.*/EXTERNALLY-MANAGED; ! python3 -c 'import python_on_whales' 2>&1")
    imports = "import docker, python_on_whales as whales; print(docker.__file__, whales.__file__)"
    for host, found in fleet.shell(imports, interpreter=f"{PYTHON} -").items():
        sdk, whales = found.split()
        assert sdk.startswith("/usr/lib/python3/dist-packages/") and whales.startswith(f"{VENV}/lib/"), (host, found)

    status, output = play_with_the_role(tmp_path)
    assert status == 0, output

    # As after an upgrade of the distribution, whose new Python finds no libraries of its own there.
    fleet.shell(f"rm -rf {VENV}/lib", [ONE])
    assert prepare("-l", ONE, **wanted)[ONE] > 0
    fleet.shell(imports, [ONE], interpreter=f"{PYTHON} -")


def play_with_the_role(directory):
    """Run the role and then modules in one play, by the lab's own inventory; return the exit status and the output."""
    used = f"ansible_facts.python.executable == '{PYTHON}'"
    tasks = [
        {"buildfleet.buildcache.buildcache_facts": {}},
        {"ansible.builtin.setup": {"gather_subset": ["!all"]}},
        {"ansible.builtin.assert": {"that": [used, "ansible_facts.buildcache.engine.version is defined"]}},
    ]
    role = {"role": "buildfleet.buildcache.prepare", "prepare_buildx": True}
    book = directory / "play.yml"
    book.write_text(json.dumps([{"hosts": "build_hosts", "gather_facts": False, "roles": [role], "tasks": tasks}]))
    return fleet.ansible("ansible-playbook", "-i", str(fleet.INVENTORY), str(book))


@pytest.mark.parametrize(
    ("holds", "says"),
    [
        (None, ["Could not install python3-venv: ", "prepare_wheelhouse holds a wheel of pip"]),
        ("nowhere", ["/nowhere is not a directory of the controller"]),
        ("pip-*.whl", ["No matching distribution found for python-on-whales", "pip download --dest ", " pip 'pyth"]),
    ],
)
def test_what_is_missing_is_said(fresh, wheelhouse, tmp_path, holds, says):
    variables = {"prepare_buildx": True}
    if holds:
        for wheel in wheelhouse.glob(holds):
            shutil.copy(wheel, tmp_path)
        variables["prepare_wheelhouse"] = str(tmp_path / "nowhere" if holds == "nowhere" else tmp_path)
    before = files()
    status, output = fleet.playbook("prepare", "-l", ONE, "-e", json.dumps(variables))
    assert status != 0
    assert all(words in output for words in says), output
    assert files() == before
