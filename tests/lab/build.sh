#!/bin/sh
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# build.sh TAG [OPTION...] <DOCKERFILE: build an image on a host, without network. Runs there; the directory `context`
# beside it is the build's context. Where $BUILD_LOG names a file, what docker says of each step is appended to it.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
tag=$1
shift
cat >"$here/Dockerfile"

# With the containerd image store and BuildKit before 0.29 (Engine before 29.4) the rebuild of a tag can fail so.
# BuildKit first moves the tag, and then finds or unpacks one layer after the other (exporter/containerimage/export.go).
# Nothing holds the old image's layers by then: containerd's garbage collection can take one that was found just before
# the next is unpacked on it. Mended by moby/buildkit#6558. By then all is built: again means to unpack once more.
race='failed to prepare extraction snapshot ".*": parent snapshot sha256:[0-9a-f]* does not exist'
progress=${BUILD_LOG:+--progress=plain}
for _attempt in 1 2 3; do
    status=0
    errors=$(DOCKER_BUILDKIT=1 docker build "${progress:---quiet}" --network none --tag "$tag" --file "$here/Dockerfile" \
        "$@" "$here/context" 2>&1 >/dev/null) || status=$?
    printf '%s\n' "$errors" >>"${BUILD_LOG:-/dev/null}"
    [ "$status" -ne 0 ] || exit 0
    printf '%s\n' "$errors" | grep -q "$race" || break
done
printf '%s\n' "$errors" >&2
exit 1
