#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input: status 2, one line that says what is wrong, and nothing started or written."""
import os
import subprocess

from harness import expect, expect_equal, expect_refused, main, make_bzimage, make_multiboot, test

# What `vmmu run` is given, and words that its one line must have.
REFUSED = [
    (["--mmu", "magic"], ["mmu", "magic", "npt"]),
    (["--mmu"], ["--mmu", "value"]),
    (["--guest", "plan9"],
     ["plan9", "known: linux, linux-la57, linux-pae, linux-i386, mediator, memtest, mach"]),
    (["--guest", ""], ["guest", "''", "linux-pae"]),
    (["--guest", "LINUX"], ["guest", "LINUX", "known"]),
    (["--guest", "linux-"], ["guest", "linux-", "known"]),
    (["--guest", "../linux"], ["guest", "../linux", "known"]),
    (["--guest"], ["--guest", "value"]),
    (["--guest", "linux", "--kernel", "bz"], ["--guest", "--kernel", "together"]),
    (["--guest", "memtest", "--memory", "30M"], ["too small"]),
    (["--no-such-option"], ["--no-such-option"]),
    (["word"], ["word"]),
    (["--huge", "maybe"], ["huge", "maybe"]),
    (["--audit", "often"], ["audit", "often"]),
    (["--audit", "every=0"], ["every=0"]),
    (["--audit", "every=x"], ["every=x"]),
    (["--memory", "lots"], ["memory", "lots"]),
    (["--memory", ""], ["memory"]),
    (["--memory", "-512M"], ["-512M"]),
    (["--memory", "99999999999999999999G"], ["memory"]),
    (["--memory", "513M"], ["multiple of 2M"]),
    (["--memory", "2M"], ["too small"]),
    (["--memory", "900T"], ["free"]),
    (["--cpus", "0"], ["cpus", "'0'", "1 to 8"]),
    (["--cpus", "9"], ["cpus", "'9'", "1 to 8"]),
    (["--cpus", "-1"], ["cpus", "1 to 8"]),
    (["--cpus", "two"], ["cpus", "two", "1 to 8"]),
    (["--cpus", "4x"], ["cpus", "4x"]),
    (["--cpus", ""], ["cpus", "1 to 8"]),
    (["--cpus", "99999999999999999999"], ["cpus", "1 to 8"]),
    (["--cpus"], ["--cpus", "value"]),
    (["--stress=yes"], ["--stress"]),
    (["--resident", "0"], ["resident", "'0'", "10% to 100%"]),
    (["--resident", "9%"], ["resident", "'9%'", "10% to 100%"]),
    (["--resident", "101%"], ["resident", "'101%'", "10% to 100%"]),
    (["--resident", "abc"], ["resident", "abc", "10% to 100%"]),
    (["--resident", ""], ["resident", "10% to 100%"]),
    (["--resident", "%"], ["resident", "'%'"]),
    (["--resident", "60%%"], ["resident", "'60%%'"]),
    (["--resident", "-60%"], ["resident", "'-60%'"]),
    (["--resident", "99999999999999999999%"], ["resident", "10% to 100%"]),
    (["--resident"], ["--resident", "value"]),
    (["--guest", "mediator", "--resident", "60%"], ["--resident", "mediator", "together"]),
    (["--migrate", "--resident", "60%"], ["--migrate", "--resident", "together"]),
    (["--migrate=on"], ["--migrate"]),
    (["--timeout", "0"], ["timeout", "positive"]),
    (["--timeout", "-3"], ["timeout", "positive"]),
    (["--timeout", "soon"], ["timeout", "soon"]),
    (["--timeout", "nan"], ["timeout"]),
    (["--timeout", "5x"], ["timeout"]),
    (["--kernel", "nowhere"], ["kernel nowhere", "No such file"]),
    (["--kernel", "."], ["kernel", "directory"]),
    (["--kernel", "empty"], ["kernel empty", "empty"]),
    (["--kernel", "text"], ["kernel text", "not a kernel"]),
    (["--kernel", "/dev/null"], ["not a regular file"]),
    (["--kernel", "bz", "--initrd", "nowhere"], ["initrd nowhere", "No such file"]),
    (["--kernel", "bz", "--initrd", "."], ["initrd", "directory"]),
    (["--kernel", "bz", "--initrd", "empty"], ["initrd empty", "empty"]),
    (["--kernel", "bz", "--append", "x" * 2048], ["append", "too long"]),
    (["--append", "x" * 2000], ["append", "too long"]),
    (["--kernel", "bz", "--append", "a\nb"], ["append", "one line"]),
    (["--kernel", "bz", "--json", "no/such/file"], ["json", "folder", "no/such/file"]),
    (["--kernel", "bz", "--json", "."], ["json", "directory"]),
    (["--kernel", "bz", "--json", ""], ["json", "empty"]),
    (["--kernel", "bz", "--json", "new/"], ["json"]),
    (["--kernel", "bz", "--trace", "no/file"], ["trace", "folder"]),
    (["--kernel", "bz", "--json", "bz"], ["overwrite", "bz"]),
    (["--kernel", "bz", "--initrd", "initrd", "--trace", "./initrd"], ["overwrite", "initrd"]),
    (["--kernel", "bz", "--json", "out", "--trace", "out"], ["same file"]),
    (["--kernel", "bz", "--json", "out", "--trace", "./bin/../out"], ["same file"]),
    (["--kernel", "bz", "--json", "/dev/stdout", "--trace", "/dev/fd/1"], ["same file"]),
    (["--kernel", "bz", "--qemu", "/no/qemu"], ["qemu", "/no/qemu"]),
    (["--kernel", "bz", "--hypervisor", "nowhere"], ["hypervisor", "nowhere"]),
    (["--kernel", "a\nb"], ["kernel a?b"]),
]


