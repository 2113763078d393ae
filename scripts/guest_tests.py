# SPDX-License-Identifier: MIT
"""The guest boots of `make test`: what is run, and what must then be true.

A boot is a `vmmu run` with arguments; each of its checks counts as one test. A check gets a Boot and
may look at earlier boots by name, which is how two settings are compared.
"""
import json
import subprocess
import time


class Boot:
    """One finished `vmmu run`."""

    def __init__(self, status, output, data, seconds):
        self.status = status
        self.output = output
        self.data = data
        self.seconds = seconds

    def get(self, key, otherwise=0):
        """The figure under a dotted key of the JSON report."""
        value = self.data
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return otherwise
            value = value[part]
        return value

    def says(self, line):
        return line in self.output.splitlines()

    def leaf_faults(self):
        return sum(self.get(f"faults.level.{level}") for level in ("4k", "2m", "1g"))


def passed(token):
    """The checks of every boot that must go well."""
    return {
        "powers off by itself, status 0": lambda boot, _: boot.status == 0
        and boot.get("guest.outcome") == "poweroff",
        f"says ok token={token}": lambda boot, _: boot.says(f"vmmu-guest: ok token={token}")
        and boot.get("guest.ok") is True,
        "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
    }


def guest_boot(guest, mmu, says=None, is_long=False):
    """One guest of --guest in one mode; under shadow paging with whole audits."""
    is_linux = guest.startswith("linux")
    token = f"{guest}-{mmu}"
    outcome = "poweroff" if is_linux else "done"
    arguments = ["--guest", guest, "--mmu", mmu]
    checks = {
        f"ends well ({outcome}), status 0": lambda boot, _: boot.status == 0
        and boot.get("guest.outcome") == outcome
        and boot.get("guest.name") == guest,
        "runs in the mode asked for": lambda boot, _: boot.get("mmu.mode") == mmu,
        "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
    }
    if is_linux:
        arguments += ["--append", f"vmmu.token={token}"]
        checks[f"says ok token={token}"] = lambda boot, _: boot.says(
            f"vmmu-guest: ok token={token}"
        )
    else:
        checks["says what it is run for"] = lambda boot, _: boot.get("guest.ok") is True
    if says:
        checks[f"says '{says}'"] = lambda boot, _: boot.says(f"vmmu-guest: {says}")
    if mmu == "shadow":
        arguments += ["--audit", "every=20000"]
        checks["audits ran"] = lambda boot, _: boot.get("audit.runs") > 0
        checks["no nested paging, all pages faulted in"] = lambda boot, _: (
            boot.get("exits.npf") == 0 and boot.get("exits.pf") > 0
        )
    return (f"{guest}, {mmu}", arguments, checks, is_long)


def mediator_boot(mmu):
    """The mediated device, its shadow and all invariants checked."""
    token = f"mediator-{mmu}"
    return (
        f"mediator, {mmu}",
        ["--guest", "mediator", "--mmu", mmu, "--audit", "every=5000", "--append",
         f"vmmu.token={token}"],
        {
            **passed(token),
            "runs in the mode asked for": lambda boot, _: boot.get("mmu.mode") == mmu,
            "more than 1024 writes to the table seen": lambda boot, _: boot.get("mediator.writes")
            > 1024,
            "more than 1024 entries shadowed": lambda boot, _: boot.get("mediator.shadowed")
            > 1024,
            "more than 1000 copied pages checked": lambda boot, _: boot.get(
                "mediator.copies_checked"
            )
            > 1000,
            "slots deleted and recreated": lambda boot, _: 10
            < boot.get("mediator.slots.deleted")
            == boot.get("mediator.slots.created"),
            "entries went with their slot": lambda boot, _: boot.get("mediator.dropped") > 100,
            "a hot page was told once for each command": lambda boot, _: boot.get("mediator.once")
            > 0,
            "no mismatch": lambda boot, _: boot.get("mediator.mismatches", -1) == 0,
            "no stale entry, no stray write": lambda boot, _: boot.get("mediator.stale", -1) == 0
            and boot.get("mediator.strays", -1) == 0,
            "audits ran": lambda boot, _: boot.get("audit.runs") > 0,
        },
        False,
    )


