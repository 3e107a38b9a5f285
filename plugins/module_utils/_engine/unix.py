# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to an engine on a Unix socket of this host: the standard library's HTTP client, and nothing else."""

from __future__ import annotations

import http.client
import select
import socket
import time

from .wire import PIECE, Answer, TooMuch, TooSlow, Unanswered, whole_body

_AT_ONCE = 0.001
_FULL_QUEUE_PAUSE = 0.05


class _Socket(socket.socket):
    """A socket whose every wait ends at ``end`` (by time.monotonic). With a time for each wait, an engine that sends a
    byte now and then would never be too slow."""

    end = 0.0

    def left(self):
        self.settimeout(max(self.end - time.monotonic(), _AT_ONCE))

    def recv_into(self, *arguments):
        self.left()
        return super().recv_into(*arguments)

    def sendall(self, *arguments):
        self.left()
        return super().sendall(*arguments)


class UnixTransport:
    """A transport (wire.py) over the Unix socket at a path."""

    def __init__(self, path):
        self._path = path
        self._http = http.client.HTTPConnection("localhost")

    def request(self, method, target, timeout, patience):
        """Return the Answer; see wire.py."""
        begun = False
        try:
            if self._http.sock is None or _was_closed(self._http.sock):
                self._http.close()
                self._http.sock = self._connected(time.monotonic() + timeout)
            end = self._http.sock.end = time.monotonic() + patience
            begun = True
            self._http.request(method, target)
            answer = self._http.getresponse()
            body = whole_body(iter(lambda: answer.read(PIECE), b""), answer.getheader("Content-Length"), end)
            return Answer(answer.status, body)
        except (TooSlow, TooMuch, Unanswered):
            self._http.close()
            raise
        except socket.timeout as problem:
            self._http.close()
            raise TooSlow from problem
        # A path with a zero byte in it is a ValueError.
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self._http.close()
            raise Unanswered(f"{type(problem).__name__}: {problem}", begun) from problem

    def _connected(self, end):
        connected = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.end = end
            while True:
                connected.left()
                try:
                    connected.connect(self._path)
                    return connected
                except BlockingIOError:
                    # The queue of the socket is full, which a connect with a time-out does not wait for (unix(7)).
                    if time.monotonic() > end:
                        raise TooSlow from None
                time.sleep(_FULL_QUEUE_PAUSE)
        except BaseException:
            connected.close()
            raise


def _was_closed(sock):
    """Whether the engine has closed a connection, or says what it was not asked for."""
    return bool(select.select([sock], [], [], 0)[0])
