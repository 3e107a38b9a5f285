#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Build the collection's artifact into build/, install it offline elsewhere, and see that everything in it answers
# to its full name; print "ok WHAT" or "FAILED WHAT" for each.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tools/../.." && pwd)
venv=$root/.venv
export LC_ALL=C.UTF-8 NO_COLOR=1 ANSIBLE_CONFIG="$venv/dist/ansible.cfg"
export ANSIBLE_HOME="$venv/dist/home" ANSIBLE_COLLECTIONS_PATH="$venv/dist/installed"

"$tools/copy_tree.sh" "$venv/dist/tree"
rm -rf "$ANSIBLE_COLLECTIONS_PATH" "$root"/build/*.tar.gz
mkdir -p "$ANSIBLE_COLLECTIONS_PATH"
: >"$ANSIBLE_CONFIG" # and not the checkout's
"$venv/bin/ansible-galaxy" collection build --force --output-path "$root/build" \
  "$venv/dist/tree/ansible_collections/buildfleet/buildcache"
"$venv/bin/ansible-galaxy" collection install --offline -p "$ANSIBLE_COLLECTIONS_PATH" "$root"/build/*.tar.gz

cd "$ANSIBLE_COLLECTIONS_PATH/ansible_collections/buildfleet/buildcache"
failed=0
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1) && [ -n "$output" ]; then
    echo "ok $what"
  else
    printf '%s\nFAILED %s\n' "$output" "$what"
    failed=1
  fi
}
shopt -s nullglob
for kind in modules filter; do
  for file in plugins/"$kind"/[!_]*.py; do
    name=buildfleet.buildcache.$(basename "$file" .py)
    check "documentation of $name" "$venv/bin/ansible-doc" -t "${kind%s}" "$name"
  done
done
for role in roles/*; do
  name=buildfleet.buildcache.${role#roles/}
  check "documentation of role $name" "$venv/bin/ansible-doc" -t role "$name"
done
for playbook in playbooks/*.yml; do
  name=buildfleet.buildcache.$(basename "$playbook" .yml)
  check "syntax of playbook $name" "$venv/bin/ansible-playbook" -i localhost, --syntax-check "$name"
done
exit "$failed"
