# SPDX-License-Identifier: MIT
"""Linux guests: boot to the first process, and what programs do, natively and in guests."""
import json
import os

import kvm
import machine

COMMAND_LINE = ('console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests mitigations=off '
                'no_timer_check tsc=reliable nowatchdog')
MEMORY = '512M'


def make_initramfs(build, work):
    path = os.path.join(work, 'linux.cpio')
    with open(os.path.join(build, 'bench', 'linux', 'linux-workloads'), 'rb') as file:
        machine.initramfs(path, {'init': file.read(), 'proc/x': None})
    return path


def figures(results):
    """Operation: number, with the boot counted from where the kernel was started."""
    linux = dict(results['linux'])
    if linux.pop('done', 0) != 1 or any(name.startswith('error.') for name in linux):
        raise machine.Untrusted('the workloads in the Linux guest did not end well')
    linux['boot'] = linux.pop('init_tsc') - results['check']['entry']
    return linux


def _collect(words, limit, what):
    reader = kvm.Reader(lambda *_: None)
    reader.line('bench-begin - -')
    if not machine.run(words, limit, reader.line):
        raise machine.Untrusted(f'{what} did not end within {limit} s')
    return reader.results['-']['-']


def native(build, work, limit):
    image = make_initramfs(build, work)
    payload = os.path.join(build, 'bench', 'guest', 'payload.elf')
    kernel = os.path.join(build, 'guests', 'vmlinuz')
    results = _collect(machine.command(kernel, COMMAND_LINE, image, MEMORY), limit, 'Linux')
    results.update(_collect(machine.command(payload, '-', image, MEMORY), limit, 'the payload'))
    return figures(results)


def vmmu(build, work, limit, mmu='npt'):
    image = make_initramfs(build, work)
    report = os.path.join(work, 'linux.json')
    words = [os.path.join(build, 'vmmu'), 'run', '--mmu', mmu, '--icount', '--memory', MEMORY,
             '--kernel', os.path.join(build, 'guests', 'vmlinuz'), '--initrd', image,
             '--append', COMMAND_LINE, '--json', report, '--timeout', str(limit)]
    results = _collect(words, limit + 30, 'Linux in vmmu')
    with open(report, encoding='utf-8') as file:
        told = json.load(file)
    results['check'] = {'entry': told['tsc']['guest_entry']}
    return figures(results)


def vmmu_shadow(build, work, limit):
    return vmmu(build, work, limit, 'shadow')


def in_kvm(build, work, limit, say):
    """{mode: figures}, kernel release."""
    results, kernel = kvm.measure(build, work, ('npt', 'shadow'), kvm.LINUX, False, limit, say,
                                  (make_initramfs(build, work), COMMAND_LINE))
    return {mode: figures({**runs['linux'], 'check': runs['entry']['check']})
            for mode, runs in results.items()}, kernel
