# SPDX-License-Identifier: MIT
"""
Installs the library into a folder of its own and builds the examples against what was installed,
as somebody else's project would: pkg-config with gcc and clang, with and without PIE; and CMake as
docs/porting.md shows it.

usage: check_install.py ROOT
"""

import os
import re
import shutil
import sys
import tempfile

from tap import Tap, read, run

EXPECTED = [
    r"^fault: resume$",
    r"^0x3008 -> guest memory \+ 0x3008$",
    r"^  slot 0: gfn 0x0 to 0x10, writable",
    r"^  level 1, entry 3 = 0x[0-9a-f]+: leaf, host frame 0x[0-9a-f]+, rights rwx, accessed, dirty$",
    r"^  a write: goes through$",
]
MEDIATOR_EXPECTED = [
    r"^the guest has written  page 5: 0x1234$",
    r"^no slot has this frame page 6: fault$",
    r"^its slot is deleted    page 5: fault$",
    r"^its slot is back       page 5: 0x1234$",
    r"^written 1000 times     page 7: 0x1234$",
    r"^the table is gone      page 7: fault$",
    r"^12 writes told, ",
]
OPTIONS = ["-Dtests=false", "-Dhv=false", "-Dcli=false", "-Dlibdir=lib"]


def install(root, folder):
    """Return (prefix, offenders)."""
    build, prefix = os.path.join(folder, "build"), os.path.join(folder, "installed")
    for command in (["meson", "setup", build, root, "--prefix", prefix] + OPTIONS,
                    ["meson", "compile", "-C", build],
                    ["meson", "install", "-C", build]):
        status, text = run(command)
        if status:
            return prefix, [" ".join(command), text]
    return prefix, []


def check_files(root, prefix):
    wanted = ["lib/libvmmu.a", "lib/pkgconfig/vmmu.pc"]
    wanted += [f"include/vmmu/{name}" for name in
               sorted(os.listdir(os.path.join(root, "include", "vmmu")))]
    return [f"{name} was not installed" for name in wanted
            if not os.path.exists(os.path.join(prefix, name))]


def pkg_config(prefix, *what):
    where = {**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig")}
    status, text = run(["pkg-config", *what, "vmmu"], env=where)
    return None if status else text.split()


def check_output(program, expected=EXPECTED):
    status, text = run([program])
    offenders = [f"prints no line like {line}" for line in expected
                 if not re.search(line, text, re.MULTILINE)]
    if status:
        offenders.append(f"ends with status {status}")
    return offenders + [text] if offenders else []


def build_and_run(root, prefix, folder, compiler, pie):
    flags = pkg_config(prefix, "--cflags", "--libs")
    if flags is None:
        return ["pkg-config does not find vmmu"]
    program = os.path.join(folder, f"smallest-{compiler}-{'pie' if pie else 'no-pie'}")
    how = ["-fPIE", "-pie"] if pie else ["-fno-pie", "-no-pie"]
    status, text = run([compiler, "-std=c17", "-O2", "-Wall", "-Wextra", "-Werror"] + how +
                       [os.path.join(root, "examples", "smallest.c"), "-o", program] + flags)
    return [text] if status else check_output(program)


def build_mediator(root, prefix, folder):
    flags = pkg_config(prefix, "--cflags", "--libs")
    program = os.path.join(folder, "mediator")
    sources = [os.path.join(root, "examples", "mediator", name) for name in
               ("main.c", "mediator.c")]
    status, text = run(["gcc", "-std=c17", "-O2", "-Wall", "-Wextra", "-Werror"] + sources +
                       ["-o", program] + (flags or []))
    return [text] if status else check_output(program, MEDIATOR_EXPECTED)


def cmake_text(root):
    """The cmake block of docs/porting.md."""
    found = re.search(r"^```cmake\n(.*?)^```", read(root, "docs/porting.md"),
                      re.MULTILINE | re.DOTALL)
    return found.group(1) if found else None


def check_cmake(root, prefix, folder):
    text = cmake_text(root)
    if text is None:
        return ["docs/porting.md has no cmake block"]
    project = os.path.join(folder, "cmake")
    os.mkdir(project)
    shutil.copy(os.path.join(root, "examples", "smallest.c"), os.path.join(project, "main.c"))
    with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
        file.write(text)
    where = {**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig")}
    for command in (["cmake", "-S", project, "-B", os.path.join(project, "build")],
                    ["cmake", "--build", os.path.join(project, "build")]):
        status, said = run(command, env=where)
        if status:
            return [said]
    return check_output(os.path.join(project, "build", "hypervisor"))


def check_version(root, prefix):
    """Headers, pkg-config and the build agree."""
    header = read(root, "include/vmmu/vmmu.h")
    numbers = [re.search(rf"VMMU_VERSION_{part} (\d+)", header).group(1)
               for part in ("MAJOR", "MINOR")]
    installed = (pkg_config(prefix, "--modversion") or ["?"])[0]
    return [] if installed.split(".")[:2] == numbers else [
        f"pkg-config says {installed}, the header {'.'.join(numbers)}"]


def check_length(root, name, most):
    lines = read(root, name).count("\n")
    return [] if lines <= most else [f"{name} has {lines} lines"]


def main():
    root = os.path.abspath(sys.argv[1])
    tap = Tap()
    tap.check("the smallest embedding has at most 100 lines",
              check_length(root, "examples/smallest.c", 100))
    tap.check("the mediator's program has at most 150 lines",
              check_length(root, "examples/mediator/main.c", 150))
    with tempfile.TemporaryDirectory() as folder:
        prefix, offenders = install(root, folder)
        tap.check("meson installs the library alone", offenders)
        if not offenders:
            tap.check("headers, library and vmmu.pc are in place", check_files(root, prefix))
            tap.check("the versions agree", check_version(root, prefix))
            for compiler in ("gcc", "clang"):
                for pie in (True, False):
                    name = f"smallest, installed library, {compiler}, " \
                        f"{'PIE' if pie else 'no PIE'}"
                    if shutil.which(compiler):
                        tap.check(name, build_and_run(root, prefix, folder, compiler, pie))
                    else:
                        tap.skip(name, f"no {compiler}")
            tap.check("mediator, installed library, gcc", build_mediator(root, prefix, folder))
            if shutil.which("cmake"):
                tap.check("smallest, installed library, CMake",
                          check_cmake(root, prefix, folder))
            else:
                tap.skip("smallest, installed library, CMake", "no cmake")
    tap.end()


main()
