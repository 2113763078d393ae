# SPDX-License-Identifier: MIT
"""The emulated machine: its command line, a run with a time limit, initramfs images."""
import io
import os
import re
import shutil
import signal
import subprocess
import threading
import time

QEMU = 'qemu-system-x86_64'
CPU = 'EPYC,+svm,+npt,+vgif,-rdrand'
MEMORY = '1536M'


class Untrusted(Exception):
    """A run whose figures must not be shown; the text says why."""


def qemu_version():
    """'7.2.22', or Untrusted when there is no usable QEMU."""
    if not shutil.which(QEMU):
        raise Untrusted(f'{QEMU} is not installed')
    text = subprocess.run([QEMU, '--version'], capture_output=True, text=True, check=False).stdout
    found = re.search(r'version (\d+\.\d+\.\d+)', text)
    if not found:
        raise Untrusted(f'{QEMU} does not tell its version')
    return found.group(1)


def command(kernel, append, initrd=None, memory=MEMORY):
    """QEMU as every measurement uses it: TCG, one instruction a tick, nothing left to chance."""
    words = [QEMU, '-accel', 'tcg', '-machine', 'pc', '-cpu', CPU, '-m', memory,
             '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
             '-seed', '1', '-rtc', 'base=2024-01-01T00:00:00,clock=vm',
             '-icount', 'shift=0,sleep=off', '-serial', 'stdio',
             '-device', 'isa-debug-exit,iobase=0xf4,iosize=4',
             '-kernel', kernel, '-append', append]
    return words + (['-initrd', initrd] if initrd else [])


def run(words, limit, on_line, stop=None):
    """
    Start a process and hand each line of its output to on_line(). Ends it after a line for which
    stop() is true, or after `limit` seconds. Returns False when the time was over.
    """
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    late = threading.Event()

    def end():
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit, end)
    timer.start()
    try:
        for raw in io.TextIOWrapper(process.stdout, errors='replace'):
            line = raw.strip()
            on_line(line)
            if stop and stop(line):
                break
    finally:
        timer.cancel()
        process.stdout.close()
        try:
            process.wait(5 if stop else limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return not late.is_set()


def _entry(name, mode, data, number, device=(0, 0)):
    header = [number, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(name) + 1, 0]
    text = b'070701' + b''.join(b'%08X' % field for field in header) + name.encode() + b'\0'
    text += b'\0' * (-len(text) % 4)
    return text + data + b'\0' * (-len(data) % 4)


def initramfs(path, files):
    """Write a newc archive of {name: bytes, (bytes, mode) or None for a folder}."""
    folders = set()
    for name in files:
        parts = name.split('/')[:-1]
        folders.update('/'.join(parts[:i + 1]) for i in range(len(parts)))
    parts = [_entry(name, 0o040755, b'', i) for i, name in enumerate(sorted(folders), 1)]
    # A console before devtmpfs is there, so that the first process has its outputs.
    parts.append(_entry('dev/console', 0o020600, b'', 999, (5, 1)))
    for i, (name, content) in enumerate(sorted(files.items()), 1000):
        if content is not None:
            parts.append(_entry(name, 0o100755, content, i))
    parts.append(_entry('TRAILER!!!', 0, b'', 0))
    with open(path, 'wb') as file:
        file.write(b''.join(parts))


class Progress:
    """One line on a terminal, rewritten; plain lines elsewhere, and not too many."""

    def __init__(self, stream):
        self.stream = stream
        self.tty = stream.isatty()
        self.begin = time.monotonic()

    def say(self, text):
        seconds = int(time.monotonic() - self.begin)
        mark = '\r\033[K' if self.tty else ''
        self.stream.write(f'{mark}[{seconds // 60}:{seconds % 60:02}] {text}'
                          + ('' if self.tty else '\n'))
        self.stream.flush()

    def clear(self):
        if self.tty:
            self.stream.write('\r\033[K')
            self.stream.flush()
