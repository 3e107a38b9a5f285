# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds on the hosts, with layers of known size. They start from scratch and a static busybox, without network."""

from __future__ import annotations

import secrets

import engine
import fleet

CONTEXT = "/root/fleet"
"""A directory on each host for the tests' files; its subdirectory context is the builds' context."""

DIFFERENT = 6
"""How many different steps some_steps() has."""

FROM_SCRATCH = "FROM scratch\nCOPY busybox /bin/busybox\n"


def prepare():
    """Make the builds' context on every host, and bring the command that builds."""
    command = (fleet.ROOT / "tests" / "lab" / "build.sh").read_text()
    fleet.shell(
        f'mkdir -p {CONTEXT}/context && cp "$(command -v busybox)" {CONTEXT}/context/busybox\n'
        f"cat >{CONTEXT}/build <<'SCRIPT'\n{command}SCRIPT\nchmod +x {CONTEXT}/build"
    )


def do(command):
    """Return the Dockerfile line that runs a command of busybox's shell."""
    return f'RUN ["/bin/busybox", "sh", "-c", "{command}"]\n'


def write(path, megabytes):
    """Return the Dockerfile line that makes a layer of so many MB of noise."""
    return do(f"/bin/busybox dd if=/dev/urandom of={path} bs=1M count={megabytes} 2>/dev/null")


def some_steps(chance, least, mounts=0.0):
    """Return a Dockerfile of up to four of the same few steps, so that builds share some and differ in others.

    ``least`` is how few steps it may have, ``mounts`` the share of those with a cache mount.
    """
    text = FROM_SCRATCH
    for _step in range(chance.randint(least, 4)):
        number = chance.randrange(DIFFERENT)
        line = do(f"/bin/busybox head -c {number * 150000 + 1000} /dev/urandom >/file{number}")
        if chance.random() < mounts:
            line = line.replace("RUN ", f"RUN --mount=type=cache,target=/cache{number} ", 1)
        text += line
    return text


def build(tag, dockerfile, *options):
    """Return the lines of a script that build an image."""
    return f"{CONTEXT}/build {' '.join((tag, *options))} <<'END'\n{dockerfile}END\n"


def generations(tag, number, megabytes):
    """Return a script that builds a tag so often, each time with a new layer of so many MB over a common one."""
    return "".join(
        build(tag, f"{FROM_SCRATCH}{write('/base', 4)}{write(f'/generation{each}', megabytes)}")
        for each in range(number)
    )


def stages(sizes):
    """Return a Dockerfile with a stage for each {name: MB}, of which the image keeps next to nothing.

    Each stage leaves one private record of that size, and can be built alone as a target of its name.
    """
    text = f"FROM scratch AS tools\nCOPY busybox /bin/busybox\n{do('echo > /done')}"
    for name, megabytes in sizes.items():
        text += f"FROM tools AS {name}\n{write(f'/{name}', megabytes)}"
    text += "FROM scratch\n"
    return text + "".join(f"COPY --from={name} /done /{name}\n" for name in sizes)


def start(tag, dockerfile):
    """Return a script that starts a build and does not wait for it; see ENDED."""
    return f"""rm -f {CONTEXT}/ended
cat >{CONTEXT}/long <<'END'
{dockerfile}END
setsid -f sh -c '{CONTEXT}/build {tag} <{CONTEXT}/long; echo $? >{CONTEXT}/ended' >{CONTEXT}/log 2>&1 </dev/null
"""


_SLOW = "/bin/busybox sleep 98765"
LET_GO = f"pkill -f '^{_SLOW}'"
"""A script that has the build end that start_slow() has started."""


def start_slow(tag):
    """Return a script that starts a build, and waits until its step runs, which does so until LET_GO."""
    # Another step each time: one that has ended well is in the cache.
    step = do(f"{_SLOW}; echo {secrets.token_hex(4)}")
    return f"""{start(tag, f"{FROM_SCRATCH}{step}")}
until pgrep -f '^{_SLOW}' >/dev/null; do
    [ ! -e {CONTEXT}/ended ] || {{ cat {CONTEXT}/log >&2; exit 1; }}
    sleep 0.1
done
"""


ENDED = f"cat {CONTEXT}/ended 2>/dev/null || true"
"""A script that prints the exit status of the build that start() has started, nothing while it runs."""

_EMPTY = """
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
# A parent cannot go before its children.
for _round in $(seq 20); do
    docker images --all --quiet | sort --unique | xargs --no-run-if-empty docker rmi --force 2>/tmp/refused && break
done || { cat /tmp/refused >&2; exit 1; }
docker builder prune --all --force
"""


def empty_engines():
    """Remove all containers, images and build cache from every host; return {host: State} of then."""
    fleet.shell(_EMPTY)
    states = engine.look()
    for host, state in states.items():
        held = (list(state.records), state.images, state.containers)
        assert held == ([], [], []), f"{host} could not be emptied: {held}"
    return states
