# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.payload import bare, packed_bare

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
FILES = sorted((PLUGINS / "module_utils").glob("*/*.py"))


def statements(source):
    """What a source does: its tree without docstrings, and the line of every node that is left."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not is_text(one)] or [ast.Pass(lineno=0)]
    return ast.dump(tree), [(type(node).__name__, getattr(node, "lineno", 0)) for node in ast.walk(tree)]


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_every_file_does_the_same_on_the_same_lines_without_its_comments():
    assert len(FILES) > 40
    for file in FILES:
        source = file.read_bytes()
        sent = bare(source)
        assert statements(sent) == statements(source), file
        assert len(sent) < len(source) or not source, file


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ('"""Docs."""\nX = "# no comment"  # a comment\n', '"."\nX = "# no comment"\n'),
        ('def f():\n    """One.\n\n    More."""\n    return 1\n', 'def f():\n    "."\n\n\n    return 1\n'),
        ('class E(Exception):\n    # why\n    """It."""  # this\n', 'class E(Exception):\n\n    "."\n'),
        ('f(\n    "text",  # one\n    "more"\n)\n', 'f(\n    "text",\n    "more"\n)\n'),
        ('"a" "b"\n"x".strip()\n', '"a" "b"\n"x".strip()\n'),
        ('X = 1\n"""What X is."""\n\n# end', 'X = 1\n"."\n\n'),
        ("", ""),
    ],
)
def test_what_goes_is_what_does_nothing(source, sent):
    assert bare(source.encode()).decode() == sent


class Loader:
    """The loader that Ansible gives a collection's package, as far as it reads files."""

    def __init__(self):
        self.read = []

    def get_data(self, path):
        self.read.append(path)
        return Path(path).read_bytes() if Path(path).is_file() else None


def test_only_what_is_packed_of_module_utils_is_bare(monkeypatch):
    spec = importlib.import_module("ansible_collections.buildfleet.buildcache").__spec__
    loader = Loader()
    monkeypatch.setattr(spec, "loader", loader)
    with packed_bare():
        assert spec.loader.get_data(str(FILES[1])) == bare(FILES[1].read_bytes()) != FILES[1].read_bytes()
        assert spec.loader.get_data(str(PLUGINS / "modules" / "buildcache_facts.py")).startswith(b"#!")
    assert spec.loader is loader


_RUN = """
import sys, traceback
from {package}._modules import {entry} as module
assert callable(module.{entry}_module)
try:
    sys.modules["{package}._base.units"].parse_size("10Q", "size")
except Exception:
    traceback.print_exc(file=sys.stdout)
print(*sorted(name for name in sys.modules if name.startswith("{package}.")))
"""


@pytest.mark.parametrize("entry", ["prune", "facts"])
def test_a_file_that_is_sent_in_place_of_all_that_it_imports_runs_alone(entry, monkeypatch, tmp_path):
    spec = importlib.import_module("ansible_collections.buildfleet.buildcache").__spec__
    loader = Loader()
    monkeypatch.setattr(spec, "loader", loader)
    path = PLUGINS / "module_utils" / "_modules" / f"{entry}.py"
    with packed_bare(f"_modules.{entry}"):
        sent = spec.loader.get_data(str(path))
        # Each once, but for the one that was asked for.
        assert len(loader.read) - len({*loader.read}) == 1
        # Any other file stands for itself.
        assert spec.loader.get_data(str(FILES[1])) == bare(FILES[1].read_bytes())
    # What Ansible is to pack beside it.
    shown = {node.module for node in ast.walk(ast.parse(sent)) if isinstance(node, ast.ImportFrom)}
    assert shown == {"importlib.machinery", "ansible.module_utils.basic"}
    package = tmp_path / "sent" / "_modules"
    package.mkdir(parents=True)
    (package / path.name).write_bytes(sent)
    run = [sys.executable, "-c", _RUN.format(package="sent", entry=entry)]
    where = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **where})
    assert done.returncode == 0, done.stderr
    # An error names the file, and the line that it has here.
    line = next(row for row in done.stdout.splitlines() if row.startswith('  File "_base/units.py", line '))
    source = (PLUGINS / "module_utils" / "_base" / "units.py").read_text().splitlines()
    assert source[int(line.split("line ")[1].split(",")[0]) - 1].strip().startswith(("raise ", "return "))
    assert "sent._engine.unix" in done.stdout and "sent._engine.sdk" not in done.stdout
