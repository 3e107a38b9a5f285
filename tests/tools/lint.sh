#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run every linter on a copy of the collection; print "ok LINTER" or "FAILED LINTER" for each, below what it found.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
venv=$(cd "$tools/../../.venv" && pwd)
"$tools/copy_tree.sh" "$venv/lint/tree"
cd "$venv/lint/tree/ansible_collections/buildfleet/buildcache"
mkdir -p "$venv/lint/home"
export HOME="$venv/lint/home" PATH="$venv/bin:$PATH" NO_COLOR=1 LC_ALL=C.UTF-8
export ANSIBLE_COLLECTIONS_PATH="$venv/lint/tree"

failed=0
check() {
  local name=$1
  shift
  if "$@" 2>&1; then echo "ok $name"; else echo "FAILED $name"; failed=1; fi
}

# Texts, pictures, data, what antsibull-changelog writes and the empty files that make packages carry no licence header.
mapfile -t bare < <(git ls-files -z --others --exclude-standard -- ':!COPYING' ':!*.md' ':!*.json' ':!*.png' \
  ':!changelogs/changelog.yaml' ':!*/__init__.py' | xargs -0 grep --files-without-match 'SPDX-License-Identifier: GPL-3.0-or-later')
check "licence headers${bare[*]:+, missing in: ${bare[*]}}" test -z "${bare[*]}"

mapfile -d '' scripts < <(git ls-files -z --others --exclude-standard | xargs -0 grep -lZ '^#!.*\(bash\|sh\)$')
check shellcheck shellcheck "${scripts[@]}"

check ruff ruff check --no-cache --output-format concise .
check import-linter env PYTHONPATH="$venv/lint/tree" lint-imports --no-cache
check ansible-lint ansible-lint --offline --strict --profile production
check antsibull-changelog antsibull-changelog lint
check antsibull-docs antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all .
exit "$failed"
