#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The models of the library's protocols, by spin: each as it is must have no error, and with each of
its mistakes (-D) must have one. The mistakes are the ones that its head comment names.

usage: check_models.py FOLDER
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verify(model, define, compiler):
    """Return: (errors, states) of the model; errors is None if it could not be checked."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"-D{define}"] if define else []
        status, text = run(["spin", *options, "-a", model], folder)
        if status:
            return None, text
        status, text = run([compiler, "-O2", "-w", "-DSAFETY", "-o", "pan", "pan.c"], folder)
        if status:
            return None, text
        status, text = run(["./pan", "-m100000"], folder)
        errors = re.search(r"errors: (\d+)", text)
        states = re.search(r"(\d+) states, stored", text)
        if not errors or not states or "max search depth too small" in text:
            return None, text
        return int(errors.group(1)), int(states.group(1))


def main():
    folder = os.path.abspath(sys.argv[1])
    models = sorted(name for name in os.listdir(folder) if name.endswith(".pml"))
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    number = 0
    failed = False
    if not shutil.which("spin"):
        print("1..0 # SKIP spin is not installed (Debian package spin)")
        return 0
    for name in models:
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as file:
            head = file.read().split("*/")[1]
        mistakes = re.findall(r"-D([A-Z_]+)", head)
        row = [name[:-4]]
        for define in [None, *mistakes]:
            errors, states = verify(path, define, compiler)
            fine = errors is not None and (errors > 0) == (define is not None)
            number += 1
            failed |= not fine
            says = f"with {define}" if define else "as it is"
            print(f"{'ok' if fine else 'not ok'} {number} - {name} {says}")
            if errors is None:
                print("\n".join("# " + line for line in str(states).splitlines()))
            row.append(f"{define} is rejected" if define else f"{states} states")
        print("# | " + ", ".join(row))
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
