#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run every test: the programs that Meson knows, then the guest boots. `make test` calls it.

Each test program prints one line when it is done, with the number of its tests (TAP subtests count
one by one). What failed is shown at once, what was skipped is named with its reason, and the last
line is `N passed, N failed`, with `, N skipped` where there are any. The status is 0 only when
nothing failed. Lines `# | ...` in a program's output are shown as they are: tables for people.

Tests in the Meson suite `long` run with --long only.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

import guest_tests

RESULT = re.compile(
    r"^\s*(\d+)/(\d+)\s+(.*?)\s+(OK|FAIL|SKIP|TIMEOUT|ERROR|INTERRUPT|EXPECTEDFAIL|UNEXPECTEDPASS)"
    r"\s+([\d.]+)s"
)


class Tally:
    """Counts of everything that ran."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add(self, name, verdict, reason=""):
        if verdict == "passed":
            self.passed += 1
        elif verdict == "skipped":
            self.skipped.append(f"{name}: {reason or 'no reason given'}")
        else:
            self.failed.append(name)

    def finish(self):
        """Name what needs attention, print the last line. Return: the exit status."""
        say("")
        for line in self.skipped:
            say(f"skipped: {line}")
        for name in self.failed:
            say(f"FAILED:  {name}")
        last = f"{self.passed} passed, {len(self.failed)} failed"
        if self.skipped:
            last += f", {len(self.skipped)} skipped"
        say(last)
        return 1 if self.failed or self.passed == 0 else 0


def say(text):
    print(text, flush=True)


def stream_meson(build, arguments):
    """Run `meson test`, one line per finished program. Return: its exit status."""
    command = ["meson", "test", "-C", str(build), "--no-rebuild", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        other = []
        seen = False
        for line in process.stdout:
            found = RESULT.match(line)
            if not found:
                other.append(line)
                continue
            seen = True
            number, count, name, verdict, seconds = found.groups()
            subtests = re.search(r"(\d+(?:/\d+)?) subtests? (?:passed|failed)", line)
            what = f"{subtests.group(1)} tests" if subtests else ""
            say(f"  [{number:>3}/{count}] {verdict:<8} {name:<48} {what:>14} {seconds:>8} s")
        status = process.wait()
    if status != 0 and not seen:
        say("".join(other))
    return status


def case_verdict(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed", ""
    skipped = case.find("skipped")
    if skipped is not None:
        return "skipped", skipped.get("message") or ""
    return "passed", ""


def read_programs(build):
    """What each program printed and how it ended, by name: {name: record of testlog.json}."""
    path = build / "meson-logs" / "testlog.json"
    if not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text(errors="replace").splitlines()]
    return {record["name"]: record for record in records}


def skip_reasons(output):
    """The reasons of `ok N - name # SKIP reason` lines, in order."""
    return re.findall(r"^ok\b.*# *SKIP\S* *(.*)$", output, re.MULTILINE | re.IGNORECASE)


def count_cases(suite, record, tally):
    """Count the test cases of one program's TAP output."""
    output = (record or {}).get("stdout") or ""
    reasons = iter(skip_reasons(output))
    failed = 0
    for case in suite.findall("testcase"):
        name = f"{suite.get('name').split('.')[-1]}: {case.get('name')}"
        verdict, reason = case_verdict(case)
        if verdict == "skipped":
            reason = next(reasons, reason)
        failed += verdict == "failed"
        tally.add(name, verdict, reason)
    return failed


def count_programs(build, tally):
    """Count from Meson's own records, so that nothing depends on how lines look."""
    path = build / "meson-logs" / "testlog.junit.xml"
    programs = read_programs(build)
    counted = set()
    for suite in xml.parse(path).getroot().findall("testsuite") if path.exists() else []:
        name = suite.get("name").split(".", 1)[-1]
        record = find_record(programs, name)
        if record is None:
            continue
        counted.add(record["name"])
        failed = count_cases(suite, record, tally)
        if record["result"] not in ("OK", "SKIP", "EXPECTEDFAIL") and failed == 0:
            tally.add(f"{record['name']}: ended with {record['result']}", "failed")
    for full_name, record in programs.items():
        if full_name in counted:
            continue
        verdict = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}
        tally.add(full_name, verdict.get(record["result"], "failed"), "the program said so")
    return programs


def find_record(programs, name):
    """Meson names a program `project:suite / name` in one place and `project.name` in another."""
    for full_name, record in programs.items():
        if full_name == name or full_name.split(" / ")[-1] == name:
            return record
    return None


def show_outputs(programs):
    """Tables that programs made, and everything that failed ones said."""
    for name, record in programs.items():
        output = record.get("stdout") or ""
        tables = [line[4:] for line in output.splitlines() if line.startswith("# | ")]
        if tables:
            say(f"\n{name}:")
            say("\n".join("  " + line for line in tables))
        if record["result"] in ("OK", "SKIP", "EXPECTEDFAIL"):
            continue
        say(f"\n--- {name} failed ({record['result']}):")
        lines = [line for line in output.splitlines() if not line.startswith("ok ")]
        lines += (record.get("stderr") or "").splitlines()
        say("\n".join("    " + line for line in lines[-80:]))


def run_programs(build, options, tally):
    arguments = [] if options.long else ["--no-suite", "long"]
    for suite in options.suite:
        arguments += ["--suite", suite]
    for name in ("testlog.json", "testlog.junit.xml"):
        (build / "meson-logs" / name).unlink(missing_ok=True)
    say("Test programs:")
    status = stream_meson(build, arguments)
    programs = count_programs(build, tally)
    show_outputs(programs)
    if status != 0 and not tally.failed:
        tally.add(f"meson test ended with status {status}", "failed")


def main():
    parser = argparse.ArgumentParser(description="Run every test of this project.")
    parser.add_argument("build", type=pathlib.Path, help="the build folder")
    parser.add_argument("--long", action="store_true", help="the long tests too")
    parser.add_argument("--suite", action="append", default=[], help="only this Meson suite")
    parser.add_argument("--no-guests", action="store_true", help="no guest boots")
    parser.add_argument("--no-programs", action="store_true", help="guest boots only")
    parser.add_argument("--guest", help="only guest boots whose name contains this")
    options = parser.parse_args()

    tally = Tally()
    begin = time.monotonic()
    if not options.no_programs:
        run_programs(options.build, options, tally)
    if options.no_guests:
        say("\nGuest boots: left out, as asked")
    else:
        guest_tests.run_all(options.build, options, tally, say)
    say(f"\nall of it took {time.monotonic() - begin:.0f} s")
    sys.exit(tally.finish())


if __name__ == "__main__":
    main()
