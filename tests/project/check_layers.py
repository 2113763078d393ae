# SPDX-License-Identifier: MIT
"""
Folders of src/ are layers. Code of a layer uses its own layer and lower ones: checked by the
#include lines, and by the symbols that the compiled objects define and need.

usage: check_layers.py ROOT LIBRARY
"""

import os
import re
import sys

from tap import Tap, library_sources, project_files, read, run

# Lowest first.
LAYERS = ["base", "format", "guest", "slot", "page", "flush", "track", "tdp", "shadow", "fault",
          "api", "audit"]
STANDARD = {"stdint.h", "stddef.h", "stdbool.h", "stdatomic.h"}
# Holds one member per layer; the .c files of every layer may include it.
COMMON = "vm.h"


def layer_of(path):
    """Folder below src/ that a path such as "base/lock.h" is in; None for src/ itself."""
    head = path.split("/")[0]
    return head if "/" in path else None


def includes_of(root, path):
    text = read(root, os.path.join("src", path))
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', text, re.MULTILINE)


def resolve(root, path, name):
    """Where "name" leads from src/path, relative to src/."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    return beside if os.path.exists(os.path.join(root, "src", beside)) else name


def check_file(root, path):
    own = layer_of(path)
    offenders = []
    for bracket, name in includes_of(root, path):
        if bracket == "<":
            if name not in STANDARD and not name.startswith("vmmu/"):
                offenders.append(f"src/{path} includes <{name}>")
            continue
        target = resolve(root, path, name)
        if target == COMMON:
            if path.endswith(".h"):
                offenders.append(f"src/{path} is a header of a layer and includes {COMMON}")
            continue
        if layer_of(target) not in LAYERS:
            offenders.append(f"src/{path} includes {target}, which is in no layer")
        elif LAYERS.index(layer_of(target)) > LAYERS.index(own):
            offenders.append(f"src/{path} ({own}) includes {target} of a higher layer")
    return offenders


def check_includes(root):
    offenders = []
    for path in project_files(os.path.join(root, "src")):
        if path.endswith((".c", ".h")) and path != COMMON and layer_of(path) in LAYERS:
            offenders += check_file(root, path)
    return offenders


def check_folders(root):
    """Every file is in a layer, and every .c file is in the list of sources."""
    offenders = []
    listed = set(library_sources(root))
    for path in project_files(os.path.join(root, "src")):
        if not path.endswith((".c", ".h")) or path == COMMON:
            continue
        if layer_of(path) not in LAYERS:
            offenders.append(f"src/{path} is in no layer: {', '.join(LAYERS)}")
        if path.endswith(".c") and "src/" + path not in listed:
            offenders.append(f"src/{path} is in no list of sources")
    return offenders


def check_public(root):
    offenders = []
    folder = os.path.join("include", "vmmu")
    for name in sorted(os.listdir(os.path.join(root, folder))):
        for bracket, target in re.findall(r'#[ \t]*include[ \t]+([<"])([^>"]+)[>"]',
                                          read(root, os.path.join(folder, name))):
            if bracket != "<" or (target not in STANDARD and not target.startswith("vmmu/")):
                offenders.append(f"{folder}/{name} includes {target}")
    return offenders


def object_layer(member):
    """Layer of an archive member such as src_base_lock.c.o."""
    found = re.search(r"(?:^|[_/])src_([a-z0-9]+)_", member)
    return found.group(1) if found else None


def symbols_of(library):
    """[(layer, member, kind, symbol)] of all external symbols."""
    status, text = run(["nm", "-A", "-g", library])
    if status:
        return None, text
    rows = []
    for line in text.splitlines():
        found = re.match(r"^.*:([^:]+\.o):[0-9a-f]*\s+([A-Za-z])\s+(\S+)$", line)
        if found:
            member, kind, symbol = found.groups()
            rows.append((object_layer(member), member, kind, symbol))
    return rows, text


def check_symbols(library):
    rows, text = symbols_of(library)
    if not rows:
        return [f"nm finds nothing in {library}: {text}"]
    offenders = sorted({f"{member}: of no known layer" for layer, member, _, _ in rows
                        if layer not in LAYERS})
    if offenders:
        return offenders
    home = {symbol: layer for layer, _, kind, symbol in rows if kind not in "Uw"}
    for layer, member, kind, symbol in rows:
        if kind in "Uw" and symbol in home and \
                LAYERS.index(home[symbol]) > LAYERS.index(layer):
            offenders.append(f"{member} ({layer}) uses {symbol} of {home[symbol]}")
    return offenders


def main():
    root, library = sys.argv[1:3]
    tap = Tap()
    tap.check("every source is in a layer and in the list of sources", check_folders(root))
    tap.check("no file includes a higher layer", check_includes(root))
    tap.check("public headers include each other and the freestanding headers only",
              check_public(root))
    tap.check("no object uses a symbol of a higher layer", check_symbols(library))
    tap.end()


main()
