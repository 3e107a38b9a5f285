#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Print the paths of a Chromium and of its driver, a line each: the machine's own, or Debian's, installed where that can
# be done. Fail where neither can be had, and say why.
set -euo pipefail

if ! command -v chromium chromedriver >/dev/null; then
  "$(dirname "$0")/packages.sh" chromium chromium-driver >&2
fi
command -v chromium
command -v chromedriver
