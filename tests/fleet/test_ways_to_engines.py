# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways to an engine: its Unix socket without any package, TLS and SSH by the docker SDK of each distribution."""

from __future__ import annotations

import json

import builds
import fleet
import pytest
from variants import variants

WAYS = f"{builds.CONTEXT}/ways"
BARE = f"{WAYS}/python-without-packages"
ADDRESS = "tcp://localhost:2376"

# What the docker SDK cannot read, and a Python that has none of the distribution's packages.
BARE_HOST = f"""
mkdir -p {WAYS} /root/.docker
[ ! -e /root/.docker/config.json ] || cp -p /root/.docker/config.json {WAYS}/config.json
echo '{{"proxies": null, "auths": {{"r.example": {{"auth": ""}}}}}}' >/root/.docker/config.json
printf '#!/bin/sh\\nexec /usr/bin/python3 -S "$@"\\n' >{BARE}
chmod +x {BARE}
"""
AS_BEFORE = f"""
rm -f /root/.docker/config.json
[ ! -e {WAYS}/config.json ] || mv {WAYS}/config.json /root/.docker/config.json
"""

# A dockerd of its own beside the host's, which asks for a certificate of the client. Python 3.13 and later want the
# authority to say what its key is for.
TLS = f"""
mkdir -p {WAYS} /etc/tls-engine /run/tls-engine
cd {WAYS}
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -addext keyUsage=critical,keyCertSign \\
    -keyout ca-key.pem -out ca.pem 2>/dev/null
for name in server client; do
    openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name-key.pem -out $name.csr 2>/dev/null
    printf 'subjectAltName = DNS:localhost\\nauthorityKeyIdentifier = keyid\\n' >extensions
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile extensions \\
        -out $name.pem 2>/dev/null
done
echo "{{}}" >/etc/tls-engine/daemon.json
cat >/run/systemd/system/tls-engine.service <<'UNIT'
[Service]
Type=notify
ExecStart=/usr/sbin/dockerd --host {ADDRESS} --tlsverify --tlscacert {WAYS}/ca.pem --tlscert {WAYS}/server.pem \\
  --tlskey {WAYS}/server-key.pem --data-root /var/lib/docker/tls-engine --exec-root /run/tls-engine/exec \\
  --pidfile /run/tls-engine/docker.pid --config-file /etc/tls-engine/daemon.json --bridge none --iptables=false \\
  --ip6tables=false --containerd-namespace tls --containerd-plugins-namespace tls-plugins
KillMode=process
UNIT
systemctl daemon-reload
systemctl start tls-engine
"""
NO_TLS = """
systemctl stop tls-engine
rm -rf /run/systemd/system/tls-engine.service /etc/tls-engine /run/tls-engine /var/lib/docker/tls-engine
systemctl daemon-reload
"""

CLIENT = {
    "docker_host": ADDRESS,
    "validate_certs": True,
    "ca_path": f"{WAYS}/ca.pem",
    "client_cert": f"{WAYS}/client.pem",
    "client_key": f"{WAYS}/client-key.pem",
}


@pytest.fixture(scope="module")
def bare(lab):
    """Hosts whose file of the docker client is broken: the variables of tasks without any package."""
    fleet.shell(BARE_HOST)
    yield {"ansible_python_interpreter": BARE}
    fleet.shell(AS_BEFORE)


@pytest.mark.parametrize(
    "address", variants(["http+unix:///run/docker.sock", "unix:///var/run/docker.sock", "/run/docker.sock"], first=1)
)
def test_the_hosts_own_engine_is_asked_without_a_package_or_a_file_of_the_client(bare, address):
    tasks = [fleet.task("buildcache_facts"), fleet.task("buildcache_prune", check=True)]
    tasks += [fleet.task("buildcache_gc_policy", {"rules": [{"max_used_space": "20GB"}]}, check=True)]
    tasks += [fleet.task("buildcache_restart", {"planned": True, "allow_container_stop": True}, check=True)]
    for results in fleet.play([_at(address, one) for one in tasks], variables=bare):
        fleet.succeeded(results)


