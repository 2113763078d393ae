# SPDX-License-Identifier: MIT
"""
Each public header stands alone: as C17 and as C++17, with gcc and with clang, included twice.
From C++ the calls keep their C names.

usage: check_headers.py ROOT
"""

import os
import shutil
import sys
import tempfile

from tap import Tap, run

WAYS = [
    ("C17, gcc", ["gcc", "-std=c17", "-Wpedantic", "-Wstrict-prototypes"], ".c"),
    ("C17, clang", ["clang", "-std=c17", "-Wpedantic", "-Wstrict-prototypes"], ".c"),
    ("C++17, gcc", ["g++", "-std=c++17"], ".cpp"),
    ("C++17, clang", ["clang++", "-std=c++17"], ".cpp"),
]
WARNINGS = ["-Wall", "-Wextra", "-Wundef", "-Werror"]

CALLER = """#include <vmmu/vmmu.h>
const char *call(vmmu_vm *vm) { return vmmu_vm_death(vm); }
"""


def compile_text(folder, way, text, root, more):
    _, command, suffix = way
    source = os.path.join(folder, "alone" + suffix)
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    return run(command + WARNINGS + ["-I", os.path.join(root, "include")] + more + [source])


def check_alone(folder, way, header, root):
    status, text = compile_text(folder, way, f"#include <vmmu/{header}>\n" * 2, root,
                                ["-fsyntax-only"])
    return [text] if status else []


def check_names(folder, way, root):
    """What a C++ caller of the library needs has its C name."""
    output = os.path.join(folder, "caller.o")
    status, text = compile_text(folder, way, CALLER, root, ["-c", "-o", output])
    if status:
        return [text]
    _, text = run(["nm", "-u", output])
    return [] if "U vmmu_vm_death" in text.split("\n")[0].strip() else [
        f"vmmu_vm_death() is called by another name: {text.strip()}"]


def main():
    root = sys.argv[1]
    headers = sorted(os.listdir(os.path.join(root, "include", "vmmu")))
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            name, command, suffix = way
            if not shutil.which(command[0]):
                tap.skip(f"headers alone as {name}", f"no {command[0]}")
                continue
            for header in headers:
                tap.check(f"{header} alone as {name}", check_alone(folder, way, header, root))
            if suffix == ".cpp":
                tap.check(f"calls have their C names as {name}", check_names(folder, way, root))
    tap.end()


main()
