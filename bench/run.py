#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
`make bench`: the same payload in Linux KVM and in vmmu, on the same emulated machine, counted in
instructions; then many vCPUs at once (scale.py). Prints the comparison, writes
bench/results/*.json and charts.

Always ends with status 0 unless nothing could be measured at all: a benchmark fails no test. What
cannot be trusted is said, and shown without figures.
"""
import argparse
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import chart  # noqa: E402
import kvm  # noqa: E402
import linux  # noqa: E402
import machine  # noqa: E402
import scale  # noqa: E402
import scale_show  # noqa: E402
import table  # noqa: E402
import tracking  # noqa: E402

QEMU_SERIES = '7.2.'
MMUS = ('npt', 'shadow')


class Session:
    """What is measured, kept, and said."""

    def __init__(self, build, results, quick):
        self.build = build
        self.folder = results
        self.quick = quick
        self.work = os.path.join(build, 'bench', 'work')
        self.progress = machine.Progress(sys.stderr)
        self.complaints = []
        os.makedirs(self.work, exist_ok=True)
        os.makedirs(self.folder, exist_ok=True)

    def step(self, what, function, otherwise):
        """Run one part; what it cannot measure is a complaint, not an end."""
        self.progress.say(what)
        try:
            return function()
        except machine.Untrusted as trouble:
            self.complaints.append(f'{what}: {trouble}')
        except (OSError, subprocess.SubprocessError, KeyError, ValueError) as trouble:
            self.complaints.append(f'{what}: {type(trouble).__name__} {trouble}')
        return otherwise

    def keep(self, name, data):
        with open(os.path.join(self.folder, name + '.json'), 'w', encoding='utf-8') as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.write('\n')


def check_qemu():
    version = machine.qemu_version()
    if not version.startswith(QEMU_SERIES):
        raise machine.Untrusted(f'this is QEMU {version}; figures are comparable with QEMU '
                                f'{QEMU_SERIES}x only')
    return version


def make_guest(session):
    """Kernel and busybox, fetched as `vmmu run` does it."""
    guests = os.path.join(session.build, 'guests')
    done = subprocess.run(['sh', os.path.join(guests, 'guest.sh'), guests, guests],
                          check=False)
    if done.returncode != 0:
        raise machine.Untrusted("Debian's kernel is missing")


def measure_vmmu(session, mmu):
    """Every run of `vmmu bench` is made twice by itself, and compared."""
    path = os.path.join(session.work, f'vmmu-{mmu}.json')
    words = [os.path.join(session.build, 'vmmu'), 'bench', '--mmu', mmu, '--json', path]
    done = subprocess.run(words + (['--quick'] if session.quick else []), capture_output=True,
                          text=True, check=False, timeout=600)
    if done.stderr.strip():
        session.complaints.append(done.stderr.strip())
    with open(path, encoding='utf-8') as file:
        data = json.load(file)
    session.keep(f'vmmu-{mmu}', data)
    return data['runs']


def same(first, second, path=''):
    """Names of the figures that differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        return [name for key in sorted(set(first) | set(second))
                for name in same(first.get(key), second.get(key), f'{path}.{key}')]
    return [] if first == second else [path.lstrip('.')]


def measure_kvm(session, runs, mitigations, times):
    """All modes in one boot; `times` boots must give the same figures."""
    def say(mode, name):
        session.progress.say(f'Linux KVM {table.MODE_TEXT.get(mode, mode)} {name}'
                             + (', mitigations on' if mitigations else ''))

    results = kernel = None
    for _ in range(times):
        again, kernel = kvm.measure(session.build, session.work, kvm.MODES, runs, mitigations,
                                    400, say)
        different = same(results, again) if results else []
        if different:
            raise machine.Untrusted(f'two boots gave different figures, first {different[0]}')
        results = again
    session.keep('kvm-mitigated' if mitigations else 'kvm', {'kernel': kernel, 'runs': results})
    return results


def measure_linux(session, shadow):
    """@shadow: vmmu has shadow paging."""
    results = {}
    machines = [('native', linux.native), ('vmmu', linux.vmmu)]
    if shadow:
        machines.append(('vmmu_shadow', linux.vmmu_shadow))
    for name, function in machines:
        found = session.step(f'Linux, {name}',
                             lambda f=function: f(session.build, session.work, 120), None)
        if found:
            results[name] = found

    def say(mode, _):
        session.progress.say(f'Linux in KVM {table.MODE_TEXT[mode]}')

    found = session.step('Linux in KVM', lambda: linux.in_kvm(session.build, session.work, 300,
                                                              say), None)
    if found:
        results.update(found[0])
    session.keep('linux', results)
    return results


def measure_tracking(session):
    results = {mmu: session.step(f'tracked writes, {mmu}',
                                 lambda m=mmu: tracking.measure(session.build, m, 120), {})
               for mmu in MMUS}
    session.keep('tracking', results)
    return results


def renew_tables(path, tables):
    """Replace what stands between the two marks of the document."""
    begin, end = '<!-- tables: bench/run.py --docs -->\n', '<!-- end of tables -->'
    with open(path, encoding='utf-8') as file:
        text = file.read()
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{head}{begin}{tables}\n{end}{tail}')


def parse():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('build', help='build folder')
    parser.add_argument('--quick', action='store_true', help='the most important figures, 2 min')
    parser.add_argument('--docs', metavar='FOLDER',
                        help='renew performance.svg and the tables of performance.md there')
    return parser.parse_args()


def main():
    arguments = parse()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    session = Session(os.path.abspath(arguments.build), os.path.join(root, 'bench', 'results'),
                      arguments.quick)
    begin = time.monotonic()
    try:
        version = check_qemu()
    except machine.Untrusted as trouble:
        print(f'bench: no figures: {trouble}')
        return 1
    session.step('guest', lambda: make_guest(session), None)
    vmmu = {mmu: session.step(f'vmmu --mmu {mmu}', lambda m=mmu: measure_vmmu(session, m), {})
            for mmu in MMUS}
    runs = kvm.QUICK if arguments.quick else kvm.FULL
    kvms = session.step('Linux KVM', lambda: measure_kvm(
        session, runs, False, 1 if arguments.quick else 2), {})
    mitigated = {} if arguments.quick else session.step(
        'Linux KVM, mitigations on', lambda: measure_kvm(session, kvm.FULL, True, 1), {})
    guests = {} if arguments.quick else measure_linux(session, bool(vmmu['shadow']))
    tracked = {} if arguments.quick else measure_tracking(session)
    many = session.step('many CPUs', lambda: scale.measure(
        session.build, arguments.quick, session.progress.say), None)
    session.progress.clear()
    print(table.text(kvms, mitigated, vmmu, guests, tracked))
    if many:
        scale.save(many, session.folder)
        print(scale_show.text(many))
    print(f'QEMU {version}, {time.monotonic() - begin:.0f} s.')
    trouble = scale_show.publish(many, session.folder, arguments.docs) if many else None
    if trouble:
        session.complaints.append(f'chart: {trouble}')
    for folder in [session.folder] + ([arguments.docs] if arguments.docs else []):
        trouble = chart.draw(table.lines(kvms, vmmu), os.path.join(folder, 'performance.svg'))
    if trouble:
        session.complaints.append(f'chart: {trouble}')
    if arguments.docs and not session.complaints:
        renew_tables(os.path.join(arguments.docs, 'performance.md'),
                     table.markdown(kvms, mitigated, vmmu, guests, tracked))
    for complaint in session.complaints:
        print(f'bench: not trusted: {complaint}')
    return 0 if kvms or any(vmmu.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