def deaf_boot(mmu):
    """The tracking is taken away behind the mediator's back: the test must notice."""
    return (
        f"mediator without tracking, {mmu}",
        ["--guest", "mediator", "--mmu", mmu, "--audit", "every=20000", "--append",
         "vmmu.mediator=deaf"],
        {
            "ends with status 1": lambda boot, _: boot.status == 1
            and boot.get("guest.outcome") == "poweroff",
            "the guest finds mismatches": lambda boot, _: boot.get("mediator.mismatches") > 0,
            "so does the check of the shadow": lambda boot, _: boot.get("mediator.stale") > 0,
            "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
        },
        False,
    )


HIGH = "addresses of 57 bits checked"
CPUS = 4


def cpus_boot(name, arguments, is_long=False, guest="linux"):
    """A guest with several processors; memory is withdrawn under it, and audited."""
    token = name.replace(" ", "-").replace(",", "")
    checks = {
        "powers off by itself, status 0": lambda boot, _: boot.status == 0
        and boot.get("guest.outcome") == "poweroff",
        f"says ok token={token} cpus={CPUS}": lambda boot, _: boot.says(
            f"vmmu-guest: ok token={token} cpus={CPUS}"
        ),
        "all processors at once": lambda boot, _: f"vmmu-guest: {CPUS} processors at once checked"
        in boot.output,
        "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
        "audits ran": lambda boot, _: boot.get("audit.runs") + boot.get("audit.steps") > 0,
        # How many is for the guest's scheduler to say: with 2M pages, whoever comes first to one
        # takes the fault for all.
        "all processors met faults": lambda boot, _: all(
            boot.get(f"cpus.{number}.faults") > 0 for number in range(CPUS)
        ),
    }
    if "--stress" in arguments:
        checks["memory was withdrawn, and processors interrupted for it"] = lambda boot, _: (
            boot.get("stress.steps") > 20 and boot.get("flushes.remote") > 20
        )
        checks["what was written was logged and counted meanwhile"] = lambda boot, _: (
            boot.get("stress.logs") > 1
            and boot.get("stress.looks") > 10
            and boot.get("stress.dirty_pages") > 100
        )
    arguments = ["--guest", guest, "--cpus", str(CPUS), *arguments]
    return (name, [*arguments, "--append", f"vmmu.token={token}"], checks, is_long)


def resident_boot(name, cpus, arguments, is_long=False):
    """Only a share of the memory stays in host frames: contents are the guest's own checks."""
    token = name.replace(" ", "-").replace(",", "").replace("%", "")
    says = f"vmmu-guest: ok token={token}" + (f" cpus={cpus}" if cpus > 1 else "")
    checks = {
        "powers off by itself, status 0": lambda boot, _: boot.status == 0
        and boot.get("guest.outcome") == "poweroff",
        f"says {says[12:]}": lambda boot, _: boot.says(says) and boot.get("guest.ok") is True,
        "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
        "audits ran": lambda boot, _: boot.get("audit.runs") > 0,
        "more than 1000 pages evicted": lambda boot, _: boot.get("resident.evictions") > 1000,
        "more than 100 brought back": lambda boot, _: boot.get("resident.refaults") > 100,
        "zero pages cost nothing": lambda boot, _: boot.get("resident.zero") > 100
        and boot.get("resident.packed.pages")
        == boot.get("resident.evictions")
        - boot.get("resident.zero")
        - boot.get("resident.clean"),
        "compressed pages are smaller": lambda boot, _: 0
        < boot.get("resident.packed.percent")
        < 100,
        "the share holds at the end": lambda boot, _: boot.get("memory.guest_bytes")
        <= boot.get("resident.limit_bytes") + (1 << 20),
    }
    if "--stress" in arguments:
        checks["memory was withdrawn besides"] = lambda boot, _: boot.get("stress.steps") > 20
    if "30%" in arguments:
        checks["what was only read is not compressed again"] = (
            lambda boot, _: boot.get("resident.clean") > 100
        )
    arguments = ["--memory", "128M", "--cpus", str(cpus), *arguments]
    return (name, [*arguments, "--append", f"vmmu.token={token}"], checks, is_long)


