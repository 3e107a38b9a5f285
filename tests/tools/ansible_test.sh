#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible_test.sh VENV DIR sanity|units|integration [OPTION…]: run VENV's ansible-test on a copy of the collection.
# All is kept in DIR; the results are DIR/output/junit.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
ansible_test=$(cd "$1" && pwd)/bin/ansible-test
mkdir -p "$2/output"
dir=$(cd "$2" && pwd)
shift 2

# The output directory outlives the copy, because ansible-test keeps virtual environments in it.
"$tools/copy_tree.sh" "$dir/tree"
cd "$dir/tree/ansible_collections/buildfleet/buildcache"
rm -rf "$dir/output/junit" tests/output
ln -s "$dir/output" tests/output

# ansible-test would download get-pip.py; the pip that every Python carries serves as well.
mkdir -p "$dir/home/.ansible/test/cache"
for version in 24_2 25_2; do
  echo 'import ensurepip; ensurepip.bootstrap(default_pip=True)' >"$dir/home/.ansible/test/cache/get_pip_$version.py"
done

pythons=$("$tools/pythons.sh" | while read -r _ python; do printf '%s:' "${python%/*}"; done)
export HOME="$dir/home" LC_ALL=C.UTF-8
export PATH="$pythons${ansible_test%/*}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"$ansible_test" "$@" --venv --color no --truncate 0

# With nothing to run ansible-test warns and passes.
if ! [ -d "$dir/output/junit" ] || [ -z "$(ls "$dir/output/junit")" ]; then
  echo "ansible-test $1 found no test to run." >&2
  exit 1
fi
