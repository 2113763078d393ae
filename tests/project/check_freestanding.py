# SPDX-License-Identifier: MIT
"""
The library needs nothing but four memory functions, keeps no state of its own, and is modest
with the stack. Looked at twice: the library as it was built, and its sources compiled as a
kernel would compile them.

usage: check_freestanding.py ROOT LIBRARY
"""

import os
import re
import shutil
import sys
import tempfile

from tap import Tap, library_sources, run

ALLOWED = {"memcpy", "memmove", "memset", "memcmp"}
FRAME_BYTES_MAX = 1024
KERNEL = ["-std=c17", "-O2", "-ffreestanding", "-fno-pic", "-fno-pie", "-mcmodel=kernel",
          "-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector",
          "-fno-asynchronous-unwind-tables", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror",
          f"-Wframe-larger-than={FRAME_BYTES_MAX}"]


def symbols(files):
    """Names of external symbols (defined, needed) of objects or archives."""
    defined, needed = set(), set()
    _, text = run(["nm", "-g"] + files)
    for line in text.splitlines():
        found = re.match(r"^[0-9a-f]*\s+([A-Za-z])\s+(\S+)$", line)
        if found:
            (needed if found.group(1) in "Uw" else defined).add(found.group(2))
    return defined, needed


def check_needs(files):
    defined, needed = symbols(files)
    if not defined:
        return [f"no symbols in {files}"]
    return [f"needs {name}" for name in sorted(needed - defined - ALLOWED)]


def check_names(files):
    defined, _ = symbols(files)
    return [f"external name without prefix: {name}" for name in sorted(defined)
            if not name.startswith("vmmu_")]


def check_sections(files, relocated):
    """No writable section with content. @relocated: constants with pointers may be in one."""
    offenders = []
    for file in files:
        _, text = run(["readelf", "-SW", file])
        member = os.path.basename(file)
        for line in text.splitlines():
            found = re.match(r"^File: (.*)$", line)
            if found:
                member = found.group(1)
            found = re.match(r"^\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+"
                             r"([0-9a-f]+)\s+[0-9a-f]+\s+([A-Za-z]*)\s", line)
            if not found or "W" not in found.group(3) or not int(found.group(2), 16):
                continue
            if relocated and found.group(1).startswith(".data.rel.ro"):
                continue
            offenders.append(f"{member}: section {found.group(1)} is writable and holds "
                             f"{int(found.group(2), 16)} bytes")
    return offenders


def compile_all(root, compiler, folder):
    """Return (objects, what the compiler said)."""
    objects, said = [], []
    more = ["-fstack-usage"] if compiler == "gcc" else []
    for source in library_sources(root):
        target = os.path.join(folder, source.replace("/", "_") + ".o")
        status, text = run([compiler] + KERNEL + more +
                           ["-I", os.path.join(root, "include"), "-I", os.path.join(root, "src"),
                            "-c", os.path.join(root, source), "-o", target])
        if status:
            said.append(text)
        else:
            objects.append(target)
    return objects, said


def check_stack(tap, folder):
    frames = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".su"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            for line in file:
                where, size, kind = line.rstrip("\n").split("\t")
                frames.append((int(size), where, kind))
    offenders = [f"{where}: {size} bytes, {kind}" for size, where, kind in frames
                 if size > FRAME_BYTES_MAX or kind != "static"]
    for size, where, _ in sorted(frames, reverse=True)[:3]:
        tap.note(f"stack frame of {size} bytes: {':'.join(where.split(':')[3:])}")
    return offenders if frames else ["the compiler wrote no stack usage"]


def main():
    root, library = sys.argv[1:3]
    tap = Tap()
    tap.check("as built: needs memcpy, memmove, memset, memcmp at most", check_needs([library]))
    tap.check("as built: no writable section holds anything", check_sections([library], True))
    tap.check("as built: every external name begins with vmmu_", check_names([library]))
    for compiler in ("gcc", "clang"):
        if not shutil.which(compiler):
            tap.skip(f"{compiler}, kernel code model", f"no {compiler}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            objects, said = compile_all(root, compiler, folder)
            tap.check(f"{compiler}, kernel code model: compiles", said)
            tap.check(f"{compiler}, kernel code model: needs four functions at most",
                      check_needs(objects) if objects else ["nothing compiled"])
            tap.check(f"{compiler}, kernel code model: no writable section at all",
                      check_sections(objects, False))
            if compiler == "gcc":
                tap.check(f"no stack frame is larger than {FRAME_BYTES_MAX} bytes or of "
                          "unknown size", check_stack(tap, folder))
    tap.end()


main()
