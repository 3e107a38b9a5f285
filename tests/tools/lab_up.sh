#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# lab_up.sh: boot the lab; $HOSTS, $KINDS, $EXTRA, $BUILDKIT_IMAGE and $DISK are passed on where they are set.
set -euo pipefail

cd "$(dirname "$0")/../.."
options=()
[ -z "${HOSTS:-}" ] || options+=(--hosts "$HOSTS")
[ -z "${KINDS:-}" ] || options+=(--kinds "$KINDS")
[ -z "${BUILDKIT_IMAGE:-}" ] || options+=(--buildkit-image "$BUILDKIT_IMAGE")
[ -z "${DISK:-}" ] || options+=(--disk "$DISK")
for extra in ${EXTRA:-}; do options+=(--extra "$extra"); done
exec python3 -m tests.lab up "${options[@]}"
