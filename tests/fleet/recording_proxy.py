# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Relays one Unix socket to another and writes the line of every HTTP request to a log: SOCKET TARGET LOG.

It ends by itself after two minutes.
"""

import os
import re
import socket
import sys
import threading

REQUEST = re.compile(rb"^([A-Z]+ \S+) HTTP/1\.[01]\r$", re.MULTILINE)


def relay(source, target, log=None):
    while True:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if log:
            for line in REQUEST.findall(data):
                log.write(line.decode() + "\n")
                log.flush()
        try:
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
        except OSError:
            return


def main():
    path, target, log_path = sys.argv[1:4]
    # An engine of this host is known by who listens, and the name of that process.
    with open("/proc/self/comm", "w") as name:
        name.write("dockerd")
    if os.path.exists(path):
        os.unlink(path)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Timer(120, os._exit, (0,)).start()
    with open(log_path, "w") as log:
        while True:
            client = server.accept()[0]
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(target)
            threading.Thread(target=relay, args=(client, engine, log), daemon=True).start()
            threading.Thread(target=relay, args=(engine, client), daemon=True).start()


if __name__ == "__main__":
    main()
