#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`vmmu run` with a fake QEMU: report, table, JSON, exit status, time limits, signals."""
import json
import os
import pty
import select
import signal
import subprocess
import time

from harness import expect, expect_equal, main, test

REPORT = """progress loading
progress starting
start
"""
FIGURES = """text guest.outcome poweroff
text mmu.mode npt
value exits.npf 1234567
value exits.cpuid 42
value exits.total 1234609
value cost.npf.min 600
value cost.npf.median 700
value cost.npf.p99 5000
value faults.resume 1234000
value faults.level.4k 1234567
value pages.4k 98304
value pages.2m 7
value pages.1g 0
value mmio.reads 10
value mmio.writes 20
value flushes.total 3
value tables.pages 200
value tables.bytes 819200
value audit.runs 5
value audit.findings 0
value tsc.guest_entry 1000
value tsc.guest_end 18446744073709551615
value dirty.pages_logged 77
"""
END = [["report", "end 0\n"], ["exit", 1]]
OK_LINE = "vmmu-guest: ok token=none\r\n"
GOOD = [["report", REPORT], ["com1", "hello\r\n" + OK_LINE], ["report", FIGURES], *END]


def swap(plan, old, new):
    return json.loads(json.dumps(plan).replace(old, new))


def expect_failed(result, *words):
    expect_equal(result.returncode, 1, result.stdout, result.stderr)
    last = result.stderr.splitlines()[-1]
    for word in words:
        expect(word in last, f"{word!r} is not in", last)


@test
def good_run(world):
    """the default guest: made, started, shown, status 0"""
    result = world.run(plan=GOOD)
    expect_equal(result.returncode, 0, result.stderr)
    expect_equal(result.stderr.splitlines(), ["vmmu: making", "vmmu: loading", "vmmu: starting"])
    expect(result.stdout.startswith("hello\nvmmu-guest: ok token=none\n\n"), result.stdout)
    expect("\033" not in result.stdout + result.stderr, "colours in a pipe")


@test
def table(world):
    """the table has every figure, aligned, with unknown groups too"""
    lines = world.run(plan=GOOD).stdout.splitlines()
    rows = {line[:28].strip(): line[28:].split() for line in lines if line.startswith("  ")}
    expect_equal(rows["npf"], ["1,234,567", "600", "700", "5,000"])
    expect_equal(rows["cpuid"], ["42", "-", "-", "-"])
    expect_equal(rows["total"], ["3"])
    expect_equal(rows["4K"], ["98,304"])
    expect_equal(rows["at level 4K"], ["1,234,567"])
    expect_equal(rows["pages logged"], ["77"])
    ends = {len(line) for line in lines if line.startswith("  ") and len(line.split()) == 2}
    expect_equal(len(ends), 1, "columns are not aligned", ends)
    expect(lines.index(next(l for l in lines if "npf" in l))
           < lines.index(next(l for l in lines if "cpuid" in l)), "kinds are not sorted")


@test
def json_file(world):
    """JSON has every key nested, integers exact, and what the command adds"""
    result = world.run("--json", "out.json", plan=GOOD)
    expect_equal(result.returncode, 0, result.stderr)
    data = json.loads((world.folder / "out.json").read_text())
    expect_equal(data["guest"], {"name": "linux", "outcome": "poweroff", "ok": True})
    expect_equal(data["mmu"], {"mode": "npt"})
    expect_equal(data["exits"], {"npf": 1234567, "cpuid": 42, "total": 1234609})
    expect_equal(data["cost"]["npf"], {"min": 600, "median": 700, "p99": 5000})
    expect_equal(data["faults"], {"resume": 1234000, "level": {"4k": 1234567}})
    expect_equal(data["pages"], {"4k": 98304, "2m": 7, "1g": 0})
    expect_equal(data["audit"], {"runs": 5, "findings": 0, "messages": []})
    expect_equal(data["tsc"], {"guest_entry": 1000, "guest_end": "18446744073709551615"})
    expect_equal(data["run"]["exit_status"], 0)
    expect(0 < data["run"]["wall_seconds"] < 60)


