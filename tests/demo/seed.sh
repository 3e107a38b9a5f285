#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Fills a build host the way weeks of builds do. Runs on the host, as root; needs no network and no image to pull.
# $BUILD is the text of tests/lab/build.sh.

set -euo pipefail

docker rm --force job app > /dev/null 2>&1 || true
mkdir -p /root/demo/context
cp "$(command -v busybox)" /root/demo/context/busybox
printf '%s\n' "$BUILD" > /root/demo/build.sh

# build TAG DOCKERFILE-TEXT [BUILD-OPTION...]
build() {
    sh /root/demo/build.sh "$1" "${@:3}" <<< "$2"
}

random() {
    echo "/bin/busybox dd if=/dev/urandom of=$1 bs=1M count=$2 2>/dev/null"
}

app="FROM scratch
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"$(random /base 20)\"]
ARG generation
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"$(random /app 15) && echo \$generation > /generation\"]
CMD [\"/bin/busybox\", \"sleep\", \"100000\"]"

# Several generations of one tag: each leaves its layers in the build cache, and with the graph driver an image.
for generation in 1 2 3 4; do
    build app:latest "$app" --build-arg "generation=$generation"
done

# An image kept by a stopped container, and one used by a running one.
build job:1 "FROM scratch
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"$(random /job 12)\"]
CMD [\"/bin/busybox\", \"true\"]"
docker run --name job --network none job:1 > /dev/null
docker run --detach --name app --network none app:latest > /dev/null

# A large private record: a stage of which the image keeps next to nothing.
build tool:1 "FROM scratch AS compile
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"$(random /objects 60) && echo done > /tool\"]
FROM scratch
COPY --from=compile /tool /tool"

# A cache mount. The Dockerfile frontend built into 20.10 knows none.
if docker version --format '{{.Server.Version}}' | grep -qv '^20\.'; then
    build packages:1 "FROM scratch
COPY busybox /bin/busybox
RUN --mount=type=cache,target=/cache [\"/bin/busybox\", \"sh\", \"-c\", \"$(random /cache/packages 25)\"]"
fi
