# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the lab can be tested without root and without booting anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from . import host, machine, recipes, rootfs
from .inventory import Host, Lab
from .shell import LabError, run

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://one.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://two.example/tools
Suites: nodistro
Components: main
Enabled: no
"""


def test_deb822_sources_leave_out_disabled_stanzas_and_join_continued_lines():
    assert machine.deb822_sources(DEB822) == [
        ("http://one.example/debian", ["bookworm", "bookworm-updates"], ["main"]),
    ]


def test_one_line_sources_skip_options_comments_and_source_packages():
    text = """\
deb [arch=amd64 signed-by=/k.gpg] http://one.example/debian trixie main contrib # why
deb-src http://one.example/debian trixie main
# deb http://two.example/debian trixie main
deb http://three.example/debian trixie-updates main
"""
    assert machine.one_line_sources(text) == [
        ("http://one.example/debian", ["trixie"], ["main", "contrib"]),
        ("http://three.example/debian", ["trixie-updates"], ["main"]),
    ]


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        ("1", ["docker20"]),
        ("4", ["docker20", "docker26", "docker28", "docker28c"]),
        ("6", ["docker20", "docker26", "docker28", "docker28c", "docker20-2", "docker26-2"]),
        ("docker28c,docker20-3", ["docker28c", "docker20-3"]),
    ],
)
def test_hosts_are_spread_over_the_kinds(hosts, names):
    spread = recipes.spread(hosts)
    assert list(spread) == names
    assert all(kind == name.partition("-")[0] for name, kind in spread.items())


def test_hosts_are_spread_over_chosen_kinds():
    assert list(recipes.spread("3", "docker28c,docker20")) == ["docker28c", "docker20", "docker28c-2"]
    with pytest.raises(LabError, match="--kinds docker20,docker99: the kinds are docker20, docker26"):
        recipes.spread("3", "docker20,docker99")


@pytest.mark.parametrize("hosts", ["0", "201", "", "docker99", "docker20-", "docker20-x", "docker20,", "-3"])
def test_hosts_that_are_no_hosts_are_refused(hosts):
    with pytest.raises(LabError, match="--hosts"):
        recipes.spread(hosts)


def test_an_extra_host_has_a_name_and_an_absolute_path():
    assert recipes.parse_extra("mine=/srv/rootfs") == ("mine", "/srv/rootfs")


@pytest.mark.parametrize("text", ["mine", "=/srv", "mine=srv", "Mine=/srv", "docker20=/srv", "docker28c-2=/srv"])
def test_an_extra_host_that_is_none_is_refused(text):
    with pytest.raises(LabError, match="--extra"):
        recipes.parse_extra(text)


def test_a_recipe_digest_changes_with_its_recipe_alone():
    recipe = recipes.KINDS["docker28"].recipe
    assert recipe.digest() == recipes.KINDS["docker28c"].recipe.digest() == replace(recipe).digest()
    changes = {"suite": "sid", "packages": ("sudo",), "masked": (), "options": (), "files": {"etc/fstab": "#\n"}}
    assert len({replace(recipe, **{name: value}).digest() for name, value in changes.items()} | {recipe.digest()}) == 6


def test_a_root_file_system_is_told_what_it_lacks(tmp_path):
    for name in ("usr/lib/systemd/systemd", "usr/sbin/dockerd", "usr/bin/docker", "usr/bin/python3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert rootfs.missing(tmp_path) == ["sshd (openssh-server)"]


def test_the_image_store_is_read_from_the_engine_s_info():
    assert host.image_store({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}) == "containerd"
    assert host.image_store({"DriverStatus": [["Backing Filesystem", "extfs"]]}) == "graphdriver"
    assert host.image_store({"DriverStatus": None}) == "graphdriver"


def saved_lab(checkout: Path) -> Lab:
    lab = Lab(checkout)
    lab.ssh_directory.mkdir(parents=True)
    lab.subnet = "10.99.1.0/24"
    lab.hosts["docker20"] = Host("docker20", "docker20", "/cache/x", "4G", 11, "10.99.1.11", False, "ssh-ed25519 KEY")
    lab.save()
    return lab


def test_a_saved_lab_is_loaded_as_it_was(tmp_path):
    saved = saved_lab(tmp_path)
    loaded = Lab(tmp_path)
    loaded.load()
    assert (loaded.subnet, loaded.hosts) == (saved.subnet, saved.hosts)
    assert (tmp_path / ".lab/ssh/known_hosts").read_text() == "10.99.1.11 ssh-ed25519 KEY\n"
    assert '          ansible_host: "10.99.1.11"\n' in (tmp_path / ".lab/inventory.yml").read_text()


def test_a_copied_checkout_does_not_take_over_the_lab_of_the_original(tmp_path):
    saved_lab(tmp_path / "original")
    (tmp_path / "original").rename(tmp_path / "copy")
    with pytest.raises(LabError, match=str(tmp_path / "original")):
        Lab(tmp_path / "copy").load()


def test_a_failed_command_says_which_and_why():
    with pytest.raises(LabError, match="sh -c echo no such thing >&2; exit 3 failed with exit code 3: no such thing"):
        run("sh", "-c", "echo no such thing >&2; exit 3")
