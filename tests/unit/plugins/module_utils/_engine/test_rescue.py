# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import rescue
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.files import give_up, reason
from ansible_collections.buildfleet.buildcache.plugins.module_utils._rescue.plan import TRUNCATE, Item

ID = "ab" * 32
BIG = 20_000


def written(path, size=BIG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def command(status=0, removes=(), said=""):
    """Return what runs a command, which removes these files, and the commands that it ran."""
    ran = []

    def run(words):
        ran.append(words)
        for path in removes:
            path.unlink()
        return status, "", said

    return run, ran


@pytest.fixture
def root(tmp_path):
    return tmp_path.resolve() / "docker"


def test_logs_are_found_by_their_names_and_sizes(root):
    logs = root / "containers" / ID
    live = [written(logs / f"{ID}-json.log"), written(logs / "local-logs" / "container.log")]
    rotated = [written(logs / f"{ID}-json.log.{end}") for end in ("1", "2.gz")]
    remapped = written(root / "100000.100000" / "containers" / ID / f"{ID}-json.log")
    for other in ("config.v2.json", f"{ID}-json.log.old", f"{'cd' * 32}-json.log", "container.log"):
        written(logs / other)
    written(root / "containers" / "other" / "other-json.log")
    written(root / "containers" / ("cd" * 32) / f"{'cd' * 32}-json.log", 10)
    (logs / f"{ID}-json.log.3").symlink_to(live[0])
    (root / "containers" / ("ef" * 32)).symlink_to(logs)

    source = rescue.container_logs(str(root), 10_000)
    assert {one.path: one.how for one in source.items} == {
        **{str(path): "truncate" for path in (*live, remapped)}, **{str(path): "remove" for path in rotated},
    }  # fmt: skip
    with open(live[0], "ab") as appending:
        given = source.gives(source.items)
        appending.write(b"later")
    assert not given.error and set(given.paths) == {one.path for one in source.items}
    assert live[0].read_bytes() == b"later" and not rotated[0].exists()
    assert rescue.container_logs(str(root), 10_000).items == ()


def test_a_host_without_containers_has_no_logs(root):
    root.mkdir()
    assert rescue.container_logs(str(root), 1).items == ()


def test_nothing_is_followed_out_of_the_directory(root):
    precious = written(root.parent / "precious")
    logs = root / "containers" / ID
    logs.mkdir(parents=True)
    (logs / "log").symlink_to(precious)
    (root / "away").symlink_to(root.parent)
    items = [Item(str(logs / "log"), 1, TRUNCATE), Item(str(logs / "log"), 1), Item(str(root / "away" / "precious"), 1)]
    gone, problems = give_up(str(root), [*items, Item(str(logs), 1), Item(str(logs / "none"), 1)])
    assert gone == [] and len(problems) == 4, problems
    assert precious.stat().st_size == BIG


def test_the_others_go_where_one_fails(root, monkeypatch):
    paths = [written(root / "containers" / ID / f"{ID}-json.log.{number}") for number in (1, 2)]
    unlink = os.unlink

    def refusing(name, **how):
        if name.endswith("1"):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(name, **how)

    monkeypatch.setattr(os, "unlink", refusing)
    source = rescue.container_logs(str(root), 1)
    given = source.gives(source.items)
    assert given.paths == (str(paths[1]),)
    assert given.error.startswith(f"1 of 2 failed: {paths[0]}: the operation is not permitted; run the task as root")


def test_the_journal_beyond_a_size_goes_by_its_own_command(tmp_path, monkeypatch):
    base = tmp_path.resolve() / "journal"
    monkeypatch.setattr(rescue, "JOURNALS", str(base))
    assert rescue.journal(1, None).items == ()
    live = written(base / "id" / "system.journal")
    old, new = (written(base / "id" / f"system@{'0' * 32}-{1:016x}-{when:016x}.journal") for when in (1, 2))
    written(base / "id" / "notes")
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in (live, new))
    run, ran = command(removes=[old])
    source = rescue.journal(size, run)
    assert [one.path for one in source.items] == [str(old)] and source.together
    assert source.gives(source.items).paths == (str(old),)
    assert ran == [["journalctl", f"--directory={base}", f"--vacuum-size={size}"]]


def test_package_caches_go_by_the_commands_that_are_here(tmp_path, monkeypatch):
    program = written(tmp_path / "bin" / "apt-get")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    apt, dnf = (tmp_path.resolve() / name for name in ("apt", "dnf"))
    monkeypatch.setattr(rescue, "CACHES", ((str(apt), *rescue.CACHES[0][1:]), (str(dnf), *rescue.CACHES[1][1:])))
    package = written(apt / "archives" / "one_1_all.deb")
    written(apt / "archives" / "lock")
    written(dnf / "base" / "packages" / "one.rpm")
    run, ran = command(100, said="E: one\nE: Could not get lock")
    source = rescue.package_caches(run)
    assert [one.path for one in source.items] == [str(package)]
    given = source.gives(source.items)
    assert given.paths == () and given.error == "1 of 1 failed: apt-get clean: E: Could not get lock."
    run, ran = command(removes=[package])
    source = rescue.package_caches(run)
    assert source.gives(source.items).paths == (str(package),) and ran == [["apt-get", "clean"]]
    assert rescue.package_caches(run).items == ()


def test_what_dnf_keeps_is_found_below_its_repositories(tmp_path, monkeypatch):
    program = written(tmp_path / "bin" / "dnf")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    dnf = tmp_path.resolve() / "dnf"
    monkeypatch.setattr(rescue, "CACHES", ((str(dnf), *rescue.CACHES[1][1:]),))
    kept = [written(dnf / name) for name in ("a.solv", "a-1/packages/x.rpm", "a-1/repodata/primary.xml.gz")]
    written(dnf / "expired_repos.json")
    assert {one.path for one in rescue.package_caches(None).items} == {str(path) for path in kept}


def test_a_reason_says_what_to_do():
    assert "lsattr" in reason(PermissionError(errno.EPERM, "x"))
    assert reason(OSError(errno.EIO, "Input/output error")) == "Input/output error"