@test
def json_to_standard_output(world):
    """--json /dev/stdout follows the table, also when that is a file"""
    with open(world.folder / "all", "w") as file:
        subprocess.run(
            world.words("--kernel", "bz", "--json", "/dev/stdout"),
            cwd=world.folder, env=world.environment(GOOD), stdout=file,
            stderr=subprocess.DEVNULL, timeout=60, check=True,
        )
    text = (world.folder / "all").read_text()
    expect(text.startswith("hello\n"), text[:50])
    expect_equal(json.loads(text[text.index("\n{"):])["exits"]["cpuid"], 42)


@test
def token(world):
    """the ok line must carry the last token of the command line"""
    append = ["--append", "vmmu.token=first vmmu.token=last"]
    good = swap(GOOD, "token=none", "token=last")
    expect_equal(world.run(*append, plan=good).returncode, 0)
    expect_failed(world.run(*append, plan=swap(GOOD, "token=none", "token=first")), "token=last")
    expect_failed(world.run(*append, plan=swap(GOOD, "token=none", "token=lasting")), "token=last")


@test
def guest_reports_failure(world):
    """a failed check of the default guest fails the run and is named"""
    plan = swap(GOOD, "ok token=none", "FAILED a word of memory, expected 0x1, got 0x2")
    result = world.run("--json", "out.json", plan=plan)
    expect_failed(result, "a word of memory, expected 0x1, got 0x2")
    data = json.loads((world.folder / "out.json").read_text())
    expect_equal(data["guest"]["ok"], False)
    expect_equal(data["guest"]["failed"], "a word of memory, expected 0x1, got 0x2")
    expect_equal(data["run"]["exit_status"], 1)


@test
def own_kernel(world):
    """another kernel needs no ok line, only its own power-off"""
    plan = swap(GOOD, OK_LINE.strip(), "bye")
    expect_equal(world.run("--kernel", "bz", plan=plan).returncode, 0)
    for outcome, words in (("reset", "reset"), ("crash", "could not go on"), ("halt", "halted"),
                           ("stall", "progress"), ("odd", "odd")):
        expect_failed(world.run("--kernel", "bz", plan=swap(plan, "poweroff", outcome)), words)


@test
def exit_code(world):
    """a multiboot kernel's own exit code decides"""
    for code, status in ((0, 0), (1, 1), (200, 1)):
        plan = [["report", f"start\ntext guest.outcome exit\nvalue guest.exit_code {code}\n"
                           f"end {min(code, 1)}\n"], ["exit", 1]]
        result = world.run("--kernel", "mb", "--json", "out.json", plan=plan)
        expect_equal(result.returncode, status, result.stderr)
        data = json.loads((world.folder / "out.json").read_text())
        expect_equal(data["guest"]["exit_code"], code)


@test
def findings(world):
    """an audit finding fails the run, is shown, and is in the JSON"""
    plan = swap(GOOD, "value audit.findings 0", "value audit.findings 1\\nfinding leaf 5 is bad")
    result = world.run("--json", "out.json", plan=plan)
    expect_failed(result, "1 broken")
    expect("finding: leaf 5 is bad" in result.stdout, result.stdout)
    data = json.loads((world.folder / "out.json").read_text())
    expect_equal(data["audit"]["messages"], ["leaf 5 is bad"])


@test
def findings_without_count(world):
    """a finding that the count leaves out fails the run too"""
    expect_failed(world.run(plan=swap(GOOD, "progress loading", "finding x")), "1 broken")


@test
def mediated_device(world):
    """the device is there for its guest only; what went wrong with it fails the run"""
    for guest, word in (("mediator", " vgtt=on"), ("linux", "")):
        plan = [["save", str(world.folder / "saved")], *GOOD]
        expect_equal(world.run("--guest", guest, plan=plan).returncode, 0)
        args = json.loads((world.folder / "saved").read_text())["args"]
        expect_equal(args[args.index("-append") + 1],
                     f"mmu=npt memory={512 << 20} huge=on audit=off trace=off cpus=1 "
                     f"stress=off{word}")
    for key, words in (("mismatches", "3 mismatches"), ("stale", "3 stale"),
                       ("strays", "3 stray")):
        plan = swap(GOOD, "value audit.findings 0",
                    f"value audit.findings 0\\nvalue mediator.{key} 3")
        expect_failed(world.run("--guest", "mediator", plan=plan), words)


