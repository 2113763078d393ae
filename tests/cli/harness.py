# SPDX-License-Identifier: MIT
"""What the tests of the command share: a world of small files to run it in, and TAP output."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
TESTS = []


class Skip(Exception):
    """Raised by a test that cannot run here, with the reason."""


def test(function):
    """Register a test; its docstring is the sentence that it proves."""
    TESTS.append(function)
    return function


def make_bzimage(version=0x20F, extra_flags=1, body=b"kernel body"):
    """The head of a Linux kernel as `vmmu run` looks at it: preferred 1 MiB, needs 1 MiB."""
    body += b"\0" * (-len(body) % 16)
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<I", head, 0x1F4, len(body) // 16)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    head[0x211] = 1
    struct.pack_into("<H", head, 0x236, extra_flags)
    struct.pack_into("<Q", head, 0x258, 1 << 20)
    struct.pack_into("<I", head, 0x260, 1 << 20)
    return bytes(head) + body


def make_multiboot(elf_class=1, magic=0x1BADB002):
    head = bytearray(64)
    head[0:5] = b"\x7fELF" + bytes([elf_class])
    return bytes(head) + struct.pack("<III", magic, 0, -0x1BADB002 & 0xFFFFFFFF)


class World:
    """A folder with kernels, an installed copy of the command and a fake QEMU."""

    def __init__(self, command):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vmmu-cli-"))
        self.command = self.folder / "bin" / "vmmu"
        parts = self.folder / "share" / "vmmu" / "guests"
        parts.mkdir(parents=True)
        self.command.parent.mkdir()
        # A link: a copy being written could be busy in a child of another thread.
        os.link(command, self.command)
        self.write("share/vmmu/vmmu-hv.elf", make_multiboot())
        self.write("bz", make_bzimage())
        self.write("mb", make_multiboot())
        self.write("initrd", b"initrd")
        self.write("empty", b"")
        self.write("text", b"just some text\n" * 1000)
        self.write("default-kernel", make_bzimage())
        # A guest maker that needs no network.
        self.write(
            "share/vmmu/guests/guest.sh",
            b'set -e; echo "vmmu: making" >&2; cp "$1/../../../default-kernel" "$2/vmlinuz"; '
            b'echo initramfs >"$2/initrd.cpio"; echo "$3" >>"$2/../asked"; '
            b'cp "$2/vmlinuz" "$2/vmlinuz-pae"; cp "$2/vmlinuz" "$2/memtest.bin"; '
            b'echo initramfs32 >"$2/initrd-i386.cpio"\n',
        )

    def write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def environment(self, plan=None, **more):
        environment = dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache"), TERM="xterm")
        environment.pop("NO_COLOR", None)
        if plan is not None:
            path = self.folder / "plan.json"
            path.write_text(json.dumps(plan))
            environment["FAKE_PLAN"] = str(path)
        environment.update(more)
        return environment

    def words(self, *args):
        return [str(self.command), "run", "--qemu", str(HERE / "fake_qemu.py"), *map(str, args)]

    def run(self, *args, plan=None, env=None, **options):
        """`vmmu run` with the fake QEMU playing @plan."""
        return subprocess.run(
            self.words(*args),
            cwd=self.folder,
            env=self.environment(plan, **(env or {})),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            **options,
        )


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(map(str, what)))


def expect_equal(got, wanted, *what):
    expect(got == wanted, f"expected {wanted!r}, got {got!r}", *what)


def expect_refused(result, *words):
    """Status 2, nothing on standard output, and one line that has all of @words."""
    expect_equal(result.returncode, 2, result.stderr)
    expect_equal(result.stdout, "")
    lines = result.stderr.splitlines()
    expect_equal(len(lines), 1, result.stderr)
    for word in words:
        expect(word in lines[0], f"{word!r} is not in", lines[0])


def run_one(function, command):
    world = World(command)
    try:
        function(world)
        return True, ""
    except Skip as reason:
        return True, f" # SKIP {reason}"
    except BaseException:  # pylint: disable=broad-except
        return False, traceback.format_exc()
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)


def main():
    base = tempfile.TemporaryDirectory(prefix="vmmu-cli-")
    command = shutil.copy(sys.argv[1], base.name)
    print(f"1..{len(TESTS)}", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda function: run_one(function, command), TESTS)
        for number, (function, (good, text)) in enumerate(zip(TESTS, results), 1):
            name = " ".join(function.__doc__.split())
            if good:
                print(f"ok {number} - {name}{text}", flush=True)
                continue
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in text.splitlines():
                print(f"# {line}", flush=True)
    base.cleanup()
    sys.exit(1 if failed else 0)
