#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Build the documentation of modules, filters and roles as HTML, offline, into build/docs.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tools/../.." && pwd)
venv=$root/.venv
"$tools/copy_tree.sh" "$venv/docs/tree"
export LC_ALL=C.UTF-8 PATH="$venv/bin:$PATH"
export ANSIBLE_CONFIG="$venv/docs/ansible.cfg" ANSIBLE_COLLECTIONS_PATH="$venv/docs/tree"
: >"$ANSIBLE_CONFIG" # and not the checkout's

source=$venv/docs/source
rm -rf "$source" "$root/build/docs"
mkdir -p "$source" "$root/build/docs"
antsibull-docs sphinx-init --use-current --squash-hierarchy --fail-on-error --sphinx-theme alabaster \
  --dest-dir "$source" buildfleet.buildcache
# Nothing of other projects' inventories can be fetched offline, nor their references resolved.
printf '%s\n' 'intersphinx_mapping = {}' 'suppress_warnings = ["ref.ref"]' >>"$source/conf.py"
mkdir -p "$source/rst"
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$source/rst" buildfleet.buildcache
sphinx-build --quiet -b html -c "$source" "$source/rst" "$root/build/docs"
echo "Documentation: build/docs/index.html"