def _at(address, task):
    return {**task, "environment": {"DOCKER_HOST": address}}


@pytest.fixture(scope="module")
def tls(lab):
    """Hosts with a second dockerd that listens for TLS."""
    fleet.shell(TLS)
    yield
    fleet.shell(NO_TLS)


def test_an_engine_is_asked_and_pruned_over_tls(tls):
    versions = fleet.shell("docker version --format '{{.Server.Version}}'")
    for host, found in fleet.facts(CLIENT).items():
        assert found["engine"]["version"] == versions[host].strip(), host
        assert found["engine"]["root_dir"] == "/var/lib/docker/tls-engine", host
    for host, result in fleet.prune(CLIENT).items():
        assert [step["step"] for step in result["steps"]] == ["containers", "images", "build_cache"], host
        assert not result["changed"], host


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"client_cert": None, "client_key": None}, "Cannot talk to the engine at tcp://localhost:2376"),
        ({"ca_path": None}, "certificate verify failed"),
        ({"docker_host": "tcp://127.0.0.1:2376"}, "Cannot talk to the engine at tcp://127.0.0.1:2376"),
        ({"validate_certs": False}, "HTTP request to an HTTPS server"),
    ],
)
def test_what_tls_refuses_is_told(tls, left_out, message):
    options = {name: value for name, value in {**CLIENT, **left_out}.items() if value is not None}
    for host, result in fleet.run("buildcache_facts", options).items():
        assert result["failed"] and message in result["msg"], (host, result["msg"])


# The host itself as another one: who comes by SSH comes as root, with a key of its own.
SSH = f"""
mkdir -p -m 700 /root/.ssh {WAYS}/no-paramiko
cp -p /root/.ssh/authorized_keys {WAYS}/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cat /root/.ssh/id_ed25519.pub >>/root/.ssh/authorized_keys
printf 'localhost %s\\n' "$(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/root/.ssh/known_hosts
echo 'raise ImportError("No module named paramiko")' >{WAYS}/no-paramiko/paramiko.py
"""
NO_SSH = f"""
mv {WAYS}/authorized_keys /root/.ssh/authorized_keys
rm -f /root/.ssh/id_ed25519 /root/.ssh/id_ed25519.pub /root/.ssh/known_hosts
"""
BY_SSH = {"docker_host": "ssh://root@localhost"}


@pytest.fixture(scope="module")
def ssh(lab):
    """Hosts that root can reach by SSH from themselves."""
    fleet.shell(SSH)
    yield
    fleet.shell(NO_SSH)


def test_an_engine_is_asked_and_pruned_over_ssh(ssh, empty):
    fleet.shell(builds.generations("far:1", 2, 2))
    here, there = fleet.facts(), fleet.facts(BY_SSH)
    for host, found in there.items():
        assert found["engine"]["version"] == here[host]["engine"]["version"], host
        assert found["builders"][0]["record_count"] == here[host]["builders"][0]["record_count"] > 0, host
        # Its disks are those of another host, for all that is known.
        assert found["filesystems"] == [], host
    for host, result in fleet.prune({**BY_SSH, "images": "unused", "all": True}).items():
        removed = {step["step"]: step["removed"]["count"] for step in result["steps"]}
        assert result["changed"] and removed["images"] > 0 and removed["build_cache"] > 0, (host, removed)
    for host, result in fleet.prune(BY_SSH).items():
        assert not result["changed"], host


def test_ssh_to_nowhere_and_without_paramiko_says_what_to_do(ssh):
    tasks = [
        {**fleet.task("buildcache_facts", BY_SSH), "environment": {"PYTHONPATH": f"{WAYS}/no-paramiko"}},
        fleet.task("buildcache_facts", {"docker_host": "ssh://root@localhost:1"}),
    ]
    missing, nowhere = fleet.play(tasks)
    for host, result in missing.items():
        assert result["failed"] and "paramiko" in result["msg"], (host, json.dumps(result))
    for host, result in nowhere.items():
        said = "Cannot talk to the engine at ssh://root@localhost:1"
        assert result["failed"] and said in result["msg"], (host, result)
