# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What years leave on a build host: pulls, moved tags, classic builds, commits, archives, odd dates, containers.

Each line of script here does one thing that users do. Those for a trial are drawn by a seeded Random.
"""

from __future__ import annotations

import builds
import fleet

REGISTRY = "127.0.0.1:5000"

_START = f"""
curl() {{ /usr/bin/curl "$@"; }}
mkdir -p {builds.CONTEXT}/registry
cat >{builds.CONTEXT}/registry.yml <<'END'
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {builds.CONTEXT}/registry}}, delete: {{enabled: true}}}}
http: {{addr: {REGISTRY}}}
END
systemctl is-active --quiet fleet-registry ||
    systemd-run --quiet --unit fleet-registry --collect docker-registry serve {builds.CONTEXT}/registry.yml
for _second in $(seq 50); do
    if python3 -c 'import urllib.request as r; r.urlopen("http://{REGISTRY}/v2/")' 2>/dev/null; then exit 0; fi
    sleep 0.2
done
echo "The registry does not serve." >&2
exit 1
""".replace('curl() { /usr/bin/curl "$@"; }\n', "")


def start_registry():
    """Run a registry on every host, outside the data disk, until stop_registry(); engines take it without TLS."""
    fleet.shell(_START)


def stop_registry():
    """Stop the registry of every host, and remove what was pushed to it."""
    fleet.shell(f"systemctl stop fleet-registry 2>/dev/null || true\nrm -rf {builds.CONTEXT}/registry\n")


def name(number):
    """Return the name, without a tag, of one of the few repositories in the registry."""
    return f"{REGISTRY}/team/app{number}"


def classic(tag, steps, base="scratch", label=""):
    """Return a script that builds an image with the classic builder: a chain of parents, one for each step.

    ``steps`` are numbers; equal ones on an equal base are taken from the builder's cache.
    """
    lines = "COPY busybox /bin/busybox\n" if base == "scratch" else ""
    lines += f"LABEL {label}\n" if label else ""
    lines += "".join(
        builds.do(f"/bin/busybox head -c {300000 + 50000 * step} /dev/urandom >/classic{step}") for step in steps
    )
    tagged = f"--tag {tag}" if tag else ""
    return f"""cat >{builds.CONTEXT}/Dockerfile.classic <<'END'
FROM {base}
{lines}END
DOCKER_BUILDKIT=0 docker build --quiet --network none {tagged} --file {builds.CONTEXT}/Dockerfile.classic \\
    {builds.CONTEXT}/context >/dev/null 2>{builds.CONTEXT}/errors || {{ cat {builds.CONTEXT}/errors >&2; exit 1; }}
"""


def push(image, repository, tag):
    """Return a script that tags an image for the registry and pushes it, so that it has a digest too."""
    return f"docker tag {image} {repository}:{tag}\ndocker push --quiet {repository}:{tag} >/dev/null\n"


def untag(image):
    """Return a script that removes a name, which engines refuse where a container goes by that name: then it stays."""
    return f"docker rmi {image} >/dev/null 2>&1 || true\n"


def pull_by_digest(repository, tag):
    """Return a script that removes a pushed image's tag and pulls it by its digest, which alone names it then."""
    return f"""digest=$(docker image inspect {repository}:{tag} \\
    --format '{{{{range .RepoDigests}}}}{{{{println .}}}}{{{{end}}}}' |
    grep '^{repository}@' | head -n 1)
{untag(f"{repository}:{tag}")}docker pull --quiet $digest >/dev/null
"""


def commit(image, tag, number):
    """Return a script that makes an image by a commit, on top of another one."""
    return f"""container=$(docker run --detach --network none {image} /bin/busybox sh -c \\
    '/bin/busybox head -c {200000 + 90000 * number} /dev/urandom >/commit{number}')
docker wait $container >/dev/null
docker commit $container {tag} >/dev/null
docker rm $container >/dev/null
"""


def load(image):
    """Return a script that saves an image, removes it and loads it again."""
    return f"""docker save --output {builds.CONTEXT}/archive.tar {image}
{untag(image)}docker load --quiet --input {builds.CONTEXT}/archive.tar >/dev/null
rm {builds.CONTEXT}/archive.tar
"""


