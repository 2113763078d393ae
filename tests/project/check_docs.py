# SPDX-License-Identifier: MIT
"""
What the documents say is so: their code compiles, their links lead somewhere, their tables
agree with the headers, and the names that they mention exist.

Marking of code, in README.md and docs/*.md:
  ```c with a first line "/* file: PATH */": the rest stands in that file, word for word, and
       the build compiles it there
  ```c otherwise: compiled; the blocks of one document are one translation unit, in order, behind
       #include <vmmu/vmmu.h>

usage: check_docs.py ROOT
"""

import os
import re
import shutil
import sys
import tempfile

from tap import Tap, project_files, read, run

PROLOGUE = "#include <stdatomic.h>\n#include <vmmu/vmmu.h>\n"
INVARIANTS = 16
ROWS_FOR_KVM_PEOPLE = 70


def documents(root):
    return [path for path in project_files(root)
            if path.endswith(".md") and (os.path.dirname(path) in ("", "docs"))]


# ---- code ----

def blocks(text):
    """[(line, language, content)] of the fenced blocks."""
    found, start, language, lines = [], None, "", []
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.match(r"^```(.*)$", line)
        if fence and start is None:
            start, language, lines = number, fence.group(1).strip(), []
        elif fence:
            found.append((start, language, "\n".join(lines) + "\n"))
            start = None
        else:
            lines.append(line)
    return found


def check_quoted(root, path):
    offenders = []
    for line, language, content in blocks(read(root, path)):
        found = re.match(r"/\* file: (\S+) \*/\n", content)
        if language != "c" or not found:
            continue
        source = os.path.join(root, found.group(1))
        if not os.path.exists(source):
            offenders.append(f"{path}:{line}: there is no file {found.group(1)}")
        elif content[found.end():].strip("\n") not in read(root, found.group(1)):
            offenders.append(f"{path}:{line}: {found.group(1)} says something else")
    return offenders


def unit_of(root, path):
    """The document's own code as one translation unit; "" if it has none."""
    unit = ""
    for line, language, content in blocks(read(root, path)):
        if language == "c" and not content.startswith("/* file: "):
            unit += f'#line {line + 1} "{path}"\n{content}'
    return unit