def migrate_boot(name, cpus, arguments):
    """A second copy of the guest's memory is kept by the dirty log, and must be the same."""
    token = name.replace(" ", "-").replace(",", "")
    says = f"vmmu-guest: ok token={token}" + (f" cpus={cpus}" if cpus > 1 else "")
    checks = {
        "powers off by itself, status 0": lambda boot, _: boot.status == 0
        and boot.get("guest.outcome") == "poweroff",
        f"says {says[12:]}": lambda boot, _: boot.says(says) and boot.get("guest.ok") is True,
        "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
        "no frame differs": lambda boot, _: boot.get("migrate.differ", -1) == 0,
        "more than 3 rounds": lambda boot, _: boot.get("migrate.rounds") > 3,
        "more than 1000 frames copied because they were written": lambda boot, _: boot.get(
            "migrate.copied"
        )
        > boot.get("migrate.frames") + 1000
        and boot.get("migrate.frames") > 30000,
    }
    if "--stress" in arguments:
        checks["memory was withdrawn besides"] = lambda boot, _: boot.get("stress.steps") > 20
    arguments = ["--migrate", "--memory", "128M", "--cpus", str(cpus), *arguments]
    return (name, [*arguments, "--append", f"vmmu.token={token}"], checks, False)


# name, arguments, checks, in the long tests only; the longest last
BOOTS = [
    (
        "4K pages, audited",
        ["--huge", "off", "--audit", "every=1000", "--append", "vmmu.token=abc"],
        {
            **passed("abc"),
            "audits ran": lambda boot, _: boot.get("audit.runs") > 0,
            "more than 2000 faults at level 4K": lambda boot, _: boot.get("faults.level.4k") > 2000,
            "no 2M or 1G page": lambda boot, _: boot.get("pages.2m") + boot.get("pages.1g") == 0,
            "MMIO is emulated": lambda boot, _: boot.get("mmio.reads") + boot.get("mmio.writes")
            > 1000,
        },
        False,
    ),
    (
        "huge pages",
        ["--huge", "on", "--append", "vmmu.token=def"],
        {
            **passed("def"),
            "2M pages appear": lambda boot, _: boot.get("pages.2m") > 0,
            "20 times fewer faults than with 4K pages": lambda boot, boots: 0
            < boot.leaf_faults() * 20
            <= boots["4K pages, audited"].leaf_faults(),
        },
        False,
    ),
    (
        "audit in small steps",
        ["--huge", "on", "--audit", "sample"],
        {**passed("none"), "audits ran": lambda boot, _: boot.get("audit.runs") > 0},
        False,
    ),
    (
        "time limit",
        ["--timeout", "3"],
        {
            "ends with status 1 and the outcome timeout": lambda boot, _: boot.status == 1
            and boot.get("guest.outcome") == "timeout",
            "the hypervisor answered": lambda boot, _: boot.seconds < 10,
        },
        False,
    ),
    guest_boot("mach", "npt"),
    guest_boot("mach", "shadow"),
    guest_boot("linux-la57", "npt", says=HIGH),
    guest_boot("linux-i386", "npt"),
    guest_boot("linux-pae", "npt"),
    guest_boot("linux", "shadow"),
    guest_boot("linux-la57", "shadow", says=HIGH),
    guest_boot("linux-i386", "shadow"),
    guest_boot("linux-pae", "shadow"),
    (
        "memtest, shadow, its first tests",
        ["--guest", "memtest", "--mmu", "shadow", "--audit", "every=20000", "--timeout", "25"],
        {
            "gets through the moving inversions": lambda boot, _: "[Moving inversions, 64 bit"
            in boot.output,
            "finds no error": lambda boot, _: "Status: Failed" not in boot.output
            and boot.get("guest.outcome") == "timeout",
            "no audit finding": lambda boot, _: boot.get("audit.findings", -1) == 0,
        },
        False,
    ),
    mediator_boot("npt"),
    mediator_boot("shadow"),
    deaf_boot("npt"),
    cpus_boot("4 CPUs, npt", ["--stress", "--audit", "sample"]),
    cpus_boot("4 CPUs, 4K pages", ["--huge", "off", "--stress", "--audit", "every=1000"]),
    cpus_boot("4 CPUs, shadow", ["--mmu", "shadow", "--audit", "every=20000"]),
    migrate_boot("migrate, 4 CPUs, npt", CPUS, ["--stress", "--audit", "sample"]),
    migrate_boot("migrate, shadow", 1, ["--mmu", "shadow"]),
    resident_boot("resident 60%, 4 CPUs, npt", CPUS,
                  ["--resident", "60%", "--stress", "--audit", "sample"]),
    resident_boot("resident 30%, shadow", 1,
                  ["--resident", "30%", "--mmu", "shadow", "--stress", "--audit", "every=20000"]),
    resident_boot("resident 60%, 4 CPUs, shadow", CPUS,
                  ["--resident", "60%", "--mmu", "shadow", "--audit", "every=20000"], True),
    resident_boot("resident 60%, 4 CPUs, shadow, stress", CPUS,
                  ["--resident", "60%", "--mmu", "shadow", "--stress", "--audit", "sample"], True),
    cpus_boot("4 CPUs, shadow, stress", ["--mmu", "shadow", "--stress", "--audit", "every=20000"],
              is_long=True),
    cpus_boot("4 CPUs, pae", ["--stress", "--audit", "sample"], True, "linux-pae"),
    cpus_boot("4 CPUs, pae, shadow", ["--mmu", "shadow", "--audit", "every=20000"], True,
              "linux-pae"),
    cpus_boot("4 CPUs, la57, shadow", ["--mmu", "shadow", "--audit", "every=20000"], True,
              "linux-la57"),
    # A whole pass waits for minutes to see whether bits fade.
    guest_boot("memtest", "npt", is_long=True),
    guest_boot("memtest", "shadow", is_long=True),
    (
        "instructions counted",
        ["--icount", "--append", "vmmu.token=icount"],
        passed("icount"),
        True,
    ),
    (
        "2G of memory",
        ["--memory", "2G", "--huge", "off"],
        passed("none"),
        True,
    ),
]

