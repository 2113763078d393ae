# SPDX-License-Identifier: MIT
"""
The page: what can be seen of the house rules without understanding the code.

usage: tidy.py ROOT
"""

import os
import re
import shutil
import sys

from tap import Tap, project_files, read, run

C_FILES = (".c", ".h")
CODE = (".c", ".h", ".S", ".ld", ".py", ".sh")
CODE_NAMES = ("meson.build", "meson_options.txt", "Makefile")
TEXT = CODE + (".md",)

FILE_LINES_MAX = 600
TEST_FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
TABLE_COLUMNS_MAX = 120  # tables that are laid out by hand, fenced by clang-format off

# Put together here, so that this file does not offend against itself.
LEFTOVERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.<$}/])/(" + "|".join(["wo" + "rk", "ho" + "me", "Us" + "ers"]) +
                          r")/\w")


def is_code(path):
    return path.endswith(CODE) or os.path.basename(path) in CODE_NAMES


def is_text(path):
    return path.endswith(TEXT) or os.path.basename(path) in CODE_NAMES


def is_shell(text):
    return text.startswith("#!")


def is_test(path):
    return path.startswith("tests/")


def check_license(path, text):
    """A comment with the licence in the first three lines."""
    if not is_code(path) and not is_shell(text):
        return
    if not any("SPDX-License-Identifier: MIT" in line for line in text.split("\n")[:3]):
        yield f"{path}: no SPDX line"


def check_leftovers(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        found = LEFTOVERS.search(line)
        if found:
            yield f"{path}:{number}: {found.group(1)}"


def check_columns(path, text):
    if not path.endswith(C_FILES + (".S",)):
        return
    limit = COLUMNS_MAX
    for number, line in enumerate(text.split("\n"), 1):
        columns = len(line.expandtabs(8))
        if "clang-format o" in line:
            limit = TABLE_COLUMNS_MAX if "clang-format off" in line else COLUMNS_MAX
        if columns > limit:
            yield f"{path}:{number}: {columns} columns"


def check_file_length(path, text):
    if not path.endswith(CODE) or "/generated/" in path:
        return
    limit = TEST_FILE_LINES_MAX if is_test(path) else FILE_LINES_MAX
    lines = text.count("\n")
    if lines > limit:
        yield f"{path}: {lines} lines, at most {limit}"


def check_spaces(path, text):
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"
    if text.endswith("\n\n"):
        yield f"{path}: empty lines at the end"
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            yield f"{path}:{number}: space at the end of the line"
        indent = re.match(r"[ \t]*", line).group(0)
        if " \t" in indent:
            yield f"{path}:{number}: a tab after a space"
        if "\t" in line and (path.endswith(".py") or path.endswith("meson.build")):
            yield f"{path}:{number}: a tab"


def check_paths(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        found = MACHINE_PATH.search(line)
        if found:
            yield f"{path}:{number}: path of one machine: {line.strip()}"


def check_functions(path, text):
    """Functions begin and end with a brace in the first column."""
    if not path.endswith(C_FILES):
        return
    lines, start = text.split("\n"), None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start + 1 > FUNCTION_LINES_MAX:
                yield f"{path}:{start}: function of {number - start + 1} lines: " \
                    f"{lines[start - 2].strip()}"
            start = None


RULES = [
    ("each source names its licence", check_license),
    ("nothing was left for later", check_leftovers),
    (f"no line of C is longer than {COLUMNS_MAX} columns", check_columns),
    (f"no file is longer than {FILE_LINES_MAX} lines (tests: {TEST_FILE_LINES_MAX})",
     check_file_length),
    ("white space is in order", check_spaces),
    ("no path of one machine", check_paths),
    (f"no function is longer than {FUNCTION_LINES_MAX} lines", check_functions),
]


def check_format(tap, root, paths):
    """As `make check-format`."""
    name = "C is formatted as .clang-format says"
    if not shutil.which("clang-format"):
        tap.skip(name, "there is no clang-format")
        return
    _, output = run(["clang-format", "--dry-run", "-Werror",
                     *(os.path.join(root, path) for path in paths)])
    tap.check(name, [line for line in output.splitlines() if ": error:" in line])


def main():
    root = sys.argv[1]
    tap = Tap()
    files = []
    for path in project_files(root):
        try:
            text = read(root, path)
        except UnicodeDecodeError:
            continue
        if is_text(path) or is_shell(text):
            files.append((path, text))
    for name, rule in RULES:
        tap.check(name, [offence for path, text in files for offence in rule(path, text)])
    check_format(tap, root, [path for path, _ in files if path.endswith(C_FILES)])
    tap.note(f"{len(files)} files")
    tap.end()


main()
