# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One message a run, to a real HTTP server: what it says, when it is sent, and that nothing secret is in any output."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fleet
import pytest
from test_playbooks import recap

pytestmark = pytest.mark.any_engine

GONE = "gone"
"""A host of the inventory that cannot be reached."""

SECRETS = ("hook-4711", "token-0815")
"""In the path of the address and in a header."""


class Service(ThreadingHTTPServer):
    """A chat service that keeps what is posted, and answers by the last word of the path."""

    daemon_threads = True

    def __init__(self):
        self.posts, self.over = [], threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def address(self, word):
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRETS[0]}/{word}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append({"path": self.path, "token": self.headers["Authorization"], "body": body})
        word = self.path.rpartition("/")[2]
        if word == "silent":
            self.server.over.wait(fleet.TIME_LIMIT)
        if word == "slow":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not self.server.over.wait(0.5):
                self.wfile.write(b"x")
        self.send_response({"error": 500, "elsewhere": 307}.get(word, 200))
        self.send_header("Location", self.server.address("found"))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def handle(self):
        # Where the client has gone.
        with suppress(OSError):
            super().handle()

    def log_message(self, *_args):
        """Keep the output of the tests clean."""


@pytest.fixture
def service():
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(tmp_path):
    """Return a function that runs a playbook with the host that is gone; it returns its status and its output, in which
    nothing secret is. Its variables are in a file, as with a vault."""
    inventory = tmp_path / "gone.yml"
    inventory.write_text(
        json.dumps({"build_hosts": {"hosts": {GONE: {"ansible_host": "127.0.0.1", "ansible_port": 1}}}})
    )

    def run(playbook, variables, *arguments):
        given = tmp_path / "settings.json"
        given.write_text(json.dumps({"notify_webhook_headers": {"Authorization": f"Bearer {SECRETS[1]}"}, **variables}))
        status, output = fleet.playbook(playbook, "-vvv", "-i", str(inventory), "-e", f"@{given}", *arguments)
        assert not [secret for secret in SECRETS if secret in output], output
        return status, output

    return run


def test_a_run_sends_one_message_with_what_became_of_each_host(service, settings):
    url = {"notify_webhook_url": service.address("fine")}
    state = fleet.hosts()
    hosts = len(state) + 1

    status, output = settings("cleanup", url, "--check")
    assert status != 0 and service.posts == [] and f"(check mode): {hosts} hosts" in output, output

    status, output = settings("cleanup", url)
    counts = recap(output)
    assert status != 0 and set(counts) == {*state, GONE}, output
    assert {host: count["failed"] for host, count in counts.items()} == {**dict.fromkeys(state, 0), GONE: 1}
    (post,) = service.posts
    text, summary = post["body"]["text"], post["body"]["summary"]
    assert post["token"] == f"Bearer {SECRETS[1]}" and text.startswith(f"buildcache cleanup: {hosts} hosts, "), text
    totals = {name: summary["totals"][name] for name in ("hosts", "failed", "unreachable")}
    assert totals == {"hosts": hosts, "failed": 1, "unreachable": 1}
    assert [(one["host"], one["unreachable"]) for one in summary["failures"]] == [(GONE, True)]
    assert {one["host"] for one in summary["worst"]} == set(state) and f"\n- {GONE}: " in text

    # A run on which nobody is left has a message, too, and one that has nothing to tell has none.
    status, output = settings("cleanup", url, "-e", f"buildcache_hosts={GONE}")
    assert status != 0 and service.posts[1]["body"]["summary"]["totals"]["failed"] == 1, output
    body = {"content": "{{ notify_message }}", "token": SECRETS[1], "of": "{{ notify_summary.playbook }}"}
    own = {**url, "notify_webhook_body": body, "buildcache_hosts": "none_such"}
    status, output = settings("cleanup", own)
    sent = service.posts[2]["body"]
    assert (
        status == 0 and "no host matched" in sent["content"] and (sent["token"], sent["of"]) == (SECRETS[1], "cleanup")
    ), output
    status, output = settings("cleanup", {**url, "notify_only": "failures"}, "--limit", ",".join(state))
    assert status == 0 and len(service.posts) == 3, output


def test_a_message_that_cannot_be_sent_fails_no_build_host(service, settings):
    said = {
        "error": "answered with the status 500",
        "elsewhere": "answered with the status 307",
        "silent": "gave no answer (timed out)",
        "slow": "gave no answer (timed out)",
    }
    for word, why in said.items():
        limit = {"notify_deadline": 4} if word == "slow" else {"notify_timeout": 1}
        url = {"notify_webhook_url": service.address(word), **limit}
        status, output = settings("notify", url)
        assert status == 0 and f"The message was not sent: the webhook {why}" in output, output
    assert [post["path"].rpartition("/")[2] for post in service.posts] == [*said], "each was asked once"

    status, output = settings(
        "notify", {"notify_webhook_url": f"http://127.0.0.1:9/{SECRETS[0]}", "notify_required": "yes"}
    )
    counts = recap(output)
    assert status == 2 and counts.pop("localhost")["failed"] == 1, output
    assert not any(count["failed"] for count in counts.values()) and "(connection refused)" in output, output

    secret = {"notify_webhook_url": service.address("{{ no_such_variable }}")}
    for wrong in (secret, {"notify_webhook_headers": f"{{{SECRETS[1]}"}):
        status, output = settings("notify", {"notify_webhook_url": service.address("fine"), **wrong})
        assert status == 0 and "The message was not sent: " in output, output


def test_a_message_goes_by_tasks_of_ones_own(settings, tmp_path):
    tasks, written = tmp_path / "tell.yml", tmp_path / "written"
    task = {"content": "{{ notify_summary.playbook }}: {{ notify_message }}", "dest": str(written), "mode": "0600"}
    tasks.write_text(json.dumps([{"name": "Tell", "ansible.builtin.copy": task}]))
    given = {"notify_task_file": str(tasks), "notify_webhook_url": "", "notify_worst": ""}
    status, output = settings("rescue", given, "--limit", GONE)
    text = written.read_text()
    assert status != 0 and text.startswith(
        "rescue: buildcache rescue: 1 host, 0 changed, 1 failed (1 unreachable); "
    ), text
