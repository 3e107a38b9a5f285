# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import data_root as _data_root

LOCAL = "unix:///var/run/docker.sock"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host without dockerd; host(unit words, text of the file) returns what is taken for dockerd's directory."""
    file = tmp_path / "daemon.json"
    monkeypatch.setattr(_data_root, "listening_dockerd", lambda docker_host: None)
    monkeypatch.setattr(_data_root, "pid_in", lambda file: None)
    monkeypatch.setattr(_data_root, "is_dockerd", bool)
    monkeypatch.setattr(_data_root, "config_path", lambda asked, pid: str(file))

    def host(words=(), text=None, asked=None, running=None):
        if text is not None:
            file.write_text(text)
        if running:
            monkeypatch.setattr(_data_root, "listening_dockerd", lambda docker_host: 7)
            monkeypatch.setattr(_data_root, "command_of", lambda pid: running)
        unit = f"{{ path=/usr/sbin/dockerd ; argv[]={' '.join(words)} ; ignore_errors=no ; }}"
        manager = type("Manager", (), {"unit": lambda self: ({"ExecStart": unit}, [])})
        monkeypatch.setattr(_data_root, "service_manager", lambda kind, service, run: manager())
        return _data_root.data_root(LOCAL, asked, None)

    return host


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, "/var/lib/docker"),
        ({"text": json.dumps({"data-root": "/big"})}, "/big"),
        ({"text": json.dumps({"data-root": 5})}, "/var/lib/docker"),
        ({"words": ["/usr/sbin/dockerd", "--data-root=/flag"], "text": "{}"}, "/flag"),
        ({"words": ["/usr/sbin/dockerd", "--data-root", "/flag"], "text": "not read"}, "/flag"),
        ({"words": ["dockerd", "--data-root=/unit"], "running": ["dockerd", "-g", "/runs"]}, "/runs"),
        ({"asked": "/usr"}, "/usr"),
    ],
)
def test_where_dockerd_keeps_its_data_is_told_without_it(host, how, expected):
    assert host(**how) == expected


@pytest.mark.parametrize("asked", ["", "/nowhere", "/", "/etc/passwd"])
def test_a_directory_that_cannot_be_it_is_refused(host, asked):
    with pytest.raises(BadOption, match="root_dir: .* is no directory of an engine"):
        host(asked=asked)


def test_a_file_that_cannot_be_read_does_not_stand_in_the_way_of_an_option(host):
    with pytest.raises(BuildcacheError, match="Set root_dir to"):
        host(text="{")
    assert host(text="{", asked="/usr") == "/usr"


def test_an_engine_of_another_host_is_refused():
    with pytest.raises(BadOption, match="is on another host"):
        _data_root.data_root("tcp://192.0.2.1:2376", None, None)