_DATED = """import hashlib, io, json, os, subprocess, sys, tarfile
created, tag = sys.argv[1:]
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as inner:
    one = tarfile.TarInfo("noise")
    noise = os.urandom(400000)
    one.size = len(noise)
    inner.addfile(one, io.BytesIO(noise))
config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [
    "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}
if created:
    config["created"] = created
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as outer:
    for name, data in (("layer.tar", layer.getvalue()), ("config.json", json.dumps(config).encode()), ("manifest.json",
            json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode())):
        one = tarfile.TarInfo(name)
        one.size = len(data)
        outer.addfile(one, io.BytesIO(data))
subprocess.run(["docker", "load", "--quiet"], input=archive.getvalue(), check=True, stdout=subprocess.DEVNULL)
"""


def dated(tag, created=""):
    """Return a script that loads an image with this date, or with none, as some builders write them."""
    return f"python3 - '{created}' {tag} <<'END'\n{_DATED}END\n"


LEFTOVERS = r"""
driver=$(docker info --format '{{.Driver}}')
root=$(docker info --format '{{.DockerRootDir}}')
layers=$root/image/$driver/layerdb/sha256
if [ -d "$layers" ]; then
    # A power cut between two files of a layer; a cut-off removal; a file that never reached the disk; a torn image.
    mkdir -p $layers/$(printf %064d 1) $layers/$(printf %064d 2)-1234-removing $layers/$(printf %064d 3)
    printf 1000 >$layers/$(printf %064d 2)-1234-removing/size
    : >$layers/$(printf %064d 3)/size
    : >$layers/$(printf %064d 3)/diff
    printf '{' >$root/image/$driver/imagedb/content/sha256/$(printf %064d 4)
    mkdir -p $root/$driver/$(printf %064d 5)/diff
    mkdir -p $root/image/$driver/layerdb/mounts/$(printf %064d 6)
fi
"""
"""A script that leaves what crashes leave in the graph driver's store."""

NO_LEFTOVERS = r"""
driver=$(docker info --format '{{.Driver}}')
root=$(docker info --format '{{.DockerRootDir}}')
rm -rf $root/image/$driver/layerdb/sha256/0000* $root/image/$driver/imagedb/content/sha256/0000* \
    $root/image/$driver/layerdb/mounts/0000* $root/$driver/0000*
"""


def life(chance):
    """Return a script that does a few of these things, drawn by ``chance``."""
    script = ""
    for _thing in range(chance.randint(2, 4)):
        number, tag = chance.randrange(3), f"c{chance.randrange(4)}:1"
        steps = [chance.randrange(4) for _step in range(chance.randint(1, 3))]
        thing = chance.randrange(10)
        if thing == 0:
            script += classic(chance.choice((tag, "")), steps)
        elif thing == 1:
            script += classic(tag, steps) + classic(f"d{number}:1", [5, number], base=tag, label=f"stage={number}")
        elif thing == 2:
            script += classic(tag, steps) + push(tag, name(number), chance.choice(("1", "2")))
        elif thing == 3:
            # Its tag is moved by a later push, and the old one keeps its digest.
            script += classic(tag, steps) + push(tag, name(number), "1")
            script += classic(tag, [*steps, 6]) + push(tag, name(number), "1")
        elif thing == 4:
            script += classic(tag, steps) + push(tag, name(number), "9") + untag(tag)
            script += pull_by_digest(name(number), "9")
            if chance.random() < 0.6:
                script += f'docker tag "$digest" pinned:{number}\n'
                script += classic(f"e{number}:1", [number], base=f"pinned:{number}")
                script += chance.choice(("", untag(f"pinned:{number}")))
        elif thing == 5:
            script += classic(tag, steps) + commit(tag, f"commit{number}:1", number)
            script += commit(f"commit{number}:1", chance.choice(("", f"commit{number}:2")), number + 1)
        elif thing == 6:
            script += classic(f"loaded{number}:1", steps) + load(f"loaded{number}:1")
        elif thing == 7:
            created = chance.choice(("", "1970-01-01T00:00:00Z", "1980-01-01T00:00:01Z", "2020-01-01T00:00:00Z"))
            script += dated(f"dated{chance.randrange(2)}:1", created)
        elif thing == 8:
            script += builds.build(f"image{number}:1", builds.some_steps(chance, least=1))
            script += push(f"image{number}:1", name(number), "b") + commit(f"image{number}:1", "", number)
        else:
            script += classic(tag, steps) + f"docker tag {tag} other:{number}\n"
            # One that is not asked to end keeps a restart of dockerd waiting.
            state = chance.choice(("create", "run", "run --detach --stop-signal KILL"))
            command = "sleep 900" if "detach" in state else "true"
            script += f"docker {state} --network none {tag} /bin/busybox {command} >/dev/null\n"
            script += chance.choice(("", f"docker rmi --force {tag} other:{number} >/dev/null 2>&1 || true\n"))
    return script
