#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stands in for QEMU: plays a plan on the channels that `vmmu run` hands over.

The plan is a JSON list in the file that FAKE_PLAN names; each step is [verb, argument]:
  report TEXT    lines on the report channel        com1 TEXT     the guest's serial port
  trace TEXT     bytes on the trace channel         stderr TEXT   a message of QEMU's own
  expect LETTER  wait for LETTER on COM2 and then for inject-nmi on the monitor
  typed TEXT     wait until TEXT came in on COM1    sleep SECONDS
  save FILE      write the arguments and the modules' contents there, as JSON
  pid FILE       write the process id there         exit STATUS
"""
import json
import os
import sys
import time


def descriptors(args):
    found = {}
    for word in args:
        if word.startswith("socket,id="):
            parts = dict(part.split("=", 1) for part in word.split(",")[1:])
            found[parts["id"]] = int(parts["fd"])
    return found


def modules(args):
    found = {}
    for module in args[args.index("-initrd") + 1].split(","):
        name, role = module.split(" ")
        with open(name, "rb") as file:
            found[role] = file.read().decode("latin-1")
    return found


def wait_for(fd, wanted):
    got = b""
    while wanted not in got:
        piece = os.read(fd, 4096)
        if not piece:
            sys.exit(99)
        got += piece


def write_all(fd, text):
    data = text.encode("latin-1")
    while data:
        data = data[os.write(fd, data):]


def play(step, args, fds):
    verb, value = step
    if verb in ("report", "com1", "trace"):
        write_all(fds[verb], value)
    elif verb == "stderr":
        write_all(2, value)
    elif verb == "expect":
        wait_for(fds["com2"], value.encode())
        wait_for(fds["monitor"], b"inject-nmi")
    elif verb == "typed":
        wait_for(fds["com1"], value.encode())
    elif verb == "sleep":
        time.sleep(value)
    elif verb == "save":
        with open(value, "w") as file:
            json.dump({"args": args, "modules": modules(args)}, file)
    elif verb == "pid":
        with open(value, "w") as file:
            file.write(str(os.getpid()))
    elif verb == "exit":
        sys.exit(value)
    else:
        raise ValueError(verb)


def main():
    args = sys.argv[1:]
    fds = descriptors(args)
    with open(os.environ["FAKE_PLAN"]) as file:
        plan = json.load(file)
    for step in plan:
        play(step, args, fds)


main()
