# SPDX-License-Identifier: MIT
"""What bench/scale.py measured: as text, as Markdown, and as a chart by gnuplot."""
import os
import shutil
import subprocess

NAMES = {
    ('tdp', 'shared'): 'nested, own pages',
    ('tdp', 'exclusive'): 'nested, own pages, exclusive lock',
    ('tdp-shared', 'shared'): 'nested, same pages',
    ('tdp-shared', 'exclusive'): 'nested, same pages, exclusive lock',
    ('shadow', 'shared'): 'shadow, own pages',
    ('shadow', 'exclusive'): 'shadow, own pages, exclusive lock',
    ('arithmetic', 'shared'): 'control: threads that share nothing',
}
AIMS = {('tdp', 'shared'): 0.9, ('shadow', 'shared'): 0.6}
BESIDE = {'shared': 'nothing', 'accessed': 'vmmu_harvest_accessed()',
          'dirty': 'vmmu_harvest_dirty()', 'zap': 'vmmu_zap_range() of nothing each 20 us'}
HOW = {'fast': 'zap_all_fast, work', 'all': 'zap_all', 'all-pausing': 'zap_all, pauses asked for',
       'slot': 'slot_delete'}
# The control must nearly double with a second thread, or other programs had the processors.
CONTROL_MIN = 1.8

COLORS = {('tdp', 'shared'): '#1f77b4', ('tdp', 'exclusive'): '#9aa5b1',
          ('tdp-shared', 'shared'): '#17a05d', ('shadow', 'shared'): '#d62728',
          ('shadow', 'exclusive'): '#f2a3a3'}

SCRIPT = '''
set terminal svg size 820,430 font "sans-serif,12" background "white"
set output "{path}"
set multiplot layout 1,2 margins 0.06,0.98,0.31,0.88 spacing 0.07 \\
    title "Efficiency of vCPUs that fault at once, in virtual time (1 = each as fast as one alone)"
set logscale x 2
set xrange [0.9:72]
set yrange [0:1.08]
set xtics ({tics})
set ytics 0.2
set grid y linecolor "#dddddd"
set border 3
set tics nomirror
set xlabel "vCPUs" offset 0,0.4
{data}
unset key
set title "the library alone" offset 0,-0.6
plot {left}
set key at screen 0.5,0.085 center center maxrows 3 samplen 2 Left reverse width 4
set title "with {exit:g} us of hardware exit and entry a fault" offset 0,-0.6
plot {right}
unset multiplot
'''


def trusted(results):
    control = results['threads']['arithmetic']['shared']
    return control['2']['best'] / control['1']['best'] >= CONTROL_MIN


def time_text(nanoseconds):
    for unit, size in (('s', 1e9), ('ms', 1e6), ('us', 1e3)):
        if nanoseconds >= size:
            return f'{nanoseconds / size:.3g} {unit}'
    return f'{nanoseconds:.0f} ns'


def _thread_rows(results):
    """(name, [millions per second of each count], speed-up of two, spread)

    With a question mark: in no run had the threads the processors for themselves.
    """
    for what, locks in results['threads'].items():
        for lock, counts in locks.items():
            rates = [f'{counts[n]["best"] / 1e6:.2f}' + ('' if counts[n]['kept'] else '?')
                     for n in counts]
            spread = max(counts[n]['best'] / counts[n]['median'] for n in ('1', '2'))
            yield NAMES[what, lock], rates, counts['2']['best'] / counts['1']['best'], spread


def _virtual_rows(results, exit_ns):
    for what, locks in results['virtual'][exit_ns].items():
        for lock, counts in locks.items():
            yield ((what, lock), {n: counts[n]['efficiency'] for n in counts},
                   counts['64'])


def _forget_rows(results):
    for row in results['forget']:
        size = '1 TiB' if row['gib'] == 1024 else f'{row["gib"]} GiB'
        yield ([f'{size} {row["shape"]}', HOW[row['how']], f'{row["tables"]:,}']
               + [time_text(row[name]) for name in ('returned', 'freed', 'exclusive', 'shared')])


def _beside_rows(results):
    alone = results['beside']['shared']['best']
    for beside, rates in results['beside'].items():
        yield BESIDE[beside], rates['best'] / 1e6, rates['best'] / alone


def _model(results):
    ns = results['fault_ns']
    return (f'a fault on one CPU {ns["tdp"]:.0f} ns (nested), {ns["shadow"]:.0f} ns (shadow), as '
            f'measured above; a cache line that another CPU wrote {results["transfer_ns"]} ns')


