#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Where the hypervisor's instructions go: the benchmark payload with every instruction counted, by
function, for one operation. `bench/profile.py BUILD [OPERATION...]`
"""
import argparse
import bisect
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import machine  # noqa: E402

# operation: set, function of the payload that does it (and how often it ran before), how often it
# does, hypervisor's words
OPERATIONS = {
    'cpuid': ('exits', 'measure_cpuid', 200, 'huge=off prefill=on prefetch=1'),
    'rdmsr': ('exits', 'measure_rdmsr_pat', 200, 'huge=off prefill=on prefetch=1'),
    'out': ('exits', 'measure_out_inside', 200, 'huge=off prefill=on prefetch=1'),
    'mmio.read': ('exits', 'measure_read_apic', 200, 'huge=off prefill=on prefetch=1'),
    'mmio.write': ('exits', 'measure_write_inside', 200, 'huge=off prefill=on prefetch=1'),
    'mmio.first': ('exits', 'measure_first_write', 1, 'huge=off prefill=on prefetch=1'),
    'mmio.pages': ('exits', 'mmio_pass', 256, 'huge=off prefill=on prefetch=1'),
    'vmmcall': ('exits', 'measure_vmmcall', 200, 'huge=off prefill=on prefetch=1'),
    'fault.4k': ('touch', 'touch_write', 4096, 'huge=off prefill=on prefetch=1'),
    'fault.4k.prefetch': ('touch', 'touch_write', 4096, 'huge=off prefill=on'),
    'fault.map2m': ('touch', 'touch_write+4', 4096, 'huge=off prefill=on'),
    'fault.map2m.one': ('touch', 'touch_write+5', 128, 'huge=off prefill=on'),
    'fault.map2m.one.2m': ('touch', 'touch_write+5', 128, 'huge=on prefill=on'),
    'fault.2m.write': ('touch', 'touch_write', 8, 'huge=on prefill=on'),
    'dirty.all': ('dirty', 'measure_harvest_all', 16384, 'huge=off prefill=on hostport=on'),
    'dirty.none': ('dirty', 'measure_harvest_none', 1, 'huge=off prefill=on hostport=on'),
    'slots.add': ('slots', 'measure_slot_add', 1, 'huge=off prefill=on hostport=on'),
    'slots.delete.4k': ('slots', 'measure_data_delete', 131072,
                        'huge=off prefill=on hostport=on'),
    'slots.delete.2m': ('slots', 'measure_data_delete', 256, 'huge=on prefill=on hostport=on'),
    # Eight rounds of 512 pages, or of 64 switches; all parts of a workload together.
    'tables.remap1': ('tables', 'measure_single', 1000, 'huge=off prefill=on'),
    'tables.batch': ('tables', 'measure_batch', 8 * 512, 'huge=off prefill=on'),
    'tables.munmap': ('tables', 'measure_munmap', 8 * 512, 'huge=off prefill=on'),
    'tables.cow': ('tables', 'measure_cow', 8 * 512, 'huge=off prefill=on'),
    'tables.age': ('tables', 'measure_age', 8 * 512, 'huge=off prefill=on'),
    'tables.demand': ('tables', 'measure_demand', 8 * 512, 'huge=off prefill=on'),
    'tables.switch': ('tables', 'measure_switch', 8 * 64, 'huge=off prefill=on'),
    'tables.process': ('tables', 'measure_process', 8, 'huge=off prefill=on'),
}


def symbols(path):
    """Sorted [(address, name)] of functions, and {name: address}."""
    text = subprocess.run(['nm', path], capture_output=True, text=True, check=True).stdout
    found = [(int(line[0], 16), line[2]) for line in map(str.split, text.splitlines())
             if len(line) == 3 and line[1] in 'tT']
    return sorted(found), {name: address for address, name in found}


def run(build, mmu, set_name, moments, words):
    begin, skip, end = moments
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out')
        append = os.path.join(folder, 'append')
        with open(append, 'w', encoding='utf-8') as file:
            file.write('sets=' + set_name)
        plugin = os.path.join(build, 'bench', 'profile', 'libbench-count.so')
        payload = os.path.join(build, 'bench', 'guest', 'payload.elf')
        command = machine.command(os.path.join(build, 'hv', 'vmmu-hv.elf'),
                                  f'mmu={mmu} memory={640 << 20} {words}',
                                  f'{payload} kernel,{append} append', '768M')
        command += ['-plugin', f'{plugin},begin={begin:#x},skip={skip},end={end:#x},out={out}']
        if not machine.run(command, 300, lambda _: None):
            raise machine.Untrusted('the profiled run did not end')
        with open(out, encoding='utf-8') as file:
            return [(int(a, 16), int(n)) for a, n in map(str.split, file)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip())
    parser.add_argument('build', help='build folder')
    parser.add_argument('operations', nargs='*', metavar='OPERATION',
                        help='some of: ' + ', '.join(OPERATIONS))
    parser.add_argument('--mmu', default='npt', choices=('npt', 'shadow'))
    arguments = parser.parse_intermixed_args()
    build = os.path.abspath(arguments.build)
    host, _ = symbols(os.path.join(build, 'hv', 'vmmu-hv.elf64'))
    _, guest = symbols(os.path.join(build, 'bench', 'guest', 'payload.elf64'))
    starts = [address for address, _ in host]
    first_guest = guest['entry']
    wanted = arguments.operations or [name for name in OPERATIONS
                                      if arguments.mmu == 'shadow' or 'tables' not in name]
    for operation in wanted:
        set_name, function, times, words = OPERATIONS[operation]
        function, _, before = function.partition('+')
        moments = guest[function], int(before or 0), guest['put_result']
        counts = run(build, arguments.mmu, set_name, moments, words)
        functions = {}
        for address, count in counts:
            name = '(guest)'
            if address < first_guest:
                name = host[max(bisect.bisect_right(starts, address) - 1, 0)][1]
            functions[name] = functions.get(name, 0) + count
        total = sum(count for name, count in functions.items() if name != '(guest)')
        print(f'{operation}: {total / times:.1f} instructions in the hypervisor per operation')
        for name, count in sorted(functions.items(), key=lambda item: -item[1]):
            if count / times >= 0.5:
                print(f'    {count / times:10.1f}  {name}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
