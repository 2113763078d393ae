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


def smp(words, *options, cpus=4):
    """The kernel for several CPUs: they come last on its command line."""
    return ["--cpus", str(cpus), "--timeout", "60", *options, "--append", f"{words} cpus={cpus}"]


def both(name, options, outcome, status):
    return [(name, options, outcome, status), (name, ["--mmu", "shadow", *options], outcome, status)]


SMP_RUNS = [
    ("smp", smp("", cpus=8), "exit", 0),
    *both("smp", smp("", "--icount", cpus=3), "exit", 0),
    ("smp", ["--mmu", "shadow", *smp("remote=1", "--audit", "sample")], "exit", 0),
    ("smp", ["--mmu", "shadow", *smp("remote=1", "--icount")], "exit", 0),
    *both("smp", smp("withdraw=1", "--stress", "--huge", "off", "--audit", "every=500"), "exit", 0),
    *both("smp", smp("end=halt"), "halt", 1),
    *both("smp", smp("end=stall"), "stall", 1),
    *both("smp", smp("end=crash"), "crash", 1),
    *both("smp", smp("end=reset"), "reset", 1),
]
RUNS = NPT_RUNS + [(name, ["--mmu", "shadow", *options], outcome, status)
                   for name, options, outcome, status in NPT_RUNS] + [
                       # The CPU's own walk wants to mark tables in ROM as accessed.
                       ("bad5", [], "crash", 1),
                       ("bad5", ["--mmu", "shadow"], "exit", 0),
                   ] + SMP_RUNS


def flushed(report):
    """CPUs that spin with interrupts off have lost what was withdrawn, and faulted again."""
    others = [report["cpus"][str(number)] for number in range(1, report["cpus"]["count"])]
    return (report["flushes"]["remote"] >= 20 and all(cpu["kicks"] >= 20 for cpu in others)
            and sum(cpu["faults"] for cpu in others) >= 400)


def run(vmmu, kernel, options):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        done = subprocess.run(
            [vmmu, "run", "--memory", "128M", "--kernel", kernel, "--json", report.name, *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        try:
            data = json.load(open(report.name))
        except ValueError:
            data = {}
    return done, data


def main():
    vmmu, folder = sys.argv[1:3]
    print(f"1..{len(RUNS)}")
    failed = 0
    for number, (name, options, outcome, status) in enumerate(RUNS, 1):
        done, report = run(vmmu, f"{folder}/{name}.elf", options)
        guest = report.get("guest", {})
        good = guest.get("outcome") == outcome and done.returncode == status
        if good and "--stress" in options:
            good = flushed(report)
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {name} {' '.join(options)}: {outcome}")
        if not good:
            print(f"# status {done.returncode}, guest {guest}")
            for line in (done.stdout + done.stderr).splitlines()[-15:]:
                print(f"# {line}")
    return 1 if failed else 0


sys.exit(main())