@test
def hypervisor_error(world):
    """an error of the hypervisor is one line with its status"""
    for status in (1, 2):
        plan = [["report", f"error this processor has no SVM\nend {status}\n"],
                ["exit", 2 * status + 1]]
        result = world.run("--kernel", "bz", plan=plan)
        expect_equal(result.returncode, status)
        expect_equal(result.stderr, "vmmu: this processor has no SVM\n")
        expect_equal(result.stdout, "")


@test
def qemu_dies(world):
    """QEMU that ends early fails the run, with its own words, without its usual warnings"""
    noise = "qemu: warning: TCG doesn't support requested feature: x\n"
    plan = [["report", REPORT], ["stderr", noise + "qemu: out of cheese\n"], ["exit", 3]]
    result = world.run("--json", "out.json", plan=plan)
    expect_failed(result, "QEMU ended before the run did (status 3)")
    expect("vmmu: QEMU: qemu: out of cheese" in result.stderr, result.stderr)
    expect("requested feature" not in result.stderr, result.stderr)
    data = json.loads((world.folder / "out.json").read_text())
    expect_equal(data["guest"]["outcome"], "crash")
    expect("QEMU ended" in data["run"]["error"])


@test
def machine_resets(world):
    """a machine that resets under the hypervisor is told apart"""
    expect_failed(world.run(plan=[["report", REPORT], ["exit", 0]]), "reset or switched off")


@test
def channels(world):
    """QEMU gets the words of the interface, and the files by role"""
    saved = world.folder / "saved.json"
    (world.folder / "a, b").mkdir()
    (world.folder / "bz").rename(world.folder / "a, b" / "my kernel")
    result = world.run("--kernel", "a, b/my kernel", "--initrd", "initrd", "--append",
                       "one, two=3", "--memory", "64M", "--huge", "off", "--audit", "every=7",
                       "--trace", "t", "--icount",
                       plan=[["save", str(saved)], ["trace", "abc"], ["trace", "def"], *GOOD])
    expect_equal(result.returncode, 0, result.stderr)
    data = json.loads(saved.read_text())
    expect_equal(data["modules"]["append"], "one, two=3")
    expect_equal(data["modules"]["initrd"], "initrd")
    expect_equal(data["modules"]["kernel"][0x202:0x206], "HdrS")
    args = data["args"]
    expect_equal(args[args.index("-append") + 1],
                 "mmu=npt memory=67108864 huge=off audit=every=7 trace=on cpus=1 stress=off")
    expect_equal(args[args.index("-m") + 1], "164M")
    expect_equal(args[args.index("-icount") + 1], "shift=0,sleep=off")
    for word in ("isa-debug-exit,iobase=0xf4,iosize=4", "EPYC,+svm,+npt,+vgif,-rdrand",
                 "isa-debugcon,chardev=report,iobase=0xe9", "isa-serial,chardev=com2,index=1"):
        expect(word in args, word, "is missing")
    expect_equal((world.folder / "t").read_bytes(), b"abcdef")


@test
def processors(world):
    """one thread for each of several processors, one for all when instructions are counted"""
    saved = world.folder / "saved.json"
    expected = [
        ([], "tcg", None, "cpus=1 stress=off"),
        (["--cpus", "1"], "tcg", None, "cpus=1 stress=off"),
        (["--cpus", "8", "--stress"], "tcg,thread=multi", "8", "cpus=8 stress=on"),
        (["--cpus", "4", "--icount"], "tcg", "4", "cpus=4 stress=off"),
    ]
    for options, accelerator, count, words in expected:
        world.run("--kernel", "bz", *options, plan=[["save", str(saved)], *GOOD])
        args = json.loads(saved.read_text())["args"]
        expect_equal(args[args.index("-accel") + 1], accelerator)
        expect_equal(args[args.index("-smp") + 1] if "-smp" in args else None, count)
        expect(args[args.index("-append") + 1].endswith(" " + words), args)


