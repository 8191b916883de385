"""`larder top` on a terminal: one that this test reads, types into, resizes, and hangs up."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest

from origin import DEADLINE, until
from proxy import BINARY

pytestmark = pytest.mark.any_backend

CONFIG = "routes: { '/api/projects/{id}': 30m, /api/stats: 5m }"
ENTERS, LEAVES = b"\x1b[?1049h", b"\x1b[?1049l"
SEQUENCE = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()=>78].?")


class Terminal:
    """A command on a pseudo-terminal, and what stands on its screen."""

    def __init__(self, *command, size=(30, 100)):
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        env = {"TERM": "xterm", "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env, start_new_session=True
        )
        self.slave, self.written = slave, bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := os.read(self.master, 65536):
                self.written += piece

    def resize(self, rows, columns):
        self.size = rows, columns
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys.encode())

    def screen(self):
        """What a terminal of this size makes of all that was written: cursor, erasing, text."""
        rows, columns = self.size
        cells, row, column, written, at = [[" "] * columns for _ in range(rows)], 0, 0, bytes(self.written), 0
        while at < len(written):
            if found := SEQUENCE.match(written, at):
                arguments, kind = found[1], found[2]
                if kind == b"H":
                    row, column = (int(n or 1) - 1 for n in (arguments.split(b";") + [b"", b""])[:2])
                elif kind == b"J":
                    cells = [[" "] * columns for _ in range(rows)]
                at = found.end()
                continue
            length = next((n for n in (1, 2, 3, 4) if is_character(written[at : at + n])), 1)
            if row < rows and column < columns:
                cells[row][column] = written[at : at + length].decode(errors="replace")
            column, at = column + 1, at + length
        return "\n".join("".join(line).rstrip() for line in cells)

    def shows(self, text):
        try:
            until(lambda: text in self.screen(), f"{text!r} is shown")
        except AssertionError:
            raise AssertionError(f"{text!r} is not shown in\n{self.screen()}") from None

    def ended(self):
        """Its exit code, once it has ended, and the terminal is as it was."""
        code = self.process.wait(DEADLINE)
        until(lambda: self.written.count(LEAVES) == self.written.count(ENTERS) == 1, "the screen is left")
        assert b"\x1b[?25h" in self.written, "the cursor is shown again"
        assert termios.tcgetattr(self.slave) == self.before, "keys are echoed again"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.slave)
        os.close(self.master)


def is_character(some):
    try:
        return len(some.decode()) == 1
    except UnicodeDecodeError:
        return False


@pytest.fixture
def top(larder):
    proxy = larder(CONFIG)
    for _ in range(3):
        proxy.get("/api/stats")
    started = []

    def start(**kwargs):
        terminal = Terminal(str(BINARY), "top", "--admin", proxy.admin, **kwargs)
        started.append(terminal)
        terminal.shows("requests/s")
        return terminal

    start.proxy = proxy
    yield start
    for terminal in started:
        terminal.close()


def test_top_shows_what_happens_and_heeds_its_keys(top):
    terminal = top()
    terminal.shows("/api/stats")
    terminal.shows("routes by requests")
    terminal.press("s")
    terminal.shows("routes by hit ratio")
    terminal.press("p")
    terminal.shows("paused")
    terminal.press("?")
    terminal.shows("sort by requests, hit ratio, time saved")
    terminal.press("?")
    top.proxy.request("PUT", "/api/projects/1")
    terminal.shows("paused")
    terminal.press("p")
    terminal.shows("write")
    terminal.press("q")
    assert terminal.ended() == 0


def test_top_follows_its_terminal_when_that_grows_or_shrinks(top):
    terminal = top(size=(12, 60))
    assert "invalidations ─" not in terminal.screen(), "there is no room for them"
    terminal.resize(40, 120)
    terminal.shows("invalidations ─")
    terminal.resize(4, 20)
    terminal.press("\x03")
    assert terminal.ended() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_top_leaves_the_terminal_as_it_was_when_it_is_told_to_end(top, name):
    terminal = top()
    terminal.process.send_signal(getattr(signal, name))
    assert terminal.ended() == 0


def test_top_says_that_the_connection_is_gone_and_tries_again(top):
    terminal = top()
    top.proxy.stop()
    terminal.shows("trying again")
    terminal.press("q")
    assert terminal.ended() == 0
