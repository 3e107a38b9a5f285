# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's commands from a process that has imported Ansible already, which is half of what a short play costs.

Each command runs in a fork of that process, which has read the configuration once: there is one for each environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback

_COMMANDS = {"ansible-playbook": ("playbook", "PlaybookCLI"), "ansible": ("adhoc", "AdHocCLI")}


class Warm:
    """One such process. Runs one command at a time."""

    def __init__(self, directory, environment):
        """``directory`` is where commands run, ``environment`` that of the process, {name: value}."""
        self._directory, self._environment = directory, environment
        self._process = None
        self._lock = threading.Lock()

    def run(self, command, arguments, timeout):
        """Run one of Ansible's commands; return its exit status and output, None where another one runs.

        Raises subprocess.TimeoutExpired, after which the next command gets a process of its own.
        """
        if command not in _COMMANDS or not self._lock.acquire(blocking=False):
            return None
        try:
            with tempfile.TemporaryFile("r+") as output:
                return self._status([command, *map(str, arguments)], output, timeout), _text(output)
        finally:
            self._lock.release()

    def _status(self, words, output, timeout):
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], cwd=self._directory, env=self._environment, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        file = f"/proc/{os.getpid()}/fd/{output.fileno()}"
        self._process.stdin.write(json.dumps([words, file]) + "\n")
        self._process.stdin.flush()
        late = threading.Timer(timeout, os.killpg, [self._process.pid, signal.SIGKILL])
        late.start()
        answer = self._process.stdout.readline()
        late.cancel()
        if not answer:
            self._process.wait()
            raise subprocess.TimeoutExpired(words, timeout, _text(output))
        return int(answer)


def _text(output):
    output.seek(0)
    return output.read()


def _serve():
    from ansible.cli import adhoc, playbook

    modules = {"adhoc": adhoc, "playbook": playbook}
    for line in sys.stdin:
        words, file = json.loads(line)
        child = os.fork()
        if not child:
            module, name = _COMMANDS[words[0]]
            _run(getattr(modules[module], name), words, file)
        _child, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(cli, words, file):
    """Run a command in this process, and end it."""
    status = 1
    try:
        for number, opened in ((0, os.open(os.devnull, os.O_RDONLY)), (1, os.open(file, os.O_WRONLY | os.O_APPEND))):
            os.dup2(opened, number)
        os.dup2(1, 2)
        sys.argv = words
        cli.cli_executor(words)
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
