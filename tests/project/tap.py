# SPDX-License-Identifier: MIT
"""What the project's checks share: TAP output, and the list of files that they look at."""

import os
import subprocess
import sys


class Tap:
    """Counts checks; each prints one line, after its offenders on the standard error."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, name, offenders):
        """ok if there are no offenders (strings)."""
        self.count += 1
        for offender in offenders:
            for line in str(offender).rstrip("\n").split("\n"):
                print(f"# {line}", file=sys.stderr, flush=True)
        word = "not ok" if offenders else "ok"
        self.failed += bool(offenders)
        print(f"{word} {self.count} - {name}", flush=True)

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def note(self, text):
        print(f"# {text}", flush=True)

    def end(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)


def run(command, **more):
    """Return (status, everything it printed)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **more)
    return done.returncode, done.stdout


def is_skipped_folder(name):
    return (name.startswith(".") and name != ".ci") or name.startswith("build") or \
        name in ("__pycache__", "subprojects")


def project_files(root):
    """Paths of the project's own files, relative to the root, sorted."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_skipped_folder(name)]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def library_sources(root):
    """The .c files of the library, as src/**/meson.build lists them, relative to the root."""
    import re

    found = []
    for path in project_files(os.path.join(root, "src")):
        if os.path.basename(path) != "meson.build":
            continue
        folder = os.path.join("src", os.path.dirname(path))
        found += [os.path.normpath(os.path.join(folder, name))
                  for name in re.findall(r"'([\w/.-]+\.c)'", read(root, os.path.join("src", path)))]
    return sorted(found)