def check_code(root, path, compiler, folder):
    source = os.path.join(folder, "document.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(PROLOGUE + unit_of(root, path))
    status, text = run([compiler, "-std=c17", "-Wall", "-Wextra", "-Werror", "-ffreestanding",
                        "-Wno-unused-function", "-fsyntax-only",
                        "-I", os.path.join(root, "include"), source])
    return [text] if status else []


# ---- links ----

def prose(text):
    """The text without fenced blocks; lines keep their numbers."""
    out, inside = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            inside = not inside
            out.append("")
        else:
            out.append("" if inside else line)
    return out


def slugs(text):
    found = set()
    for line in prose(text):
        heading = re.match(r"^#+\s+(.*)$", line)
        if heading:
            words = re.sub(r"[^\w\s-]", "", heading.group(1).lower())
            found.add(re.sub(r"\s", "-", words.strip()))
    return found


def check_links(root):
    offenders = []
    for path in documents(root):
        for number, line in enumerate(prose(read(root, path)), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                if re.match(r"[a-z]+:", target):
                    continue
                file, _, anchor = target.partition("#")
                where = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file \
                    else path
                if not os.path.exists(os.path.join(root, where)):
                    offenders.append(f"{path}:{number}: {target} leads nowhere")
                elif anchor and anchor not in slugs(read(root, where)):
                    offenders.append(f"{path}:{number}: {where} has no heading #{anchor}")
    return offenders


# ---- tables ----

def rows(text):
    """Cells of each table row."""
    found = []
    for line in prose(text):
        if line.startswith("|") and not re.match(r"^\|[\s:|-]+\|$", line):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.append([cell.strip().replace("\\|", "|") for cell in cells])
    return found


def entries(root, header, macro):
    """Arguments of each X(...) of a list macro in a header."""
    text = read(root, header)
    body = re.search(rf"#define {macro}\(X\)((?:.*\\\n)*.*\n)", text).group(1)
    return [[words or bare.strip() for words, bare in
             re.findall(r'"([^"]*)"|([^,"\\\s][^,"\\]*)', row)]
            for row in re.findall(r"X\(((?:[^\"()]|\"[^\"]*\")*)\)", body)]


def check_errors(root):
    table = {row[0].strip("`"): row[1:] for row in rows(read(root, "docs/porting.md"))
             if row[0].startswith("`VMMU_") and len(row) >= 3}
    offenders, wanted = [], {}
    for name, code, text in entries(root, "include/vmmu/error.h", "VMMU_ERRORS"):
        wanted["VMMU_" + name] = [str(-int(code)), text]
    for name, word, text in entries(root, "include/vmmu/fault.h", "VMMU_OUTCOMES"):
        wanted["VMMU_OUTCOME_" + name] = [f"`{word}`", text]
    for name, cells in wanted.items():
        if table.get(name, [])[:2] != cells:
            offenders.append(f"{name}: the header says {cells}, the table {table.get(name)}")
    for name in table:
        if name not in wanted and re.match(r"VMMU_(E[A-Z]+|OK|OUTCOME_\w+)$", name):
            offenders.append(f"{name} is in the table and not in the header")
    return offenders


def check_mutants(root):
    text = read(root, "docs/testing.md")
    listed = {row[0].strip("`"): row[1] for row in rows(text)
              if len(row) >= 2 and re.match(r"`[A-Z_]+`$", row[0])}
    wanted = {name: words for part in ("TDP", "SHADOW", "TRACK", "LOG", "RACE") for name, words in
              entries(root, "src/base/mutate.h", f"VMMU_{part}_MUTANTS")}
    offenders = [f"{name}: mutate.h says \"{words}\", the table \"{listed.get(name)}\""
                 for name, words in wanted.items() if listed.get(name) != words]
    return offenders + [f"{name} is no mutant" for name in listed if name not in wanted]


def check_invariants(root):
    table = rows(read(root, "docs/architecture.md"))
    return [f"docs/architecture.md has no row for I{n}" for n in range(1, INVARIANTS + 1)
            if sum(row[0] == f"I{n}" for row in table) != 1]


def check_kvm(root):
    count = sum(len(row) == 2 and row[0] != "in KVM"
                for row in rows(read(root, "docs/coming-from-kvm.md")))
    return [] if count >= ROWS_FOR_KVM_PEOPLE else [f"{count} rows"]


# ---- names ----

def known_words(root):
    words = set()
    for path in project_files(root):
        if path.endswith((".c", ".h", ".S", ".py", ".build", ".txt", ".sh")) or \
                os.path.basename(path) in ("Makefile",):
            words |= set(re.findall(r"\w+", read(root, path)))
    for prefix in ("VMMU_", "VMMU_OUTCOME_", "VMMU_STAT_", "VMMU_TRACE_"):
        words |= {prefix + word for word in list(words) if re.match(r"[A-Z][A-Z0-9_]+$", word)}
    return words


def check_names(root):
    """Names in `back quotes` that are of this project, and paths of its files."""
    known, offenders = known_words(root), []
    for path in documents(root):
        for number, line in enumerate(prose(read(root, path)), 1):
            for quoted in re.findall(r"`([^`]+)`", line):
                for name in re.findall(r"\b(?:vmmu|VMMU|sim|random)_\w+", quoted):
                    if name not in known and not name.endswith("_"):
                        offenders.append(f"{path}:{number}: there is no {name}")
                for file in re.findall(r"^(?:src|include|tests|ports|docs|hv|cli|examples)/"
                                       r"[\w./-]+$", quoted):
                    if not os.path.exists(os.path.join(root, file)):
                        offenders.append(f"{path}:{number}: there is no {file}")
    return offenders


def main():
    root = sys.argv[1]
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        for path in documents(root):
            if "```c\n" not in read(root, path):
                continue
            tap.check(f"{path}: quoted files say the same", check_quoted(root, path))
            for compiler in ("gcc", "clang"):
                if unit_of(root, path) and shutil.which(compiler):
                    tap.check(f"{path}: the code compiles with {compiler}",
                              check_code(root, path, compiler, folder))
    tap.check("every link leads somewhere", check_links(root))
    tap.check("errors and outcomes in docs/porting.md agree with the headers", check_errors(root))
    tap.check("mutants in docs/testing.md agree with src/base/mutate.h", check_mutants(root))
    tap.check("every invariant has its row in docs/architecture.md", check_invariants(root))
    tap.check(f"docs/coming-from-kvm.md has {ROWS_FOR_KVM_PEOPLE} rows or more", check_kvm(root))
    tap.check("names and files that the documents mention exist", check_names(root))
    tap.end()


main()
