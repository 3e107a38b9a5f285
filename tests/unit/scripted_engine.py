# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scripted engine on a Unix socket or a TCP port, for what a real one can't be made to do on demand.

As a program: `python scripted_engine.py SOCKET SCRIPT.json [REQUESTS.log]` serves until it is killed. A script maps
"METHOD /path" (without the API version) to a list of answers, given one after the other, the last one again and
again. An answer is {"status": 200, "json": …, "delay": seconds, "drop": true, "text": …}, all parts optional; "drop"
closes the connection without an answer, "length" announces another length than the body has and closes it after that,
"chunked" sends the body in so many chunks (0 for chunks without end), "cut" closes it before the last of them, "drip"
sends a byte every so many seconds, and "close" tells the client that the connection is closed, and does that. Every
request is written to the log as "METHOD /path?query".
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

SOON = 30
"""Seconds: what is not given up takes longer, and a slow machine does not."""


def quiet_engine(version="28.5.2", api="1.51", min_api="1.24", records=(), images=(), containers=()):
    """Return the script of an engine that holds these API entries and answers every question about them."""
    return {
        "GET /version": [
            {
                "json": {
                    "Version": version,
                    "ApiVersion": api,
                    "MinAPIVersion": min_api,
                    "Components": [{"Name": "Engine", "Version": version}],
                }
            }
        ],
        "GET /info": [
            {
                "json": {
                    "Driver": "overlay2",
                    "DriverStatus": [["Backing Filesystem", "extfs"]],
                    "DockerRootDir": "/",
                    "LiveRestoreEnabled": False,
                    "SystemTime": "2026-01-02T00:00:00.000000001Z",
                }
            }
        ],
        "GET /system/df": [{"json": {"LayersSize": 0, "Images": list(images), "BuildCache": list(records)}}],
        "GET /containers/json": [{"json": list(containers)}],
    }


class ScriptedEngine:
    """Serves a script in a thread; ``requests`` lists what was asked, as "METHOD /path?query", and ``connections``
    counts what was accepted. ``path`` is that of a Unix socket, or None for a free port of 127.0.0.1."""

    def __init__(self, path, script, log=None):
        self.path, self.script, self.requests, self._log = path, script, [], log
        self.connections, self._accepted = 0, []
        self._given = {}
        self._lock = threading.Lock()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                engine._serve(self)

            do_POST = do_DELETE = do_PUT = do_HEAD = do_GET

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer if path else socketserver.TCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def get_request(self):
                request, _address = super().get_request()
                engine.connections += 1
                engine._accepted.append(request)
                return request, ("somebody", 0)

            def handle_error(self, request, client_address):
                pass  # a client that leaves is part of the play

        if path and os.path.exists(path):
            os.unlink(path)
        self._server = Server(path or ("127.0.0.1", 0), Handler)
        self.address = f"unix://{path}" if path else f"tcp://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *problem):
        self.stop_listening()
        if self.path:
            os.unlink(self.path)

    def stop_listening(self):
        """Stop serving, but leave the socket's file, as a killed dockerd does."""
        self._server.shutdown()
        self._server.server_close()

    def close_connections(self):
        """Close what was accepted so far, as an engine does with connections that are idle."""
        while self._accepted:
            with contextlib.suppress(OSError):
                self._accepted.pop().shutdown(socket.SHUT_RDWR)

    @property
    def writes(self):
        """The requests that could have changed something."""
        return [request for request in self.requests if not request.startswith(("GET ", "HEAD "))]

    def _serve(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        handler.rfile.read(length)
        target = re.sub(r"^/v\d+\.\d+/", "/", handler.path)
        key = f"{handler.command} {target.partition('?')[0]}"
        with self._lock:
            self.requests.append(f"{handler.command} {target}")
            if self._log:
                with open(self._log, "a", encoding="utf-8") as log:
                    log.write(f"{handler.command} {target}\n")
            answers = self.script.get(key)
            number = self._given.get(key, 0)
            self._given[key] = number + 1
        if not answers:
            answer = {"status": 404, "json": {"message": f"page not found: {key}"}}
        else:
            answer = answers[min(number, len(answers) - 1)]
        time.sleep(answer.get("delay", 0))
        if answer.get("drop"):
            handler.close_connection = True
            return
        body = answer["text"] if "text" in answer else json.dumps(answer.get("json", {}))
        data = body.encode()
        handler.send_response(answer.get("status", 200))
        handler.send_header("Content-Type", "application/json")
        if "close" in answer:
            handler.send_header("Connection", "close")
        if "chunked" in answer:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(answer.get("length", len(data))))
        handler.end_headers()
        handler.close_connection = any(name in answer for name in ("length", "cut", "close"))
        if "chunked" in answer:
            self._send_chunks(handler, data, answer)
        elif "drip" in answer:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(answer["drip"])
        else:
            handler.wfile.write(data)

    @staticmethod
    def _send_chunks(handler, data, answer):
        number = answer["chunked"]
        size = -(-len(data) // number) if number else len(data)
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        while True:
            for piece in pieces:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if number:
                break
        if not answer.get("cut"):
            handler.wfile.write(b"0\r\n\r\n")


def main():
    """Serve a script from a file until killed."""
    with open(sys.argv[2], encoding="utf-8") as file:
        script = json.load(file)
    # An engine of this host is known by who listens, and the name of that process.
    with open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("dockerd")
    with ScriptedEngine(sys.argv[1], script, log=sys.argv[3] if len(sys.argv) > 3 else None):
        threading.Event().wait()


if __name__ == "__main__":
    main()
