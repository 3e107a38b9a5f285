#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# community_docker.sh DIR: put community.docker, which the benchmarks compare with, into DIR/ansible_collections.
# It is taken out of the `ansible` package, which as a whole fills most of a gigabyte.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
python=$tools/../../.venv/bin/python
mkdir -p "$1"
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT

"$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$download" ansible
cd "$1"
"$python" - "$download"/ansible-*.whl <<'PYTHON'
import sys
import zipfile

WANTED = tuple(f"ansible_collections/community/{name}/" for name in ("docker", "library_inventory_filtering_v1"))

with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall(members=[name for name in wheel.namelist() if name.startswith(WANTED)])
PYTHON
