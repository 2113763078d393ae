#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
`make scale`: many vCPUs, and much memory at once, without a guest: `bench/scale.py BUILD`.

Faults per second with real threads, up to 64 vCPUs in virtual time, forgetting everything that is
mapped, and harvesting beside faults. Prints tables, writes bench/results/scale.json and a chart.
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True

import scale_show  # noqa: E402

# Nanoseconds of the model: a cache line's way from one CPU to another, the hardware's exit and
# entry around a fault.
TRANSFER_NS = 60
EXIT_NS = 1500

# what, lock
SERIES = (('tdp', 'shared'), ('tdp', 'exclusive'), ('tdp-shared', 'shared'),
          ('tdp-shared', 'exclusive'), ('shadow', 'shared'), ('shadow', 'exclusive'))
THREAD_FAULTS = {'arithmetic': 10000, 'tdp': 10000, 'tdp-shared': 10000, 'shadow': 4000}
BESIDE = ('shared', 'accessed', 'dirty', 'zap')
# shape, GiB, how, runs
FORGET = [(shape, gib, how, 5 if gib == 1 else 3)
          for shape, gib in (('dense', 1), ('sparse', 1), ('sparse', 64), ('sparse', 1024),
                             ('shadow', 1))
          for how in ('fast', 'all', 'all-pausing', 'slot')
          if gib < 1024 or how in ('fast', 'all')]
FORGET_QUICK = [('dense', 1, 'fast', 3), ('sparse', 1, 'fast', 3), ('sparse', 1024, 'fast', 1),
                ('shadow', 1, 'fast', 3)]


