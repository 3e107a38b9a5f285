# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive that runs on a host without a controller: what Ansible packs of a module, and what starts it."""

from __future__ import annotations

import ast
import base64
import io
import zipfile

from ansible.errors import AnsibleError

_START = """from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.scheduled import main

if __name__ == "__main__":
    main({module!r}, {profile!r})
"""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that the same files make the same archive. The first that an archive can have."""


def archive(packed):
    """Return the bytes of a zip that Python runs, by the text (bytes) that Ansible would send for a module.

    That text calls a function of its own with all there is (ansible-core, executor/module_common.py, modify_module,
    since 2.19). Raises AnsibleError where it does not.
    """
    given = _given(packed)
    try:
        start = _START.format(module=given["module_fqn"], profile=given["profile"])
        source = zipfile.ZipFile(io.BytesIO(base64.b64decode(given["zip_data"])))
    except (KeyError, ValueError, zipfile.BadZipFile) as problem:
        raise AnsibleError(
            f"This version of ansible-core packs modules in a way that is not known ({problem!r}), so that no archive "
            "can be made of one. Please report it."
        ) from problem
    files = {name: source.read(name) for name in source.namelist()}
    files["__main__.py"] = start.encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            made.writestr(entry, files[name])
    return target.getvalue()


def _given(packed):
    """Return the constants that the text of a module gives to its last call, {} where it has none."""
    last = ast.parse(packed.decode("utf-8")).body[-1]
    calls = [node for node in ast.walk(last) if isinstance(node, ast.Call) and node.keywords]
    words = calls[0].keywords if calls else ()
    return {word.arg: word.value.value for word in words if isinstance(word.value, ast.Constant)}
