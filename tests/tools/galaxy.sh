#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Let galaxy-importer judge the collection as Galaxy does when it imports one; print "ok" or "FAILED".
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
venv=$(cd "$tools/../../.venv/galaxy" && pwd)
mkdir -p "$venv/home"
export HOME="$venv/home" LC_ALL=C.UTF-8 PATH="$venv/bin:$PATH" NO_COLOR=1

"$tools/copy_tree.sh" "$venv/tree"
cd "$venv/tree/ansible_collections/buildfleet/buildcache"
# The importer refuses a collection that has no public address yet; all else is judged as it is.
sed -i 's|^repository: ""|repository: https://example.org|' galaxy.yml
ansible-galaxy collection build --force --output-path "$venv/artifact" >/dev/null

cd "$venv/artifact"
if ! log=$(python -m galaxy_importer.main ./*.tar.gz 2>&1); then
  printf '%s\nFAILED galaxy-importer\n' "$log"
  exit 1
fi
echo "$log"
echo "ok galaxy-importer"
