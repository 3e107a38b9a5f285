#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# every_python.sh sanity|units: run ansible-test for every Python of this machine that a managed host may have.
# Python 3.8 needs an ansible-core of its own: 2.19, the last that tests it.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
cd "$tools/../.."
case $1 in
  sanity) options=(--junit) on_old=(--test compile --test import) ;;
  *) options=() on_old=() ;;
esac

status=0
"$tools/ansible_test.sh" .venv ".venv/ansible-test/$1" "$1" "${options[@]}" || status=1

if .venv/bin/ansible-test "$1" --help | grep 'python version: 3\.8' >/dev/null; then
  exit "$status"
fi
if ! "$tools/pythons.sh" | grep '^3\.8 ' >/dev/null; then
  echo "WARNING: Skipping ${1%s} tests on Python 3.8 because it could not be found."
  exit "$status"
fi
if [ ! -e .venv/core-2.19/.ready ]; then
  "$tools/setup.sh" .venv/core-2.19 'ansible-core>=2.19,<2.20'
  touch .venv/core-2.19/.ready
fi
"$tools/ansible_test.sh" .venv/core-2.19 ".venv/ansible-test/$1-3.8" \
  "$1" --python 3.8 "${options[@]}" "${on_old[@]}" || status=1
exit "$status"
