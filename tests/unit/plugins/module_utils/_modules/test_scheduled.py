# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host that cleans up by itself tells of a run, whatever the module says."""

from __future__ import annotations

import json
import sys

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.scheduled import main

NOTHING = {"count": 0, "bytes": 0, "ids": []}
RESULT = {
    "changed": True,
    "predicted_bytes": 2000,
    "reported_bytes": 2000,
    "freed_bytes": 3000,
    "steps": [{"step": "images", "planned": NOTHING, "removed": {"count": 1, "bytes": 9, "ids": ["a"]}}],
    "kept": [],
}
MODULE = """
import json, sys
given = json.load(sys.stdin)["ANSIBLE_MODULE_ARGS"]
assert sys.argv[1:] == ["--module"], sys.argv
open({given!r}, "w").write(json.dumps(given))
sys.stdout.write({said!r})
sys.stderr.write("Traceback\\nOSError: it broke")
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run an archive whose module says something; return the status, the lines, and what the module was given."""

    def started(said, options=None, metrics=None, arguments=()):
        archive, settings, given = (tmp_path / name for name in ("archive", "settings", "given"))
        archive.write_text(MODULE.format(given=str(given), said=said))
        settings.write_text(json.dumps({"options": options or {}, "metrics": metrics}))
        monkeypatch.setattr(sys, "argv", [str(archive), str(settings), *arguments])
        with pytest.raises(SystemExit) as ended:
            main("the.module", "legacy")
        return ended.value.code, capsys.readouterr().out.splitlines(), json.loads(given.read_text())

    return started


def test_the_journal_has_a_line_and_the_figures(run, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "abc")
    status, lines, given = run(json.dumps(RESULT), {"images": "unused"})
    assert status == 0 and lines[0] == "freed 2.9KB, predicted 2KB, still held: nothing"
    told = json.loads(lines[1])
    assert told["steps"][0]["removed"] == {"count": 1, "bytes": 9} and told["freed_bytes"] == 3000
    assert given["run_id"] == "abc" and given["images"] == "unused" and not given["_ansible_check_mode"]


def test_a_preview_changes_nothing(run, tmp_path):
    status, lines, given = run(json.dumps(RESULT), metrics={"path": str(tmp_path / "m"), "builders": []},
                               arguments=["--check"])  # fmt: skip
    assert status == 0 and lines == ["would free 2KB, still held: nothing"]
    assert given["_ansible_check_mode"] and not given["facts"] and not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (json.dumps({"failed": True, "msg": "dockerd is away"}), "FAILED: dockerd is away"),
        (json.dumps({**RESULT, "failed": True, "msg": "half of it"}), "FAILED: half of it"),
        ("no JSON", "The module ended with status 0. OSError: it broke"),
    ],
)
def test_a_failure_is_an_error_in_the_journal_and_in_the_metrics(run, tmp_path, said, words):
    metrics = tmp_path / "m.prom"
    status, lines, _given = run(said, metrics={"path": str(metrics), "builders": ["default"]})
    assert status == 1 and lines[0].startswith("<3>") and words in lines[0]
    assert json.loads(lines[1][3:])["failed"]
    assert "buildcache_cleanup_success 0" in metrics.read_text() and metrics.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: settings"),
        (["/nowhere"], "/nowhere cannot be read"),
        (["/dev/null"], "/dev/null cannot be read"),
    ],
)
def test_settings_that_cannot_be_read_are_told_without_a_traceback(monkeypatch, capsys, arguments, says):
    monkeypatch.setattr(sys, "argv", ["cleanup.pyz", *arguments])
    with pytest.raises(SystemExit) as ended:
        main("the.module", "legacy")
    assert ended.value.code == 2 and says in capsys.readouterr().err


def test_metrics_that_cannot_be_written_are_a_failure(run):
    status, lines, _given = run(json.dumps(RESULT), metrics={"path": "/nowhere/m.prom", "builders": ["default"]})
    assert status == 1 and lines[-1] == "<3>metrics: /nowhere/m.prom: No such file or directory."
