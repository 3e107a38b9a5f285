#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# with_lab.sh COMMAND [ARGUMENT…]: run a command while the lab is up.
# A lab that was not there before is taken down after, unless KEEP=1.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
cd "$tools/../.."

if [ ! -e .lab/inventory.yml ] && [ "${KEEP:-0}" != 1 ]; then
  trap 'python3 -m tests.lab down' EXIT
fi
trap 'exit 130' INT TERM

status=0
"$tools/lab_up.sh" || status=$?
if [ "$status" -eq 2 ]; then
  trap - EXIT # this machine cannot run the lab, and up has said why
fi
[ "$status" -eq 0 ] || exit "$status"
"$@"
