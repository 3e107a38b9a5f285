# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import contextmanager

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import (
    ConfigFile,
    read_config,
    write_config,
)

OLD = '{"debug": true}\r\n'
NEW = '{"debug": false}\r\n'


@pytest.fixture
def atomic_move():
    with patch_module_args({}):
        return AnsibleModule(argument_spec={}).atomic_move


@pytest.fixture
def preserved_copy():
    with patch_module_args({}):
        return AnsibleModule(argument_spec={}).preserved_copy


@pytest.fixture
def path(tmp_path):
    """A daemon.json with OLD in it, alone in its directory."""
    path = tmp_path / "docker" / "daemon.json"
    path.parent.mkdir()
    path.write_bytes(OLD.encode())
    return path


@pytest.fixture
def mount(tmp_path):
    """A function that mounts something for the time of the test."""
    mounted = set()

    def mount(*arguments):
        if os.geteuid() != 0:
            pytest.skip("only root can mount")
        done = subprocess.run(["mount", *arguments], stderr=subprocess.PIPE, check=False)
        if done.returncode:
            pytest.skip(f"this machine does not let root mount: {done.stderr.decode().strip()}")
        # To mount once more with other options is to remount.
        mounted.add(arguments[-1])

    yield mount
    for target in mounted:
        subprocess.run(["umount", target], check=True)


