#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the hypervisor's own test kernels through `vmmu run`; TAP on standard output."""
import json
import subprocess
import sys
import tempfile

# kernel, options, guest.outcome, exit status
NPT_RUNS = [
    ("policy", ["--huge", "off"], "exit", 0),
    ("policy", ["--huge", "on", "--audit", "every=3"], "exit", 0),
    ("mmio", ["--huge", "off"], "exit", 0),
    ("mmio", ["--audit", "every=3"], "exit", 0),
    ("requeue", ["--huge", "off"], "exit", 0),
    ("requeue", ["--huge", "off", "--icount"], "exit", 0),
    ("ending1", [], "halt", 1),
    ("ending2", [], "crash", 1),
    ("ending3", [], "stall", 1),
    ("ending4", ["--timeout", "3"], "timeout", 1),
    ("ending5", [], "reset", 1),
    ("ending6", [], "reset", 1),
    ("ending7", [], "exit", 1),
    ("ending8", [], "crash", 1),
    ("bad1", [], "exit", 0),
    ("bad2", [], "crash", 1),
    ("bad3", [], "exit", 0),
    ("bad4", [], "exit", 0),
]
RUNS = NPT_RUNS + [(name, ["--mmu", "shadow", *options], outcome, status)
                   for name, options, outcome, status in NPT_RUNS]


def run(vmmu, kernel, options):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run(
            [vmmu, "run", "--memory", "128M", "--kernel", kernel, "--json", report.name, *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        try:
            guest = json.load(open(report.name))["guest"]
        except (ValueError, KeyError):
            guest = {}
    return done, guest


def main():
    vmmu, folder = sys.argv[1:3]
    print(f"1..{len(RUNS)}")
    failed = 0
    for number, (name, options, outcome, status) in enumerate(RUNS, 1):
        done, guest = run(vmmu, f"{folder}/{name}.elf", options)
        good = guest.get("outcome") == outcome and done.returncode == status
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {name} {' '.join(options)}: {outcome}")
        if not good:
            print(f"# status {done.returncode}, guest {guest}")
            for line in (done.stdout + done.stderr).splitlines()[-15:]:
                print(f"# {line}")
    return 1 if failed else 0


sys.exit(main())