def text(results):
    out = ['', f'Threads, {results["processors"]} processors: millions of faults per second, best '
           'of many short runs',
           f'{"":42}{"1":>8}{"2":>8}{"4":>8}{"8":>8}{"2 / 1":>8}{"spread":>8}']
    for name, rates, gain, spread in _thread_rows(results):
        out.append(f'  {name:40}' + ''.join(f'{rate:>8}' for rate in rates)
                   + f'{gain:8.2f}{spread:8.2f}')
    out.append('Spread: best run by median run. The control counts rounds of arithmetic. "?": other '
               'programs disturbed every run.')
    if not trusted(results):
        out.append(f'Not trusted: other programs run (load {results["load"]:.1f}), the control '
                   'does not double with a second thread.')
    for exit_ns in results['virtual']:
        spent = f'{int(exit_ns) / 1000:g} us of exit and entry' if int(exit_ns) else \
            'the library alone'
        counts = list(next(_virtual_rows(results, exit_ns))[1])
        out += ['', f'Virtual time, {spent}: efficiency (rate of n vCPUs by n times the rate of '
                'one)', f'{"":42}' + ''.join(f'{n:>7}' for n in counts)
                + f'{"aim":>7}{"moved":>8}{"waited":>10}']
        for case, values, last in _virtual_rows(results, exit_ns):
            aim = f'{AIMS[case]:7.2f}' if case in AIMS else f'{"":7}'
            out.append(f'  {NAMES[case]:40}' + ''.join(f'{v:7.2f}' for v in values.values())
                       + f'{aim}{last["moved"]:8.2f}{time_text(last["waited"]):>10}')
    out.append(f'Model: {_model(results)}.')
    out.append('Moved, waited: cache lines moved and time waited a fault, with 64 vCPUs.')
    out += ['', f'{"Forgetting everything":24}{"by":28}{"tables":>9}{"goes on":>10}{"all freed":>11}'
            f'{"exclusive":>11}{"shared":>9}']
    for row in _forget_rows(results):
        out.append(f'  {row[0]:22}{row[1]:28}{row[2]:>9}{row[3]:>10}{row[4]:>11}{row[5]:>11}'
                   f'{row[6]:>9}')
    out.append('Goes on: until the call returns. Exclusive, shared: longest time that the lock was '
               'held.')
    out += ['', f'{"One thread faults, another loops over":42}{"M faults/s":>12}{"of alone":>10}']
    for name, rate, share in _beside_rows(results):
        out.append(f'  {name:40}{rate:12.2f}{share:10.2f}')
    return '\n'.join(out)


def _row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def markdown(results):
    out = ['', f'**Threads on {results["processors"]} processors**, millions of faults per second, '
           'best of many short runs', '',
           _row(['threads', '1', '2', '4', '8', '2 by 1', 'best by median']), '|---|' + '--:|' * 6]
    for name, rates, gain, spread in _thread_rows(results):
        out.append(_row([name, *rates, f'{gain:.2f}',
                         f'{spread:.2f}']))
    for exit_ns in results['virtual']:
        spent = f'{int(exit_ns) / 1000:g} µs of exit and entry a fault' if int(exit_ns) else \
            'the library alone'
        counts = list(next(_virtual_rows(results, exit_ns))[1])
        out += ['', f'**Virtual time, {spent}**: efficiency', '',
                _row(['vCPUs', *counts, 'aim', 'lines moved a fault, 64']),
                '|---|' + '--:|' * (len(counts) + 2)]
        for case, values, last in _virtual_rows(results, exit_ns):
            out.append(_row([NAMES[case], *[f'{v:.2f}' for v in values.values()],
                             f'{AIMS[case]:.1f}' if case in AIMS else '',
                             f'{last["moved"]:.2f}']))
    out += ['', f'Model: {_model(results)}.', '', '**Forgetting everything that is mapped**', '',
            _row(['mapped', 'by', 'tables', 'the caller goes on after', 'all freed after',
                  'longest exclusive', 'longest shared']), '|---|---|' + '--:|' * 5]
    out += [_row(row) for row in _forget_rows(results)]
    out += ['', '**One thread faults, another calls in a loop**', '',
            _row(['the other one', 'M faults/s', 'of alone']), '|---|--:|--:|']
    for name, rate, share in _beside_rows(results):
        out.append(_row([name, f'{rate:.2f}', f'{share:.2f}']))
    return '\n'.join(out) + '\n'


def chart(results, path):
    """Return: None, or why there is no chart."""
    if not shutil.which('gnuplot'):
        return 'gnuplot is not installed'
    data, plots = [], []
    for panel, exit_ns in enumerate(results['virtual']):
        curves = []
        for number, (case, values, _) in enumerate(_virtual_rows(results, exit_ns)):
            if case not in COLORS:
                continue
            name = f'$p{panel}s{number}'
            data.append(f'{name} << end\n'
                        + '\n'.join(f'{n} {value}' for n, value in values.items()) + '\nend')
            curves.append(f'{name} using 1:2 with linespoints linewidth 2 pointtype 7 '
                          f'pointsize 0.5 linecolor "{COLORS[case]}" title "{NAMES[case]}"')
        plots.append(', \\\n     '.join(curves))
    script = SCRIPT.format(path=path, data='\n'.join(data), left=plots[0], right=plots[1],
                           tics=', '.join(str(2 ** i) for i in range(7)),
                           exit=results['exit_ns'] / 1000)
    done = subprocess.run(['gnuplot'], input=script, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode != 0 else None


def renew(path, tables):
    """Replace what stands between the two marks of the document."""
    begin, end = '<!-- tables: bench/scale.py --docs -->\n', '<!-- end of many CPUs -->'
    with open(path, encoding='utf-8') as file:
        head, rest = file.read().split(begin)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{head}{begin}{tables}\n{end}{rest.split(end)[1]}')


def publish(results, folder, docs):
    """Return: None, or what went wrong."""
    for where in [folder] + ([docs] if docs else []):
        trouble = chart(results, os.path.join(where, 'scaling.svg'))
    if docs:
        renew(os.path.join(docs, 'performance.md'), markdown(results))
    return trouble
