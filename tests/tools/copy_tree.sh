#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# copy_tree.sh DEST: copy the collection to DEST/ansible_collections/buildfleet/buildcache, without what git ignores.
# The copy is a repository of its own: it stands below an ignored directory, and ansible-test asks git for its files.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
tree=$1/ansible_collections/buildfleet/buildcache

rm -rf "$1"
mkdir -p "$tree"
tree=$(cd "$tree" && pwd)
git init --quiet "$tree"
cd "$root"
git --git-dir="$tree/.git" --work-tree=. ls-files -z --others --exclude-standard \
  | xargs -0 cp -P --parents -t "$tree"