@test
def resident_share(world):
    """the share is passed on, with 4K pages; all of it is the default"""
    saved = world.folder / "saved.json"
    expected = [
        (["--resident", "60%"], "huge=off", " stress=off resident=60"),
        (["--resident", "10", "--huge", "on"], "huge=off", " stress=off resident=10"),
        (["--resident", "100%"], "huge=on", " stress=off"),
    ]
    for options, huge, end in expected:
        world.run("--kernel", "bz", *options, plan=[["save", str(saved)], *GOOD])
        args = json.loads(saved.read_text())["args"]
        words = args[args.index("-append") + 1]
        expect(words.endswith(end) and f" {huge} " in words, words)


@test
def migration(world):
    """a machine with room for the second copy; a frame that differs fails the run"""
    saved = world.folder / "saved.json"
    for options, word, memory in (([], "stress=off", "164M"),
                                  (["--migrate"], "stress=off migrate=on", "230M")):
        world.run("--kernel", "bz", "--memory", "64M", *options,
                  plan=[["save", str(saved)], *GOOD])
        args = json.loads(saved.read_text())["args"]
        expect(args[args.index("-append") + 1].endswith(" " + word), args)
        expect_equal(args[args.index("-m") + 1], memory)
    plan = swap(GOOD, "value audit.findings 0",
                "value audit.findings 0\\nvalue migrate.differ 7\\nvalue migrate.differ_at 4178")
    expect_failed(world.run("--migrate", plan=plan), "7 frames, the first is 0x1052")
    plan = swap(GOOD, "value audit.findings 0", "value audit.findings 0\\nvalue migrate.differ 0")
    expect_equal(world.run("--migrate", plan=plan).returncode, 0)


@test
def all_processors_in_the_ok_line(world):
    """a guest that has not found all its processors is not ok"""
    four = swap(GOOD, "token=none", "token=none cpus=4")
    expect_equal(world.run("--cpus", "4", plan=four).returncode, 0)
    expect_failed(world.run("--cpus", "4", plan=GOOD), "token=none cpus=4")
    expect_failed(world.run("--cpus", "2", plan=four), "token=none cpus=2")
    expect_failed(world.run("--cpus", "1", plan=four), "token=none")


@test
def default_command_line(world):
    """the default kernel's words come first, the user's last"""
    saved = world.folder / "saved.json"
    world.run("--append", "mine=1", plan=[["save", str(saved)], *GOOD])
    line = json.loads(saved.read_text())["modules"]["append"]
    expect(line.startswith("console=ttyS0 ") and line.endswith(" mine=1"), line)


@test
def named_guests(world):
    """--guest picks files, processor and memory, and the report carries its name"""
    saved = world.folder / "saved.json"
    expected = {
        "linux": ("EPYC", 512, "initramfs\n"),
        "linux-la57": ("max", 512, "initramfs\n"),
        "linux-pae": ("EPYC", 512, "initramfs32\n"),
    }
    for name, (cpu, memory, initrd) in expected.items():
        result = world.run("--guest", name, "--json", "out.json",
                           plan=[["save", str(saved)], *GOOD])
        expect_equal(result.returncode, 0, result.stderr)
        data = json.loads(saved.read_text())
        args = data["args"]
        expect_equal(args[args.index("-cpu") + 1].split(",")[0], cpu)
        expect(f"memory={memory << 20} " in args[args.index("-append") + 1], args)
        expect_equal(data["modules"]["initrd"], initrd)
        expect_equal(json.loads((world.folder / "out.json").read_text())["guest"]["name"], name)
    asked = (world.folder / "cache/vmmu/asked").read_text().split()
    expect_equal(asked, list(expected))


STOPPED = [["expect", "d"], ["report", FIGURES.replace("poweroff", "done")], *END]
PASS_LINE = "\033[9;1HUsing: All Cores | Pass:  1        Errors: "


@test
def goal_reached(world):
    """memtest is stopped after a pass without errors, wherever the words are cut"""
    for cut in (1, 10, len(PASS_LINE) - 3, len(PASS_LINE) + 1):
        text = "x" * 300 + PASS_LINE + "0      "
        plan = [["report", REPORT], ["com1", text[:300 + cut]], ["sleep", 0.2],
                ["com1", text[300 + cut:]], *STOPPED]
        result = world.run("--guest", "memtest", "--json", "out.json", plan=plan)
        expect_equal(result.returncode, 0, result.stderr)
        guest = json.loads((world.folder / "out.json").read_text())["guest"]
        expect_equal((guest["outcome"], guest["ok"], guest["name"]), ("done", True, "memtest"))


