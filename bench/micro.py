#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The library's own paths in instructions (callgrind) and nanoseconds (this machine's), and the
memory it takes: `bench/micro.py BUILD`. With --functions, where the instructions go.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile


def run(words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def instructions(program, operation, annotate):
    """(instructions of all runs, runs, parts of a run, listing by function)."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out')
        told = subprocess.run(
            ['valgrind', '--tool=callgrind', '--toggle-collect=measured', '--trace-children=no',
             '--callgrind-out-file=' + out, program, operation],
            capture_output=True, text=True, check=True)
        total = int(re.search(r'Collected : (\d+)', told.stderr).group(1))
        runs, parts = (int(word) for word in told.stdout.split()[1:3])
        listing = ''
        if annotate:
            listing = run(['callgrind_annotate', '--auto=no', '--threshold=99', out])
        return total, runs, parts, listing


def nanoseconds(program, operation):
    """The best of five."""
    times = [run([program, operation]).split() for _ in range(5)]
    return min(int(words[3]) / int(words[1]) / int(words[2]) for words in times)


def functions(listing, count):
    for found in re.finditer(r'^ *([\d,]+) \([^)]*\)  \S*?:(\S+)', listing, re.MULTILINE):
        yield found.group(2), int(found.group(1).replace(',', '')) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip())
    parser.add_argument('build', help='build folder')
    parser.add_argument('operations', nargs='*', help='only these')
    parser.add_argument('--functions', action='store_true', help='where the instructions go')
    arguments = parser.parse_intermixed_args()
    program = os.path.join(arguments.build, 'bench', 'micro', 'vmmu-micro')
    if not shutil.which('valgrind'):
        print('micro: no figures: valgrind is not installed')
        return 1
    empty, times, *_ = instructions(program, 'nothing', False)
    print(f'{"operation":28}{"instructions":>14}{"ns":>10}')
    for name in run([program]).split():
        if name == 'nothing' or (arguments.operations and name not in arguments.operations):
            continue
        total, runs, parts, listing = instructions(program, name, arguments.functions)
        # Without the loop around the runs.
        each = (total / runs - empty / times) / parts
        print(f'{name:28}{each:14,.1f}{nanoseconds(program, name):10,.1f}')
        for function, share in functions(listing, runs * parts):
            if share >= 1:
                print(f'    {share:12.1f}  {function}')
    for line in run([program, 'memory']).splitlines():
        name, pages = line.split()
        print(f'{name:28}{int(pages) * 4:14,} KiB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