class Bench:
    def __init__(self, build, quick):
        self.folder = os.path.join(build, 'bench', 'scale')
        self.quick = quick

    def run(self, program, *words):
        command = [os.path.join(self.folder, 'vmmu-' + program), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise OSError(done.stderr.strip() or f'{program} ended with {done.returncode}')
        return done.stdout.split('\n')

    # ---- real threads ----

    def threads_once(self, what, beside, count, runs):
        """[(nanoseconds, what a second thread did meanwhile, processor time)]"""
        out = self.run('threads', what, beside, count, THREAD_FAULTS[what], runs)
        return [tuple(map(int, line.split())) for line in out if line]

    def threads(self):
        """{what: {lock: {threads: {rate of the best run, of the median run}}}}, per second."""
        cases = [(what, lock, count) for what in THREAD_FAULTS for lock in ('shared', 'exclusive')
                 for count in (1, 2, 4, 8) if (what, lock) != ('arithmetic', 'exclusive')]
        return self.rounds(cases)

    def beside(self):
        """One thread faults, another does something else in a loop."""
        found = self.rounds([('tdp', beside, 1) for beside in BESIDE])
        return {beside: found['tdp'][beside]['1'] for beside in BESIDE}

    def rounds(self, cases):
        """Several rounds of many short runs: other programs disturb some, not all."""
        times = {case: [] for case in cases}
        for _ in range(2 if self.quick else 5):
            for case in cases:
                times[case] += self.threads_once(*case, 20 if self.quick else 40)
        found = {}
        for (what, lock, count), runs in times.items():
            kept = self.undisturbed(runs, count)
            spans = kept or [span for span, _, _ in runs]
            work = count * THREAD_FAULTS[what] * 1e9
            found.setdefault(what, {}).setdefault(lock, {})[str(count)] = {
                'best': work / min(spans), 'median': work / statistics.median(spans),
                'kept': len(kept)}
        return found

    @staticmethod
    def undisturbed(runs, count):
        """
        Only runs in which all processors were the program's: where other programs keep threads
        apart, they do not meet, and a bad lock looks good.
        """
        want = 0.9 * min(count, os.cpu_count() or 1)
        rates = [turns / span for span, turns, _ in runs if turns]
        enough = statistics.median(rates) / 2 if rates else 0
        return [span for span, turns, own in runs
                if own / span >= want and turns / span >= enough]

    # ---- virtual time ----

    def virtual_once(self, case):
        what, lock, count, exit_ns, fault_ns = case
        faults = 4096 if what == 'tdp' and not self.quick else 2048
        words = self.run('virtual', what, lock, count, faults, f'{fault_ns:.1f}', TRANSFER_NS,
                         exit_ns)[0].split()
        return {'rate': count * faults * 1e9 / float(words[0]), 'points': float(words[1]),
                'moved': float(words[2]), 'waited': float(words[3])}

    def virtual(self, fault_ns):
        """{exit: {what: {lock: {vCPUs: figures and efficiency}}}}; @fault_ns by engine."""
        counts = (1, 8, 64) if self.quick else (1, 2, 4, 8, 16, 32, 64)
        cases = [(what, lock, count, exit_ns, fault_ns['shadow' if what == 'shadow' else 'tdp'])
                 for exit_ns in (0, EXIT_NS) for what, lock in SERIES for count in counts]
        found = {}
        # Nothing here depends on the time that it takes.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for case, figures in zip(cases, pool.map(self.virtual_once, cases)):
                what, lock, count, exit_ns, _ = case
                series = found.setdefault(str(exit_ns), {}).setdefault(what, {})
                series = series.setdefault(lock, {})
                series[str(count)] = figures
                figures['efficiency'] = figures['rate'] / (count * series['1']['rate'])
        return found

    def hot(self, fault_ns, lines):
        """What moves between 64 vCPUs: the lines that cost most."""
        for what, lock in SERIES:
            ns = fault_ns['shadow' if what == 'shadow' else 'tdp']
            out = self.run('virtual', what, lock, 64, 2048, f'{ns:.1f}', TRANSFER_NS, 0, lines)
            print(f'{what}, {lock}:')
            print('\n'.join(line.removeprefix('hot ') for line in out[1:] if line))

    # ---- forgetting ----

    def forget(self):
        """[{shape, gib, how, nanoseconds ...}]: the least of several runs, each by itself."""
        rows = []
        for shape, gib, how, runs in FORGET_QUICK if self.quick else FORGET:
            found = [[int(word) for word in self.run('forget', shape, gib, how)[0].split()]
                     for _ in range(runs)]
            least = [min(column) for column in zip(*found)]
            rows.append(dict(zip(('returned', 'freed', 'exclusive', 'shared', 'tables'), least),
                             shape=shape, gib=gib, how=how))
        return rows


def measure(build, quick, say):
    bench = Bench(build, quick)
    results = {'load': os.getloadavg()[0], 'processors': os.cpu_count(),
               'transfer_ns': TRANSFER_NS, 'exit_ns': EXIT_NS}
    say('many CPUs: threads')
    results['threads'] = bench.threads()
    fault_ns = {what: 1e9 / results['threads'][what]['shared']['1']['best']
                for what in ('tdp', 'shadow')}
    results['fault_ns'] = fault_ns
    results['beside'] = bench.beside()
    say('many CPUs: virtual time')
    results['virtual'] = bench.virtual(fault_ns)
    say('many CPUs: forgetting')
    results['forget'] = bench.forget()
    return results


def save(results, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'scale.json'), 'w', encoding='utf-8') as file:
        json.dump(results, file, indent=1)
        file.write('\n')


def say_on_terminal(text):
    if sys.stderr.isatty():
        sys.stderr.write('\r\033[K' + text)
        sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('build', help='build folder')
    parser.add_argument('--quick', action='store_true', help='fewer and shorter runs')
    parser.add_argument('--hot', type=int, metavar='LINES',
                        help='only this: the cache lines that cost 64 vCPUs most')
    parser.add_argument('--again', action='store_true', help='show the last results once more')
    parser.add_argument('--docs', metavar='FOLDER',
                        help='renew scaling.svg and the tables of performance.md there')
    arguments = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.join(root, 'bench', 'results')
    if arguments.hot:
        Bench(arguments.build, True).hot({'tdp': 50, 'shadow': 220},
                                                          arguments.hot)
        return 0
    if arguments.again:
        with open(os.path.join(folder, 'scale.json'), encoding='utf-8') as file:
            results = json.load(file)
    else:
        results = measure(os.path.abspath(arguments.build), arguments.quick, say_on_terminal)
        say_on_terminal('')
        save(results, folder)
    print(scale_show.text(results))
    trouble = scale_show.publish(results, folder, arguments.docs)
    if trouble:
        print(f'scale: no chart: {trouble}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
