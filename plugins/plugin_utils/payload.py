# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible packs of this collection: without comments and docstrings, over a third of it and nothing that runs; and
of a module that most hosts run all files in one. Side by side in the archive they take half as much again, since each
is compressed by itself and its path is written twice.

Ansible reads each file of module_utils by the loader of the collection's package, once for a run, and keeps what it has
packed for all hosts (ansible-core, executor/module_common.py, CollectionModuleUtilLocator; pkgutil.get_data). Should it
come to read them otherwise, they are sent as they are.
"""

from __future__ import annotations

import importlib
import io
import re
import tokenize
from contextlib import contextmanager

_COLLECTION = "ansible_collections.buildfleet.buildcache"

_BETWEEN = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
_NO_DOCSTRING = '"."'
"""What stands for a docstring: a body must not be empty, and a dataclass without one takes time to make its own."""


# Where no comment and no docstring is left. By ast it takes as long again as all the rest of the packing.
_IMPORT = re.compile(r"^ *from (\.*)([\w.]*) import (\([^)]*\)|[^(\n]*)", re.MULTILINE)

_IN_ONE = """import sys
from importlib.machinery import ModuleSpec

FILES = {files!r}
BASE = __name__[: -len({entry!r})]

if False:
{imports}


class Finder:
    def find_spec(self, name, path=None, target=None):
        file = name[len(BASE) :]
        if name.startswith(BASE) and file in FILES:
            return ModuleSpec(name, self, origin=file, is_package=FILES[file] is None)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        run(module.__spec__.origin, FILES[module.__name__[len(BASE) :]] or "", module.__dict__)


def run(file, source, names):
    exec(compile(source, file.replace(".", "/") + ".py", "exec"), names)


sys.meta_path.insert(0, Finder())
run({entry!r}, FILES[{entry!r}], globals())
"""
"""A file that stands for ``entry``, and has the sources of ``files`` by their names in module_utils, None for a room.
Ansible sees no import in them, and so it is shown those of its own files, which are never run here."""


class _BareLoader:
    """The loader of the collection's package, but for what get_data() returns of module_utils.

    ``in_one`` is the name of the file there that stands for all that it imports, None where each stands for itself.
    """

    def __init__(self, loader, in_one):
        self._loader, self._in_one = loader, in_one

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def get_data(self, path):
        data = self._loader.get_data(path)
        top, inside, file = path.rpartition("/module_utils/")
        if not (data and inside and file.endswith(".py")):
            return data
        name = file[: -len(".py")].replace("/", ".")
        return self._all_of(name, top + inside) if name == self._in_one else bare(data)

    def _all_of(self, entry, top):
        files, own, names = {}, set(), [entry]
        # Grows, by what each imports: files, and what is in them, which is no file.
        for name in names:
            source = self._loader.get_data(f"{top}{name.replace('.', '/')}.py")
            if not source:
                continue
            files[name] = bare(source).decode("utf-8")
            files[name.rpartition(".")[0]] = None
            for dots, module, imported in _IMPORT.findall(files[name]):
                if dots:
                    base = ".".join([*name.split(".")[: -len(dots)], *filter(None, [module])])
                    words = [base, *(f"{base}.{word}" for word in re.findall(r"\w+", imported))]
                    names += [word for word in dict.fromkeys(words) if word not in names]
                elif module.startswith("ansible."):
                    own.add(f"    from {module} import {imported}")
        return _IN_ONE.format(files=files, entry=entry, imports="\n".join(sorted(own))).encode("utf-8")


@contextmanager
def packed_bare(in_one=None):
    """While this is entered, Ansible packs the files of this collection without comments and docstrings, and with
    ``in_one``, the name of a file in module_utils, all that this one imports in its place."""
    spec = importlib.import_module(_COLLECTION).__spec__
    loader = spec.loader
    spec.loader = _BareLoader(loader, in_one)
    try:
        yield
    finally:
        spec.loader = loader


def bare(source):
    """Return Python source (bytes) without its comments and docstrings. Every statement keeps its line, so that a
    traceback from a host fits the file as it is here."""
    text = source.decode("utf-8")
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    out, end = [], 0
    for first, last, instead in sorted(_spans(text)):
        begin = starts[first[0] - 1] + first[1]
        out += [text[end:begin].rstrip(" ") if instead == "" else text[end:begin], instead]
        end = starts[last[0] - 1] + last[1]
        out.append("\n" * (last[0] - first[0]))
    return "".join([*out, text[end:]]).encode("utf-8")


def _spans(text):
    """Yield where comments and docstrings are, as (row, column) of beginning and end, and what stands there instead."""
    before, string = tokenize.NEWLINE, None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NL:
            continue
        if token.type == tokenize.COMMENT:
            yield token.start, token.end, ""
            continue
        if string and token.type == tokenize.NEWLINE:
            yield string.start, string.end, _NO_DOCSTRING
        string = token if token.type == tokenize.STRING and before in _BETWEEN else None
        before = token.type
