#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does everything that is built by default also build with the other compiler, without a warning?

usage: check_compilers.py SOURCE_ROOT COMPILER

Builds in a folder of its own. clang also checks the lock rules (-Wthread-safety).
"""

import shutil
import sys
import tempfile

from tap import Tap, run


def main():
    root, compiler = sys.argv[1:3]
    tap = Tap()
    folder = tempfile.mkdtemp(prefix="vmmu-compilers-")
    try:
        command = ["env", f"CC={compiler}", "meson", "setup", "-Dtests=false", folder, root]
        status, said = run(command)
        if status == 0:
            status, said = run(["ninja", "-C", folder])
        offenders = said.splitlines()[-40:] if status else []
        tap.check(f"library, hypervisor and command build with {compiler}", offenders)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tap.end()


main()