@test
def goal_missed(world):
    """memtest that finds errors, powers off or runs out of time fails the run"""
    broken = [["report", REPORT], ["com1", "Status: Failed!  "], *STOPPED]
    expect_failed(world.run("--guest", "memtest", plan=broken), "Status: Failed")
    for line in (PASS_LINE + "12   ", "Pass:  10       Errors: 0   ", ""):
        off = [["report", REPORT], ["com1", line], ["report", FIGURES], *END]
        expect_failed(world.run("--guest", "memtest", plan=off), "poweroff")
    late = [["report", REPORT], ["com1", "no pass yet"], ["expect", "t"],
            ["report", FIGURES.replace("poweroff", "timeout")], ["report", "end 1\n"], ["exit", 3]]
    expect_failed(world.run("--guest", "memtest", "--timeout", "1", plan=late), "time given")


@test
def looks(world):
    """the watchdog looks every few seconds, and an answer satisfies it"""
    plan = [["report", REPORT], ["expect", "w"], ["report", "alive rip 0x10\n"], ["expect", "w"],
            ["report", "alive rip 0x20\n"], *GOOD[1:]]
    expect_equal(world.run(plan=plan).returncode, 0)


@test
def no_answer(world):
    """a hypervisor that does not answer a look is ended"""
    begin = time.monotonic()
    result = world.run("--json", "out.json", plan=[["report", REPORT], ["sleep", 60]])
    expect_failed(result, "did not answer")
    expect(12 < time.monotonic() - begin < 30)
    data = json.loads((world.folder / "out.json").read_text())
    expect_equal(data["guest"]["outcome"], "crash")


@test
def timeout_answered(world):
    """the time limit asks the hypervisor, whose report is shown"""
    plan = [["report", REPORT], ["expect", "t"],
            ["report", "text guest.outcome timeout\nvalue exits.total 9\nend 1\n"], ["exit", 3]]
    result = world.run("--timeout", "0.5", plan=plan)
    expect_failed(result, "time given")
    expect("total" in result.stdout and "timeout" in result.stdout, result.stdout)


@test
def timeout_unanswered(world):
    """the time limit holds when the hypervisor is dead"""
    begin = time.monotonic()
    result = world.run("--timeout", "0.5", "--json", "o", plan=[["report", REPORT], ["sleep", 60]])
    expect_failed(result, "did not answer")
    expect(10 < time.monotonic() - begin < 30)
    expect_equal(json.loads((world.folder / "o").read_text())["guest"]["outcome"], "timeout")


@test
def timeout_before_start(world):
    """the time limit holds before the guest has started"""
    expect_failed(world.run("--timeout", "0.3", plan=[["sleep", 60]]), "time given")


@test
def bad_report_lines(world):
    """a report line that is not one is told once and ends nothing"""
    plan = [["report", "value Bad.Key 1\nvalue x one\nnonsense\n\nvalue 1\n"], *GOOD]
    result = world.run(plan=plan)
    expect_equal(result.returncode, 0, result.stderr)
    expect_equal(result.stderr.count("something unknown"), 1)


@test
def key_is_value_and_group(world):
    """a key that is a value and a group at once does not spoil the JSON"""
    plan = swap(GOOD, "value exits.cpuid 42", "value exits.npf.read 42")
    result = world.run("--json", "out.json", plan=plan)
    expect_equal(result.returncode, 0)
    expect("exits.npf.read" in result.stderr, result.stderr)
    expect_equal(json.loads((world.folder / "out.json").read_text())["exits"]["npf"], 1234567)


