# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What buildcache_gc_policy logs of a change, run on a file of its own."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import policy as _builder_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import lock as _lock
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import state as _state
from ansible_collections.buildfleet.buildcache.plugins.modules import buildcache_gc_policy

OLD = {
    "http-proxy": "http://me:secret@proxy",
    "builder": {"gc": {"enabled": True, "policy": [{"maxUsedSpace": "9GB"}]}},
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the module on daemon.json, as for an engine that does not run; return its result."""
    monkeypatch.setattr(_state, "directory", lambda: str(tmp_path / "state"))
    monkeypatch.setattr(_lock, "LOCK_FILE", str(tmp_path / "lock"))
    (tmp_path / "daemon.json").write_text(json.dumps(OLD))

    def run(check=False, **options):
        given = {
            "config_file": str(tmp_path / "daemon.json"), "docker_host": f"unix://{tmp_path}/docker.sock",
            "engine_version": "28.5.2", "audit_log": str(tmp_path / "log"), "_ansible_check_mode": check, **options,
        }  # fmt: skip
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            buildcache_gc_policy.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_a_change_of_the_policy_is_logged_once_and_nothing_else_of_the_file(tmp_path, run):
    rules = [{"max_used_space": "3GB"}]
    refused = run(rules=rules, audit_log=str(tmp_path / "none" / "log"))
    assert refused["failed"] and "there is no directory" in refused["msg"]
    assert run(rules=rules, check=True)["changed"] and not (tmp_path / "log").exists()
    assert json.loads((tmp_path / "daemon.json").read_text()) == OLD
    assert run(rules=rules)["audit"]["entries"] == 1 and run(rules=rules)["audit"]["entries"] == 0
    assert run(state="absent")["audit"]["entries"] == 1
    text = (tmp_path / "log").read_text()
    first, second = map(json.loads, text.splitlines())
    assert "secret" not in text and first["file"] == second["file"] == str(tmp_path / "daemon.json")
    assert [rule["max_used_space"] for rule in first["old"]["rules"]] == ["9GB"]
    assert first["new"] == second["old"] == {"enabled": True, "rules": [{"all": False, "max_used_space": "3GB"}]}
    assert second["new"]["rules"] is None and second["why"]["state"] == "absent"


def test_a_change_of_a_builders_policy_is_logged_with_its_name(tmp_path, run, monkeypatch):
    section = json.dumps({"enabled": True, "rules": None}) + "\n"
    results = [{"before": "", "after": section}, {"before": section, "after": section}]

    def put_policy(*_given):
        return {"changed": True, "diff": results.pop(0)}, []

    monkeypatch.setattr(_builder_policy, "put_policy", put_policy)
    assert [run(builder="ci")["audit"]["entries"] for _time in range(2)] == [1, 0]
    (entry,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert entry["why"]["builder"] == "ci" and entry["old"] is None and entry["new"]["enabled"]