def register(args, words):
    def check(world):
        # A fake QEMU that is started leaves a file behind.
        started = world.folder / "started"
        before = sorted(world.folder.rglob("*"))
        contents = {path: path.read_bytes() for path in before if path.is_file()}
        result = world.run(*args, plan=[["pid", str(started)], ["exit", 0]])
        expect_refused(result, *words)
        expect(not started.exists(), "QEMU was started")
        after = sorted(path for path in world.folder.rglob("*") if path.name != "plan.json")
        expect_equal(after, before, "files came or went")
        for path, content in contents.items():
            expect_equal(path.read_bytes(), content, f"{path} changed")

    shown = " ".join(args).replace("\n", "\\n")
    check.__doc__ = f"refused: vmmu run {shown[:60]}".replace("#", "")
    test(check)


for refused_args, refused_words in REFUSED:
    register(refused_args, refused_words)


@test
def outputs_through_links(world):
    """two outputs that are one file through a link, a dangling one too, are refused"""
    (world.folder / "soft").symlink_to("target")
    expect_refused(world.run("--kernel", "bz", "--json", "soft", "--trace", "target"), "same file")
    world.write("old", b"keep me")
    os.link(world.folder / "old", world.folder / "hard")
    expect_refused(world.run("--kernel", "bz", "--json", "old", "--trace", "hard"), "same file")
    expect_equal((world.folder / "old").read_bytes(), b"keep me")


@test
def output_over_input_through_link(world):
    """an output that is an input through a link is refused"""
    (world.folder / "soft").symlink_to("bz")
    expect_refused(world.run("--kernel", "bz", "--json", "soft"), "overwrite")
    expect_equal((world.folder / "bz").read_bytes(), make_bzimage())


@test
def two_null_outputs(world):
    """two outputs to /dev/null are no mistake"""
    plan = [["report", "start\ntext guest.outcome poweroff\nend 0\n"], ["exit", 1]]
    result = world.run("--kernel", "bz", "--json", "/dev/null", "--trace", "/dev/null", plan=plan)
    expect_equal(result.returncode, 0, result.stderr)


@test
def odd_kernels(world):
    """kernels that cannot be started are refused with the reason"""
    world.write("old", make_bzimage(version=0x204))
    expect_refused(world.run("--kernel", "old"), "older than 3.8")
    world.write("cut", make_bzimage()[:-16])
    expect_refused(world.run("--kernel", "cut"), "end is missing")
    world.write("elf64", make_multiboot(elf_class=2))
    expect_refused(world.run("--kernel", "elf64"), "64-bit ELF")
    world.write("elf", make_multiboot(magic=0x1BADB003))
    expect_refused(world.run("--kernel", "elf"), "multiboot")


@test
def unreadable_files(world):
    """a file without read permission and a folder without write permission are refused"""
    # The superuser may do everything, so another user has to try.
    other = {"user": 65534} if os.geteuid() == 0 else {}
    world.folder.chmod(0o555)
    expect_refused(world.run("--kernel", "bz", "--json", "new", **other), "json", "ermission")
    world.folder.chmod(0o755)
    (world.folder / "bz").chmod(0)
    expect_refused(world.run("--kernel", "bz", **other), "bz", "ermission")


@test
def memory_for_this_kernel(world):
    """memory that this kernel cannot start in is too small"""
    world.write("large", make_bzimage() + b"\0" * 4096)
    data = bytearray((world.folder / "large").read_bytes())
    data[0x260:0x264] = (200 << 20).to_bytes(4, "little")
    world.write("large", bytes(data))
    expect_refused(world.run("--kernel", "large", "--memory", "64M"), "too small", "226M")


@test
def qemu_missing(world):
    """without QEMU the line names the package to install"""
    (world.folder / "nothing").mkdir()
    result = subprocess.run(
        [str(world.command), "run", "--kernel", "bz"],
        cwd=world.folder,
        env=dict(os.environ, PATH=str(world.folder / "nothing")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    expect_refused(result, "apt-get install qemu-system-x86")


@test
def command_words(world):
    """a missing or unknown command is refused, help and version are not"""
    def call(*words):
        return subprocess.run([world.command, *words], capture_output=True, text=True, timeout=60)

    expect_refused(call(), "command is missing")
    expect_refused(call("fly"), "fly")
    expect_refused(call("--fly"), "--fly")
    for words in (["--help"], ["--version"], ["run", "--help"], ["run", "--version"]):
        result = call(*words)
        expect_equal(result.returncode, 0)
        expect_equal(result.stderr, "")
        expect("vmmu" in result.stdout)
    expect("--memory" in call("run", "--help").stdout)
    for name in ("linux-la57", "linux-pae", "linux-i386", "memtest", "mach"):
        expect(name in call("run", "--help").stdout, name)


main()
