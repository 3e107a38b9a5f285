# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module that finds something in audit logs, run on a directory."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.audit_log import AuditLog
from ansible_collections.buildfleet.buildcache.plugins.modules import buildcache_trace


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the module on the log of this test; return its result, and in it under ``warned`` what it warned of."""
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda module, text: warned.append(text))

    def run(**options):
        given = {"object": "app:1", "audit_log": str(tmp_path / "log"), **options}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            buildcache_trace.main()
        said = " ".join(warned)
        warned.clear()
        return {**json.loads(capsys.readouterr().out), "warned": said}

    return run


def entry(day, tag):
    return json.dumps({"time": f"2026-01-{day:02}T10:00:00Z", "event": "removed", "id": "x", "tags": [tag], "why": {}})


def test_rotated_files_are_read_too_and_only_what_is_sought_is_returned(tmp_path, run):
    for day in range(1, 10):
        AuditLog(str(tmp_path / "log"), "300B").append([entry(day, "app:1"), entry(day, "app:2")])
    (tmp_path / "other").write_text(entry(20, "app:1") + "\n" + entry(21, "app:1")[:-5])
    result = run(limit=2, audit_log=[str(tmp_path / "log"), str(tmp_path / "other"), str(tmp_path / "log")])
    assert [one["time"][8:10] for one in result["entries"]] == ["20", "09"] and result["count"] == 5
    assert result["files"] == [str(tmp_path / name) for name in ("log", "log.1", "log.2", "log.3", "other")]
    assert result["unreadable"] == 1 and result["warned"].startswith("1 lines of the audit log cannot be read")
    assert not result["changed"]
    assert run(since="2026-01-08")["count"] == 2


def test_without_a_log_nothing_is_found(run):
    result = run()
    assert result["entries"] == [] and result["files"] == [] and result["count"] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"object": " "}, "object: it is empty"),
        ({"object": "a[z-a]"}, "object: 'a[z-a]' is no pattern"),
        ({"since": ""}, "since: '' is not a duration"),
        ({"limit": 0}, "limit: 0 entries are none"),
        ({"audit_log": []}, "audit_log: it is empty"),
        ({"audit_log": [""]}, "audit_log: it is empty"),
        ({"audit_log": "/proc/self/exe"}, "audit_log: /proc/self/exe cannot be read"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(run, options, says):
    result = run(**options)
    assert result["failed"] and says in result["msg"], result["msg"]
