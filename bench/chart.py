# SPDX-License-Identifier: MIT
"""The bar chart of the README: instructions per operation, KVM beside vmmu, by gnuplot."""
import shutil
import subprocess

BARS = (
    # text, group title, row
    ('CPUID', 'Exits and devices', 'CPUID'),
    ('RDMSR', 'Exits and devices', 'RDMSR (PAT)'),
    ('port write', 'Exits and devices', 'port write, in the hypervisor'),
    ('MMIO read', 'Exits and devices', 'MMIO read, local APIC'),
    ('4K fault', 'Page touch, 4K host pages, without prefetch', 'write, cold'),
    ('4K fault, prefetch', 'Page touch, 4K host pages, with prefetch', 'write, cold'),
    ('2M fault', 'Page touch, 2M host pages', 'write, cold, one page per 2M'),
    ('INVLPG (shadow)', "The guest's page tables, shadow paging", 'INVLPG alone'),
    ('demand fault (shadow)', "The guest's page tables, shadow paging",
     'demand fault in the guest, per page'),
    ('CR3 switch (shadow)', "The guest's page tables, shadow paging", 'CR3 switch'),
)

SCRIPT = '''
set terminal svg size 760,{height} font "sans-serif,13" background "white"
set output "{path}"
set title "Instructions per operation (less is better)"
set key top right
set xrange [0:*]
set yrange [-0.6:{top}]
set grid x linecolor "#dddddd"
set border 3
set tics nomirror
set format x "%'.0f"
set ytics ({tics})
set rmargin 10
$kvm << end
{kvm}
end
$vmmu << end
{vmmu}
end
plot $kvm using (0):1:(0):2:($1-0.36):1 with boxxyerror fillstyle solid \\
         linecolor "#9aa5b1" title "Linux KVM, best mode", \\
     $vmmu using (0):1:(0):2:1:($1+0.36) with boxxyerror fillstyle solid \\
         linecolor "#1f77b4" title "vmmu", \\
     $kvm using 2:($1-0.18):(sprintf(" %d", $2)) with labels left font ",10" notitle, \\
     $vmmu using 2:($1+0.18):(sprintf(" %d", $2)) with labels left font ",10" notitle
'''


def draw(lines, path):
    """Return: None, or why there is no chart."""
    if not shutil.which('gnuplot'):
        return 'gnuplot is not installed'
    found = {(group.title, row.text): row for group, rows in lines for row in rows}
    bars = [(text, found[(title, name)]) for text, title, name in BARS
            if (title, name) in found and found[(title, name)].vmmu is not None]
    if not bars:
        return 'there is nothing to show'
    bars.reverse()
    script = SCRIPT.format(
        path=path, height=110 + 46 * len(bars), top=len(bars) + 0.4,
        tics=', '.join(f'"{text}" {i}' for i, (text, _) in enumerate(bars)),
        kvm='\n'.join(f'{i} {row.best}' for i, (_, row) in enumerate(bars)),
        vmmu='\n'.join(f'{i} {row.vmmu}' for i, (_, row) in enumerate(bars)))
    done = subprocess.run(['gnuplot'], input=script, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode != 0 else None
