# SPDX-License-Identifier: MIT
"""The payload in Linux KVM: Debian's kernel in the emulated machine, with our monitor."""
import os
import re
import shutil
import subprocess

import machine

MODES = {
    # name: parameters of kvm.ko, of kvm-amd.ko
    'npt': ('tdp_mmu=1', 'npt=1'),
    'npt_old': ('tdp_mmu=0', 'npt=1'),
    'shadow': ('tdp_mmu=0', 'npt=0'),
}

# name: step of kvm/init and its words; those of run are sets, MiB of data, page size, and whether
# memory is there beforehand
FULL = {
    '4k': ('run', 'exits,touch,tables', 512, 'small', 'prefault'),
    '2m': ('run', 'touch', 512, 'huge', 'prefault'),
    '4k_lazy': ('run', 'touch', 512, 'small', 'lazy'),
    '2m_lazy': ('run', 'touch', 512, 'huge', 'lazy'),
    'dirty_4k': ('run', 'dirty', 64, 'small', 'prefault'),
    'dirty_2m': ('run', 'dirty', 64, 'huge', 'prefault'),
    'slots_4k': ('run', 'slots', 512, 'small', 'prefault'),
    'slots_2m': ('run', 'slots', 512, 'huge', 'prefault'),
}
QUICK = {name: FULL[name] for name in ('4k', '2m')}

COMMAND_LINE = 'console=ttyS0 quiet panic=-1 cryptomgr.notests tsc=reliable'


def plan_text(modes, runs):
    lines = []
    for mode in modes:
        lines.append('mode {} {} {}'.format(mode, *MODES[mode]))
        lines += ['{} {} {}'.format(run[0], name, ' '.join(map(str, run[1:])))
                  for name, run in runs.items()]
    return '\n'.join(lines) + '\n'


LINUX = {'entry': ('entry',), 'linux': ('linux',)}

# What a monitor for Linux needs of QEMU, beside its libraries.
QEMU_DATA = ('bios-256k.bin', 'kvmvapic.bin', 'linuxboot_dma.bin', 'multiboot_dma.bin')
DATA_FOLDERS = ('/usr/share/qemu', '/usr/share/seabios')


def qemu_files():
    """{name in the initramfs: file} of the QEMU that is installed here."""
    program = shutil.which(machine.QEMU)
    files = {'usr/bin/' + machine.QEMU: program}
    listed = subprocess.run(['ldd', program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r'(/\S+) \(0x', listed):
        # The loader where the program says, the libraries where it looks.
        folder = 'lib64/' if os.path.basename(path).startswith('ld-linux') else 'lib/'
        files[folder + os.path.basename(path)] = path
    for name in QEMU_DATA:
        found = [os.path.join(folder, name) for folder in DATA_FOLDERS
                 if os.path.exists(os.path.join(folder, name))]
        if not found:
            raise machine.Untrusted(f'QEMU lacks its file {name}')
        files['usr/share/qemu/' + name] = found[0]
    return files


def make_image(build, work, plan, linux):
    """
    The initramfs with busybox, KVM's modules, monitor, payload and plan; for Linux guests with
    QEMU, a kernel and an initramfs (`linux`: its path and the command line). Returns its path.
    """
    guests = os.path.join(build, 'guests')
    modules = os.path.join(work, 'modules')
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run([os.path.join(here, 'kvm', 'packages.sh'), guests, modules], check=False)
    if done.returncode != 0:
        raise machine.Untrusted("KVM's modules are missing")
    sources = {
        'init': os.path.join(here, 'kvm', 'init'),
        'bin/busybox': os.path.join(guests, 'busybox'),
        'bin/kvm-monitor': os.path.join(build, 'bench', 'kvm', 'kvm-monitor'),
        'payload.elf': os.path.join(build, 'bench', 'guest', 'payload.elf'),
    }
    for name in ('irqbypass.ko', 'kvm.ko', 'kvm-amd.ko'):
        sources['modules/' + name] = os.path.join(modules, name)
    if linux:
        sources.update(qemu_files())
        sources['vmlinuz'] = os.path.join(guests, 'vmlinuz')
        sources['linux.cpio'] = linux[0]
    files = {'plan': plan.encode(), 'proc/x': None, 'sys/x': None, 'dev/x': None}
    if linux:
        files['linux-line'] = linux[1].encode()
    for name, path in sources.items():
        with open(path, 'rb') as file:
            files[name] = file.read()
    image = os.path.join(work, 'kvm.cpio')
    machine.initramfs(image, files)
    return image


class Reader:
    """Takes the console's lines apart: results[mode][run][set][operation] = number."""

    def __init__(self, say):
        self.say = say
        self.results = {}
        self.current = None
        self.done = False
        self.kernel = None
        self.problems = []

    def line(self, text):
        words = text.split()
        if not words:
            return
        if words[0] == 'bench-begin' and len(words) == 3:
            self.current = self.results.setdefault(words[1], {}).setdefault(words[2], {})
            self.say(words[1], words[2])
        elif words[0] == 'bench-end' and len(words) == 4:
            if words[3] != '0':
                self.problems.append(f'{words[1]} {words[2]} ended with status {words[3]}')
            elif 1 not in (self.current.get(name, {}).get('done') for name in ('check', 'linux')):
                self.problems.append(f'{words[1]} {words[2]} is incomplete')
            elif self.current.get('check', {}).get('exact', 1) != 1:
                self.problems.append(f'{words[1]} {words[2]}: ticks are not instructions')
        elif words[0] == 'bench-kernel':
            self.kernel = words[1]
        elif words[0] == 'bench-done':
            self.done = True
        elif words[0] == 'bench' and words[1] == 'error':
            self.problems.append(text)
        elif words[0] == 'bench' and len(words) == 4 and self.current is not None:
            self.current.setdefault(words[1], {})[words[2]] = float(words[3])


def measure(build, work, modes, runs, mitigations, limit, say, linux=None):
    """One boot. Returns (results, kernel release). One retry, with another command line."""
    image = make_image(build, work, plan_text(modes, runs), linux)
    kernel = os.path.join(build, 'guests', 'vmlinuz')
    for attempt in (1, 2):
        reader = Reader(say)
        line = COMMAND_LINE + (' mitigations=off' if not mitigations else '')
        # An emulated interrupt can get lost at one place in the code and not at another
        # (docs/performance.md); a longer command line moves the places.
        line += ' bench.attempt=2' if attempt == 2 else ''
        in_time = machine.run(machine.command(kernel, line, image), limit, reader.line)
        if reader.done and in_time:
            break
    if not reader.done:
        last = ', '.join(f'{mode} {name}' for mode in reader.results
                         for name in reader.results[mode])
        raise machine.Untrusted(f'KVM did not finish within {limit} s, twice (begun: {last})')
    if reader.problems:
        raise machine.Untrusted('; '.join(reader.problems))
    return reader.results, reader.kernel
