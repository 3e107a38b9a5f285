# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive that a host runs by itself, of a text as Ansible packs one. The fleet's tests have Ansible pack it."""

from __future__ import annotations

import base64
import io
import itertools
import subprocess
import sys
import zipfile

import pytest
from ansible.errors import AnsibleError

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils.archive import archive

ROOM = "ansible_collections/buildfleet/buildcache/plugins/module_utils/_modules"
FILES = {f"{ROOM}/scheduled.py": b"def main(*started):\n    print(*started)\n"}
for name in FILES.copy():
    FILES.update((f"{room}/__init__.py", b"") for room in itertools.accumulate(name.split("/")[:-1], "{}/{}".format))


def packed(year):
    """A text as Ansible sends one (ansible-core 2.21), packed in that year."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, source in FILES.items():
            made.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), source)
    data = base64.b64encode(target.getvalue()).decode()
    return f"""def main(**given):
    pass


if __name__ == "__main__":
    main(
ansible_module='one',
module_fqn='two.three',
profile='legacy',
date_time=datetime.datetime({year}, 1, 1),
rlimit_nofile=0,
zip_data={data!r},
)
""".encode()


def test_the_same_files_make_the_same_archive_and_it_runs_alone(tmp_path):
    file = tmp_path / "cleanup.pyz"
    file.write_bytes(archive(packed(2026)))
    assert archive(packed(2027)) == file.read_bytes()
    run = [sys.executable, "-I", "-S", str(file)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "two.three legacy\n"


@pytest.mark.parametrize("text", [b"print('hello')\n", b"f(module_fqn='a', profile='b', zip_data='no zip')\n"])
def test_what_is_packed_in_another_way_is_refused(text):
    with pytest.raises(AnsibleError, match="not known"):
        archive(text)
