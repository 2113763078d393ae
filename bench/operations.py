# SPDX-License-Identifier: MIT
"""
The rows of the comparison: what is measured on which side, and what is compared with what.

A row: (text, set, operation, run in KVM, run in vmmu, unit). None as a run: this side has no such
figure, and a remark says why.
"""
from collections import namedtuple

Row = namedtuple('Row', 'text set operation kvm vmmu note')
Group = namedtuple('Group', 'title against rows')


def _row(text, set_name, operation, kvm='4k', vmmu='4k', note=''):
    return Row(text, set_name, operation, kvm, vmmu, note)


EXITS = Group('Exits and devices', ('npt', 'npt_old'), [
    _row('CPUID', 'exits', 'cpuid'),
    _row('VMMCALL', 'exits', 'vmmcall'),
    _row('RDMSR (PAT)', 'exits', 'rdmsr.pat'),
    _row('RDMSR (APIC base)', 'exits', 'rdmsr.apic_base', note='vmmu: passed through, no exit'),
    _row('port write, in the hypervisor', 'exits', 'out.inside'),
    _row('port write, to user space', 'exits', 'out.outside', vmmu=None,
         note='vmmu: has no user space'),
    _row('MMIO read, local APIC', 'exits', 'mmio.read.apic'),
    _row('MMIO write, local APIC', 'exits', 'mmio.write.apic'),
    _row('MMIO write, dropped, first', 'exits', 'mmio.write.inside.first'),
    _row('MMIO write, dropped, cached', 'exits', 'mmio.write.inside'),
    _row('MMIO read, no device, first', 'exits', 'mmio.read.outside.first',
         note='KVM: to user space and back'),
    _row('MMIO read, no device, cached', 'exits', 'mmio.read.outside',
         note='KVM: to user space and back'),
    _row('MMIO write, no device, cached', 'exits', 'mmio.write.outside',
         note='KVM: to user space and back'),
    _row('MMIO read, 256 pages, first pass', 'exits', 'mmio.read.outside.cold_pages',
         note='KVM: to user space and back'),
    _row('MMIO read, 256 pages, second pass', 'exits', 'mmio.read.outside.second_pass',
         note='KVM: to user space and back'),
])

_TOUCHES = (
    ('write, cold', 'write.cold'),
    ('read, cold', 'read.cold'),
    ('write after read', 'write.after_read'),
    ('write, cold, downwards', 'write.cold.reverse'),
    ('write, cold, guest maps 2M', 'write.cold.map2m'),
    ('write, cold, one page per 2M', 'write.cold.map2m.one_per_2m'),
)


def _touches(title, against, kvm, vmmu):
    return Group(title, against, [_row(text, 'touch', name, kvm, vmmu)
                                  for text, name in _TOUCHES])


FAULTS = [
    _touches('Page touch, 4K host pages, without prefetch', ('npt',), '4k', '4k'),
    _touches('Page touch, 4K host pages, with prefetch', ('npt', 'npt_old'), '4k', '4k_prefetch'),
    _touches('Page touch, 2M host pages', ('npt', 'npt_old'), '2m', '2m'),
    _touches('Page touch, 4K host pages that are made at the fault', ('npt', 'npt_old'),
             '4k_lazy', '4k_lazy_prefetch'),
    _touches('Page touch, 2M host pages that are made at the fault', ('npt', 'npt_old'),
             '2m_lazy', '2m_lazy'),
]

def _table(text, name):
    # Shadow paging prefetches in KVM, too.
    return _row(text, 'tables', name, vmmu='4k_prefetch')


SHADOW_TOUCHES = [
    _touches('Page touch, shadow paging, 4K host pages', ('shadow',), '4k', '4k_prefetch'),
    _touches('Page touch, shadow paging, 2M host pages', ('shadow',), '2m', '2m'),
]

TABLES = Group("The guest's page tables, shadow paging", ('shadow',), [
    _table('remap one page: write, INVLPG, touch', 'remap1'),
    _table('INVLPG alone', 'invlpg'),
    _table('remap each of 512, per page', 'remap512'),
    _table('batch: 512 writes, CR3, touch', 'batch'),
    _table('munmap: 512 cleared, CR3, set, touch', 'munmap'),
    _table('munmap: 512 times clear and INVLPG', 'munmap_invlpg'),
    _table('write-protect 512, CR3', 'wrprotect'),
    _table('copy on write: 512 writable, INVLPG, write', 'cow'),
    _table('clear accessed and dirty of 512, CR3', 'clear_ad'),
    _table('... write all 512 again', 'clear_ad.write'),
    _table('demand fault in the guest, per page', 'demand'),
    _table('CR3 switch', 'switch.0'),
    _table('CR3 switch, touch 16 pages', 'switch.16'),
    _table('CR3 switch, touch 512 pages', 'switch.512'),
    _table('process: made, 512 pages touched, ended', 'process'),
])

_DIRTY = (
    ('enable logging of 64 MiB', 'enable'),
    ('touch while logging, per page', 'touch.logged'),
    ('touch again, per page', 'touch.again'),
    ('harvest, 16384 pages dirty', 'harvest.all'),
    ('harvest, none dirty', 'harvest.none'),
    ('harvest, 16 dirty', 'harvest.16'),
    ('disable', 'disable'),
    ('touch afterwards, per page', 'touch.after'),
)

_SLOTS = (
    ('add a 4 MiB slot', 'add4m'),
    ('delete it, 512 MiB mapped elsewhere', 'delete4m'),
    ('touch elsewhere afterwards, per page', 'touch.after_delete4m'),
    ('delete a 512 MiB slot', 'delete512m'),
    ('add it again', 'add512m'),
    ('touch it, per page', 'touch.after_add512m'),
)

HOST = [
    Group('Dirty logging, 4K pages', ('npt', 'npt_old'),
          [_row(text, 'dirty', name, 'dirty_4k', '4k_prefetch') for text, name in _DIRTY]),
    Group('Dirty logging, 2M pages', ('npt', 'npt_old'),
          [_row(text, 'dirty', name, 'dirty_2m', '2m') for text, name in _DIRTY]),
    Group('Slots, 4K pages', ('npt', 'npt_old'),
          [_row(text, 'slots', name, 'slots_4k', '4k_prefetch') for text, name in _SLOTS]),
    Group('Slots, 2M pages', ('npt', 'npt_old'),
          [_row(text, 'slots', name, 'slots_2m', '2m') for text, name in _SLOTS]),
]

GROUPS = [EXITS, *FAULTS, *SHADOW_TOUCHES, TABLES, *HOST]

LINUX = (
    ('boot to the first process', 'boot'),
    ('fork + exit + wait', 'fork_exit'),
    ('fork + exec + wait', 'fork_exec'),
    ('anonymous page touch', 'touch'),
    ('munmap, per page', 'munmap'),
    ('pipe round trip', 'pipe'),
)