LIMIT_S = 900


def boot(build, name, arguments):
    folder = build / "guest-tests"
    folder.mkdir(exist_ok=True)
    stem = name.replace(" ", "-").replace(",", "")
    report = folder / f"{stem}.json"
    command = [str(build / "vmmu"), "run", *arguments, "--json", str(report)]
    report.unlink(missing_ok=True)
    begin = time.monotonic()
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
        status, output = result.returncode, result.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        status, output = -1, (late.stdout or b"").decode(errors="replace")
    seconds = time.monotonic() - begin
    (folder / f"{stem}.log").write_text(output)
    try:
        data = json.loads(report.read_text())
    except (OSError, ValueError):
        data = {}
    return Boot(status, output, data, seconds)


def holds(check, this, boots):
    try:
        return bool(check(this, boots))
    except (KeyError, TypeError):
        return False


def run_all(build, options, tally, say):
    """Run the table; @tally gets every check."""
    boots = {}
    say("\nGuest boots:")
    for name, arguments, checks, is_long in BOOTS:
        if options.guest and options.guest not in name:
            continue
        if is_long and not options.long:
            continue
        say(f"  {name}: vmmu run {' '.join(arguments)}")
        this = boots[name] = boot(build, name, arguments)
        failed = 0
        for text, check in checks.items():
            good = holds(check, this, boots)
            failed += not good
            tally.add(f"guest boot, {name}: {text}", "passed" if good else "failed")
            say(f"    {'ok    ' if good else 'FAILED'} {text}")
        say(
            f"    {len(checks) - failed} of {len(checks)} in {this.seconds:.1f} s; "
            f"{this.get('exits.total')} exits, {this.leaf_faults()} faults, "
            f"{this.get('mmio.reads') + this.get('mmio.writes')} MMIO accesses"
        )
        if failed:
            say("    the end of its output:")
            say("\n".join("      " + line for line in this.output.splitlines()[-40:]))
