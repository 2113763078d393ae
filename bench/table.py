# SPDX-License-Identifier: MIT
"""Figures side by side: as text, as Markdown, and as data for the chart."""
import operations
import tracking


def number(value):
    if value is None:
        return ''
    if value < 100:
        return f'{value:.1f}'.removesuffix('.0')
    return f'{value:,.0f}'


def ratio_text(ratio):
    if ratio is None:
        return ''
    return f'{ratio:.2f}' + (' <' if ratio > 1 else '')


def _get(results, run, row):
    return (results or {}).get(run, {}).get(row.set, {}).get(row.operation)


class Line:
    """One row with its figures; ratio against the best of the KVM modes it is compared with."""

    def __init__(self, group, row, kvm, vmmu):
        mmu = 'shadow' if group.against == ('shadow',) else 'npt'
        self.text = row.text
        self.note = row.note
        self.kvm = {mode: _get(kvm.get(mode), row.kvm, row) for mode in group.against}
        self.vmmu = _get(vmmu.get(mmu), row.vmmu, row) if row.vmmu else None
        self.measured = any(value is not None for value in self.kvm.values())
        there = [value for value in self.kvm.values() if value is not None]
        self.best = min(there) if there else None
        self.ratio = None
        if self.best is not None and self.vmmu is not None:
            self.ratio = self.vmmu / self.best
        if self.vmmu is not None:
            self.vmmu_text = number(self.vmmu)
        else:
            self.vmmu_text = 'missing' if row.vmmu else '-'


def lines(kvm, vmmu):
    """[(group, [Line])] of what was measured on KVM's side."""
    result = []
    for group in operations.GROUPS:
        rows = [Line(group, row, kvm, vmmu) for row in group.rows]
        rows = [row for row in rows if row.measured]
        if rows:
            result.append((group, rows))
    return result


MODE_TEXT = {'npt': 'npt=1', 'npt_old': 'tdp_mmu=0', 'shadow': 'npt=0'}


def _linux_rows(linux):
    for text, name in operations.LINUX:
        row = [linux.get(where, {}).get(name)
               for where in ('native', 'npt', 'vmmu', 'shadow', 'vmmu_shadow')]
        nested = row[2] / row[1] if row[1] and row[2] else None
        shadow = row[4] / row[3] if row[3] and row[4] else None
        yield text, row, nested, shadow


def _best_mitigated(group, rows, mitigated, vmmu):
    """For each row the best KVM mode with mitigations on, or None; all None: not measured."""
    others = dict((g.title, r) for g, r in lines(mitigated, vmmu)).get(group.title, [])
    found = {other.text: other.best for other in others}
    return [found.get(row.text) for row in rows]


def text(kvm, mitigated, vmmu, linux, tracked):
    out = []
    for group, rows in lines(kvm, vmmu):
        protected = _best_mitigated(group, rows, mitigated, vmmu)
        any_protected = any(value is not None for value in protected)
        heads = ['KVM ' + MODE_TEXT[mode] for mode in group.against]
        heads += ['mitigated'] if any_protected else []
        out.append('')
        out.append(f'{group.title:52}' + ''.join(f'{head:>15}' for head in heads)
                   + f'{"vmmu":>13}{"ratio":>8}')
        for row, other in zip(rows, protected):
            figures = ''.join(f'{number(row.kvm[mode]):>15}' for mode in group.against)
            figures += f'{number(other):>15}' if any_protected else ''
            note = f'  {row.note}' if row.note else ''
            out.append(f'  {row.text:50}{figures}{row.vmmu_text:>13}'
                       f'{ratio_text(row.ratio):>8}{note}')
    if linux:
        out.append('')
        out.append(f'{"Linux guest":30}{"native":>14}{"KVM npt=1":>14}{"vmmu nested":>14}'
                   f'{"ratio":>8}{"KVM npt=0":>14}{"vmmu shadow":>14}{"ratio":>8}')
        for name, row, nested, shadow in _linux_rows(linux):
            cells = [number(value) or 'missing' for value in row]
            out.append(f'  {name:28}{cells[0]:>14}{cells[1]:>14}{cells[2]:>14}'
                       f'{ratio_text(nested):>8}{cells[3]:>14}{cells[4]:>14}'
                       f'{ratio_text(shadow):>8}')
    if tracked:
        out += ['', f'{"Tracked writes, in a Linux guest":58}{"vmmu nested":>14}{"vmmu shadow":>14}']
        out += [f'  {name:56}{number(nested):>14}{number(shadow):>14}'
                for name, nested, shadow in tracking.rows(tracked)]
    out.append('')
    out.append('Instructions. Ratio: vmmu / best KVM mode shown; "<" marks more than KVM.')
    if mitigated:
        out.append('Mitigated: the best of these modes with mitigations on; not in the ratio.')
    return '\n'.join(out)


def _markdown_row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def markdown(kvm, mitigated, vmmu, linux, tracked):
    out = []
    for group, rows in lines(kvm, vmmu):
        protected = _best_mitigated(group, rows, mitigated, vmmu)
        any_mitigated = any(value is not None for value in protected)
        heads = [f'KVM {MODE_TEXT[mode]}' for mode in group.against]
        heads += ['best, mitigations on'] if any_mitigated else []
        out += ['', f'**{group.title}**', '',
                _markdown_row(['', *heads, 'vmmu', 'ratio']),
                '|---|' + '--:|' * (len(heads) + 2)]
        for row, other in zip(rows, protected):
            cells = [number(row.kvm[mode]) for mode in group.against]
            cells += [number(other)] if any_mitigated else []
            ratio = '' if row.ratio is None else f'{row.ratio:.2f}'
            if row.ratio is not None and row.ratio > 1:
                ratio = f'**{ratio}**'
            name = row.text + (f' ({row.note})' if row.note else '')
            out.append(_markdown_row([name, *cells, row.vmmu_text, ratio]))
    if linux:
        out += ['', '**Linux guest**', '',
                _markdown_row(['', 'native', 'KVM npt=1', 'vmmu nested', 'ratio', 'KVM npt=0',
                               'vmmu shadow', 'ratio']), '|---|' + '--:|' * 7]
        for name, row, nested, shadow in _linux_rows(linux):
            cells = [number(value) or 'missing' for value in row]
            out.append(_markdown_row([name, *cells[:3], ratio_text(nested).rstrip(' <'),
                                      *cells[3:], ratio_text(shadow).rstrip(' <')]))
    if tracked:
        out += ['', '**Tracked writes, in a Linux guest** (KVM has no such client to compare with)',
                '', _markdown_row(['', 'vmmu nested', 'vmmu shadow']), '|---|--:|--:|']
        out += [_markdown_row([name, number(nested), number(shadow)])
                for name, nested, shadow in tracking.rows(tracked)]
    return '\n'.join(out) + '\n'