@contextmanager
def without_privileges():
    """To root nothing is forbidden, so that it has to be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


def assert_untouched(path):
    assert path.read_bytes() == OLD.encode()
    assert os.listdir(str(path.parent)) == [path.name]


def test_a_file_is_read_byte_for_byte(path):
    changed_at = os.stat(str(path)).st_ctime
    assert read_config(str(path)) == ConfigFile(str(path), OLD, {"debug": True}, changed_at)


def test_a_file_that_was_put_there_with_an_old_time_is_as_young_as_that(path):
    os.utime(str(path), (1, 1_700_000_000.5))
    assert read_config(str(path)).changed_at == os.stat(str(path)).st_ctime
    os.utime(str(path), (1, 4_700_000_000.5))
    assert read_config(str(path)).changed_at == 4_700_000_000.5


def test_a_removed_file_is_known_by_its_directory(path, tmp_path):
    neighbour = path.parent / "key.json"
    neighbour.write_text("")
    path.unlink()
    # The neighbour came last; so nothing tells that anything was removed.
    assert read_config(str(path)).changed_at is None
    os.utime(str(path.parent), (1, os.stat(str(neighbour)).st_ctime + 1))
    assert read_config(str(path)).changed_at == os.stat(str(path.parent)).st_mtime
    assert read_config(str(tmp_path / "none" / "daemon.json")).changed_at is None


def test_no_file_is_an_empty_configuration(tmp_path):
    path = str(tmp_path / "docker" / "daemon.json")
    assert read_config(path) == ConfigFile(path, None, {}, None)


def test_an_empty_file_is_there(path):
    path.write_bytes(b"")
    assert (read_config(str(path)).text, read_config(str(path)).data) == ("", {})


def test_links_are_followed_also_to_what_is_not_there_yet(path, tmp_path):
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to("docker/daemon.json")
    dangling.symlink_to("docker/other.json")
    assert read_config(str(link)).path == str(path)
    found = read_config(str(dangling))
    assert (found.path, found.text, found.data) == (str(path.parent / "other.json"), None, {})


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b'{\n  "token": "hush",\n  // hush\n}', r": line 3, column 3: no valid JSON\. "),
        (b'{\n  "token": "hush\xff"}', r": line 2: no UTF-8\. Save"),
        ('{"token": "hush"}'.encode("utf-16"), r": line 1: no UTF-8\. Save"),
    ],
)
def test_content_that_cannot_be_used_is_told_by_path_and_line_and_never_quoted(path, content, trouble):
    path.write_bytes(content)
    with pytest.raises(BuildcacheError, match=f"^{path}{trouble}") as refusal:
        read_config(str(path))
    assert "hush" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_what_is_no_file_is_refused(tmp_path):
    pipe, circle, below = tmp_path / "pipe", tmp_path / "circle", tmp_path / "file" / "daemon.json"
    os.mkfifo(str(pipe))
    circle.symlink_to("circle")
    below.parent.write_bytes(b"")
    for path, trouble in [
        (tmp_path, "is a directory, where a file belongs. Remove it"),
        (pipe, "is a device, pipe or socket, where a file belongs. Remove it"),
        (circle, "cannot be read: its symbolic links lead in a circle; correct them."),
        (below, "cannot be read: a part of its path is a file and no directory; correct the path."),
    ]:
        with pytest.raises(BuildcacheError, match=f"^{path} {trouble}"):
            read_config(str(path))


def test_a_file_that_may_not_be_read_is_refused(path):
    path.chmod(0)
    with without_privileges(), pytest.raises(
        BuildcacheError, match="cannot be read: permission is denied; run .* root"
    ):
        read_config(str(path))


def test_a_file_is_replaced_with_its_owner_and_mode_kept(path, atomic_move):
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(str(path), 12, 34)
    before = os.stat(str(path))
    config = read_config(str(path))
    seen = []

    def replace(temporary, target):
        seen.append((os.path.dirname(temporary), mode(temporary)))
        with open(temporary, "rb") as file:
            assert file.read() == NEW.encode()
        atomic_move(temporary, target)

    written = write_config(config, NEW, replace)
    after = os.stat(str(path))
    assert written == ConfigFile(str(path), NEW, {"debug": False}, max(after.st_mtime, after.st_ctime))
    assert seen == [(str(path.parent), 0o600)]
    assert path.read_bytes() == NEW.encode()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino
    assert os.listdir(str(path.parent)) == ["daemon.json"]


def test_a_link_stays_a_link(path, tmp_path, atomic_move):
    link = tmp_path / "link"
    link.symlink_to("docker/daemon.json")
    write_config(read_config(str(link)), NEW, atomic_move)
    assert link.is_symlink()
    assert path.read_bytes() == NEW.encode()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_missing_file_and_its_directory_are_made(tmp_path, atomic_move, umask):
    path = tmp_path / "docker" / "daemon.json"
    before = os.umask(umask)
    try:
        write_config(read_config(str(path)), NEW, atomic_move)
    finally:
        os.umask(before)
    assert path.read_bytes() == NEW.encode()
    assert (mode(path.parent), mode(path)) == (0o755, 0o666 & ~umask)
    assert read_config(str(path)).text == NEW


def test_no_more_than_one_directory_is_made(tmp_path, atomic_move):
    config = read_config(str(tmp_path / "dokcer" / "etc" / "daemon.json"))
    with pytest.raises(BuildcacheError, match="the directory above its own does not exist; create that"):
        write_config(config, NEW, atomic_move)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("content", [b"{}", None])
def test_a_file_that_somebody_else_changed_is_left_to_them(path, atomic_move, content):
    config = read_config(str(path))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BuildcacheError, match=f"^{path} was changed by somebody else .* Run it again"):
        write_config(config, NEW, atomic_move)
    assert [one.read_bytes() for one in path.parent.iterdir()] == ([content] if content is not None else [])


def test_a_file_that_somebody_else_made_is_left_to_them(path, atomic_move):
    with pytest.raises(BuildcacheError, match="was changed by somebody else"):
        write_config(ConfigFile(str(path), None, {}, None), NEW, atomic_move)
    assert_untouched(path)


def test_a_directory_that_may_not_be_written_leaves_the_file_as_it_was(path, atomic_move):
    config = read_config(str(path))
    path.parent.chmod(0o555)
    with without_privileges(), pytest.raises(BuildcacheError, match="permission is denied.* The file is as it was"):
        write_config(config, NEW, atomic_move)
    assert_untouched(path)


def test_a_full_disk_leaves_the_file_as_it_was(path, mount, atomic_move):
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path.parent))
    path.write_bytes(OLD.encode())
    config = read_config(str(path))
    with pytest.raises(BuildcacheError, match=f"^{path} could not be written: there is no space left.* as it was"):
        write_config(config, NEW + " " * 65536, atomic_move)
    assert_untouched(path)


def test_a_read_only_file_system_leaves_the_file_as_it_was(path, mount, atomic_move):
    mount("-t", "tmpfs", "tmpfs", str(path.parent))
    path.write_bytes(OLD.encode())
    config = read_config(str(path))
    mount("-o", "remount,ro", str(path.parent))
    with pytest.raises(BuildcacheError, match="its file system is mounted read-only. The file is as it was"):
        write_config(config, NEW, atomic_move)
    assert_untouched(path)


def test_a_file_that_is_mounted_by_itself_is_left_as_it_was(path, mount, atomic_move):
    mount("--bind", str(path), str(path))
    config = read_config(str(path))
    with pytest.raises(BuildcacheError, match="it is mounted there by itself .* The file is as it was"):
        write_config(config, NEW, atomic_move)
    assert_untouched(path)


def backups(path):
    return [one for one in path.parent.iterdir() if one != path]


def test_a_backup_is_what_the_file_was(path, atomic_move, preserved_copy):
    path.chmod(0o640)
    written = write_config(read_config(str(path)), NEW, atomic_move, preserved_copy)
    (backup,) = backups(path)
    assert written.backup == str(backup)
    assert backup.name.startswith(f"daemon.json.{os.getpid()}.") and backup.name.endswith("~")
    assert (backup.read_bytes(), mode(backup), path.read_bytes()) == (OLD.encode(), 0o640, NEW.encode())


def test_of_no_file_there_is_no_backup(tmp_path, atomic_move, preserved_copy):
    path = tmp_path / "docker" / "daemon.json"
    assert write_config(read_config(str(path)), NEW, atomic_move, preserved_copy).backup is None
    assert backups(path) == []


@pytest.mark.parametrize("room", [0, 1])
def test_a_disk_that_is_full_for_the_backup_or_after_it_leaves_no_backup(
    path, mount, atomic_move, preserved_copy, room
):
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path.parent))
    path.write_bytes(OLD.encode())
    config = read_config(str(path))
    (path.parent / "full").write_bytes(b"x" * 4096 * (15 - room))
    with pytest.raises(BuildcacheError, match=f"^{path} could not be written: there is no space left.* as it was"):
        write_config(config, NEW, atomic_move, preserved_copy)
    assert [one.name for one in backups(path)] == ["full"]
    assert path.read_bytes() == OLD.encode()


def test_what_a_killed_run_left_is_removed_and_nothing_else(path, atomic_move):
    for name in (".daemon.json.k2j4h5g6.buildcache", ".daemon.json.swp", ".other.json.a.buildcache"):
        (path.parent / name).write_text("secret")
    write_config(read_config(str(path)), NEW, atomic_move)
    assert {one.name for one in backups(path)} == {".daemon.json.swp", ".other.json.a.buildcache"}


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_behind_however_replacing_ends(path, end):
    def replace(temporary, target):
        raise end

    with pytest.raises(end):
        write_config(read_config(str(path)), NEW, replace)
    assert_untouched(path)
