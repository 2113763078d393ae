# SPDX-License-Identifier: MIT
"""Writes to tracked pages: the figures that the mediator's guest prints, instructions counted."""
import re

import machine

# name that the guest gives the figure, text
ROWS = (
    ('ticks_per_untracked_write', 'write to a page that is not tracked, two RDTSC'),
    ('ticks_per_tracked_write', 'write to a tracked page, from exit to re-entry and told'),
    ('ticks_per_command', 'command to the device, nothing to do'),
    ('ticks_per_write_and_command_once', 'first write to a hot page, command, 512 entries read'),
)
LINE = re.compile(r'vmmu-guest: mediator (ticks_\w+) (\d+)$')


def measure(build, mmu, limit):
    """{name: instructions}"""
    found = {}

    def line(text):
        match = LINE.search(text)
        if match:
            found[match.group(1)] = int(match.group(2))

    words = [f'{build}/vmmu', 'run', '--guest', 'mediator', '--mmu', mmu, '--icount',
             '--timeout', str(limit)]
    if not machine.run(words, limit + 30, line) or any(name not in found for name, _ in ROWS):
        raise machine.Untrusted('the mediator in the Linux guest did not end well')
    return found


def rows(results):
    """(text, nested, shadow); None where it was not measured."""
    for name, text in ROWS:
        yield text, results.get('npt', {}).get(name), results.get('shadow', {}).get(name)