@test
def reader_goes_away(world):
    """a closed standard output ends the run with status 1, and QEMU with it"""
    pid_file = world.folder / "pid"
    plan = [["pid", str(pid_file)], ["report", REPORT], ["com1", "x" * 100000], ["sleep", 60]]
    with subprocess.Popen(world.words("--kernel", "bz"), cwd=world.folder,
                          env=world.environment(plan), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        process.stdout.read(10)
        process.stdout.close()
        error = process.stderr.read()
        expect_equal(process.wait(timeout=30), 1)
    expect("standard output: Broken pipe" in error, error)
    expect(not os.path.exists(f"/proc/{pid_file.read_text()}"), "QEMU lives on")


@test
def full_device(world):
    """a standard output or JSON file that takes nothing fails the run"""
    with open("/dev/full", "w") as full:
        result = subprocess.run(world.words(), cwd=world.folder, env=world.environment(GOOD),
                                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    expect_equal(result.returncode, 1)
    expect("standard output" in result.stderr, result.stderr)
    expect_failed(world.run("--json", "/dev/full", plan=GOOD), "json")


def start_and_wait(world, *args):
    """A run whose guest speaks and then hangs. Return: process, QEMU's process id."""
    pid_file = world.folder / "pid"
    plan = [["report", REPORT], ["com1", "hello\n"], ["pid", str(pid_file)], ["sleep", 60]]
    process = subprocess.Popen(world.words("--kernel", "bz", *args), cwd=world.folder,
                               env=world.environment(plan), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    expect_equal(process.stdout.readline(), "hello\n")
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.01)
    return process, int(pid_file.read_text())


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@test
def interrupted(world):
    """SIGINT and SIGTERM end QEMU, leave a JSON report, and are passed on"""
    for number in (signal.SIGINT, signal.SIGTERM):
        process, pid = start_and_wait(world, "--json", "out.json")
        process.send_signal(number)
        process.communicate(timeout=30)
        expect_equal(process.returncode, -number)
        expect(not is_running(pid), "QEMU lives on")
        data = json.loads((world.folder / "out.json").read_text())
        expect_equal(data["guest"]["outcome"], "interrupted")
        (world.folder / "pid").unlink()


@test
def killed(world):
    """QEMU dies with a command that is killed"""
    process, pid = start_and_wait(world)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while is_running(pid):
        expect(time.monotonic() < deadline, "QEMU lives on")
        time.sleep(0.05)


def on_terminal(world, args, keys=(), plan=None, **env):
    """Run on a terminal of its own. Return: exit status, everything shown."""
    words = world.words(*args)
    environment = world.environment(plan or GOOD, **env)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(world.folder)
        os.execve(words[0], words, environment)
    shown = b""
    keys = list(keys)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            shown += piece
        elif keys and b"hello" in shown:
            os.write(terminal, keys.pop(0))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return status, shown.decode("latin-1")


@test
def colours(world):
    """colours on a terminal, none with NO_COLOR or a dumb one"""
    expect("\033[1mGuest" in on_terminal(world, [])[1])
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown = on_terminal(world, [], **environment)[1]
        expect("Guest  " in shown and "\033[1m" not in shown, shown)
    expect("\033[1mGuest" in on_terminal(world, [], NO_COLOR="")[1])


@test
def interactive(world):
    """keys reach the guest, Ctrl-C too; Ctrl-A Ctrl-A is one Ctrl-A"""
    plan = [["report", REPORT], ["com1", "hello\r\n"], ["typed", "ab\x03\x01"], ["com1", OK_LINE],
            ["report", FIGURES], *END]
    status, shown = on_terminal(world, ["--interactive"], [b"ab", b"\x03", b"\x01\x01"], plan)
    expect_equal(status, 0, shown)


@test
def interactive_quit(world):
    """Ctrl-A x ends an interactive run"""
    plan = [["report", REPORT], ["com1", "hello\r\n"], ["sleep", 60]]
    status, shown = on_terminal(world, ["--interactive"], [b"a\x01x"], plan)
    expect_equal(status, 1)
    expect("from the keyboard" in shown, shown)


@test
def quiet_input(world):
    """without --interactive nothing is read from standard input"""
    result = subprocess.run(
        ["sh", "-c", '"$@" >/dev/null; cat', "sh", *world.words()], cwd=world.folder,
        env=world.environment(GOOD), input="left alone", capture_output=True, text=True,
        timeout=60)
    expect_equal(result.stdout, "left alone")


@test
def guest_cannot_be_made(world):
    """a default guest that cannot be made is told, with status 1"""
    (world.folder / "share/vmmu/guests/guest.sh").write_text("echo no network >&2; exit 1")
    result = world.run(plan=GOOD)
    expect_failed(result, "guest linux could not be made")
    expect("no network" in result.stderr)


main()
