#!/usr/bin/env python3
"""Measures Boneyard beside the floor (a bare epoll echo) and R4 (a thread for each session, under a throttle).

    benches/compare.py                                 about nine minutes; Markdown on standard output
    benches/compare.py --check                         ... and exit code 1 where a target is missed
    benches/compare.py --write docs/PERFORMANCE.md     ... and the tables go into that page
    benches/compare.py --smoke                         about half a minute: does it work? The figures mean nothing

Each load is run A B A B: one round of every server, then the next round, a fresh server process for each run. Figures
are medians over the rounds, except the longest latency, which is the longest of all. Everything runs on this machine
over loopback; nothing else should run meanwhile. Python 3.11 standard library only; Linux only.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    CALL_BYTES, Failure, Server, build, circumstances, free_port, heading, idle, ini, median, note, prepare, press,
    shown, table, verdicts, write_between,
)  # fmt: skip

SPIN_US = 20
SLEEP_MS = 5
SLEEPERS = 40
SLEEP_CEILING = SLEEPERS * 1000 / SLEEP_MS


@dataclass
class Subject:
    """A server that is measured."""

    name: str
    kind: str
    throttle: int = 20
    lines: tuple = ("Log_Level=warn",)

    def start(self, place, core):
        if self.kind == "boneyard":
            path, ports = ini(place.folder, self.throttle, lines=self.lines)
            return Server([place.programs / "boneyard", "serve", path], ports, core)
        port = free_port()
        command = [place.programs / "examples" / self.kind, f"127.0.0.1:{port}"]
        return Server(command + ([self.throttle] if self.kind == "r4" else []), [port], core)

    def press(self, place, load, address, options):
        """The command of the load generator."""
        if self.kind == "floor":
            what = ["--raw", "--bytes", load.payload + CALL_BYTES]
        elif load.method == "echo":
            what = ["--method", "load.echo", "--bytes", load.payload]
        else:
            what = ["--method", f"load.{load.method}", "--arguments", load.argument]
        size = ["-c", load.connections, "-o", load.out]
        time_spent = ["--warm-up", options.warm_up, "-d", options.seconds]
        return [place.programs / "boneyard", "bench", address, "--json", *what, *size, *time_spent]


FLOOR = Subject("floor", "floor")
R4 = Subject("R4", "r4")
BONEYARD = Subject("boneyard", "boneyard")
WHERE_READ = Subject("boneyard, where read", "boneyard", lines=("Log_Level=warn", "Server_Run_Where_Read=1"))
R4_40 = Subject("R4, throttle 40", "r4", 40)
BONEYARD_40 = Subject("boneyard, throttle 40", "boneyard", 40)
NO_THROTTLE = Subject("boneyard, no throttle", "boneyard", -1)


@dataclass
class Load:
    """A row of the comparison: the same load for each of its servers."""

    key: str
    title: str
    connections: int
    out: int = 1
    payload: int = 64
    core: int | None = None
    method: str = "echo"
    argument: int | None = None
    subjects: list = field(default_factory=lambda: [FLOOR, R4, BONEYARD])

    def run(self, place, subject, options):
        with subject.start(place, self.core) as server:
            if self.out == 0:
                patient = argparse.Namespace(warm_up=0.1, seconds=options.idle_seconds + 120)
                command = subject.press(place, self, server.address, patient)
                return idle(server, command, self.connections, options.idle_seconds)
            command = subject.press(place, self, server.address, options)
            run = press(server, command, self.connections, options.seconds, options.warm_up, self.core)
        if run["ok"] == 0:
            raise Failure(f"no call was answered: {run}")
        run["megabytes_per_second"] = run["calls_per_second"] * self.payload / 1e6 if self.method == "echo" else None
        return run


ONE = Load("one", "1 x 1, one core for both", 1, core=0)
MANY = Load("many", "64 x 1", 64)
DEEP = Load("deep", "8 x 32", 8, 32)
LARGE = Load("large", "8 x 1, 64 KiB", 8, payload=64 << 10)
SLEEP = Load(
    "sleep", f"200 x 1, sleeping {SLEEP_MS} ms", 200, method="sleep", argument=SLEEP_MS, subjects=[R4_40, BONEYARD_40]
)
SPIN = Load(
    "spin", f"200 x 1, spinning {SPIN_US} us", 200, method="spin", argument=SPIN_US, subjects=[NO_THROTTLE, BONEYARD]
)
IDLE = Load("idle", "idle connections", 5000, out=0)
LOADS = [ONE, MANY, DEEP, LARGE, SLEEP, SPIN, IDLE]


@dataclass
class Place:
    programs: Path
    folder: str


def measure(options, loads, place):
    """All raw runs, by load and server."""
    loads = [load for load in loads if not options.loads or load.key in options.loads]
    each = lambda load: options.seconds + options.warm_up + 0.4 if load.out else options.idle_seconds + 3
    total = options.rounds * sum(len(load.subjects) * each(load) for load in loads)
    note(f"about {total / 60:.1f} minutes")
    runs = {}
    for load in loads:
        runs[load.key] = {subject.name: [] for subject in load.subjects}
        for turn in range(options.rounds):
            for subject in load.subjects:
                run = load.run(place, subject, options)
                runs[load.key][subject.name].append(run)
                rate = run.get("calls_per_second")
                said = f"{rate:,.0f} calls/s" if rate else f"{run['rss_bytes_per_connection']:.0f} B each"
                note(f"{load.title}, round {turn + 1}, {subject.name}: {said}")
    return {
        **circumstances(options),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "runs": runs,
    }


class Figures:
    """Medians of a record of runs."""

    def __init__(self, record):
        self.runs = record["runs"]

    def has(self, load):
        return load in self.runs

    def of(self, load, subject, key):
        return median(self.runs[load][subject.name], key)

    def ratio(self, load, subject, key, to=FLOOR):
        mine, base = self.of(load, subject, key), self.runs[load].get(to.name) and self.of(load, to, key)
        return mine / base if mine is not None and base else None

    def worst(self, load, subject):
        return max(run["max_us"] for run in self.runs[load][subject.name])

    def troubles(self):
        """Runs with calls refused or connections lost."""
        for load, subjects in self.runs.items():
            for subject, runs in subjects.items():
                for run in runs:
                    if run.get("errors") or run.get("connections_lost"):
                        yield f"{load}, {subject}: {run['errors']}, {run['connections_lost']} connections lost"


def load_table(figures, loads):
    head = ["load", "server", "calls/s", "of floor", "MB/s", "p50 us", "of floor", "p99 us", "longest us"]
    head += ["CPU us/call", "of floor", "switches/call"]
    rows = []
    for load in loads:
        if not figures.has(load.key) or load.out == 0:
            continue
        for subject in load.subjects:
            of = lambda key: figures.of(load.key, subject, key)
            ratio = lambda key: shown(figures.ratio(load.key, subject, key), 2)
            rows.append([
                load.title,
                subject.name,
                shown(of("calls_per_second"), 0),
                ratio("calls_per_second"),
                shown(of("megabytes_per_second"), 0),
                shown(of("p50_us")),
                ratio("p50_us"),
                shown(of("p99_us"), 0),
                shown(figures.worst(load.key, subject), 0),
                shown(of("cpu_us_per_call"), 2),
                ratio("cpu_us_per_call"),
                shown(of("switches_per_call"), 3),
            ])  # fmt: skip
    return table(head, rows) if rows else ""


def idle_table(figures):
    if not figures.has("idle"):
        return ""
    head = ["idle connections", "server", "memory of each, B", "CPU %", "switches/s", "threads"]
    rows = []
    for subject in IDLE.subjects:
        of = lambda key: figures.of("idle", subject, key)
        rows.append([
            f"{IDLE.connections:,}",
            subject.name,
            shown(of("rss_bytes_per_connection"), 0),
            shown(of("idle_cpu_percent"), 2),
            shown(of("idle_switches_per_second")),
            shown(of("threads"), 0),
        ])  # fmt: skip
    return table(head, rows)


def targets(figures):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    at_most = lambda what, value, bound, unit="": (what, f"at most {bound}{unit}", value, value <= bound)
    at_least = lambda what, value, bound, unit="": (what, f"at least {bound}{unit}", value, value >= bound)
    of, ratio, has = figures.of, figures.ratio, figures.has
    if has("one"):
        yield at_most("1 x 1 on one core: p50, of the floor's", ratio("one", BONEYARD, "p50_us"), 1.35)
    if has("many"):
        yield at_least("64 x 1: calls/s, of the floor's", ratio("many", BONEYARD, "calls_per_second"), 0.85)
        yield at_most("64 x 1: CPU a call, of the floor's", ratio("many", BONEYARD, "cpu_us_per_call"), 1.4)
        yield at_most("64 x 1: context switches a call", of("many", BONEYARD, "switches_per_call"), 0.5)
    if has("deep"):
        yield at_least("8 x 32: calls/s, of the floor's", ratio("deep", BONEYARD, "calls_per_second"), 0.5)
        yield at_most("8 x 32: p99", of("deep", BONEYARD, "p99_us") / 1000, 2, " ms")
        yield at_most("8 x 32: longest call", figures.worst("deep", BONEYARD) / 1000, 50, " ms")
    if has("large"):
        rate = ratio("large", BONEYARD, "megabytes_per_second")
        yield at_least("8 x 64 KiB: MB/s, of the floor's", rate, 0.8)
    if has("sleep"):
        share = of("sleep", BONEYARD_40, "calls_per_second") / SLEEP_CEILING * 100
        yield at_least(f"sleeping: share of {SLEEP_CEILING:,.0f} calls/s", share, 98, " %")
        yield at_most("sleeping: p99", of("sleep", BONEYARD_40, "p99_us") / 1000, 28, " ms")
    if has("spin"):
        loss = 100 * (1 - ratio("spin", BONEYARD, "calls_per_second", NO_THROTTLE))
        yield at_most("throttle saturated: loss of calls/s", loss, 3, " %")
    if has("idle"):
        yield at_most("idle: memory of a connection", of("idle", BONEYARD, "rss_bytes_per_connection"), 1024, " B")
        yield at_most("idle: CPU", of("idle", BONEYARD, "idle_cpu_percent"), 0.1, " %")
    yield from duels(figures)


def duels(figures):
    """R4 must be beaten in every row but 1 x 1."""
    for load, key, title in [
        ("many", "calls_per_second", "64 x 1: calls/s"),
        ("deep", "calls_per_second", "8 x 32: calls/s"),
        ("large", "megabytes_per_second", "8 x 64 KiB: MB/s"),
    ]:
        if figures.has(load):
            value = figures.ratio(load, BONEYARD, key, R4)
            yield f"{title}, of R4's", "over 1", value, value > 1
    if figures.has("sleep"):
        ratio = lambda key: figures.ratio("sleep", BONEYARD_40, key, R4_40)
        yield "sleeping: calls/s, of R4's", "over 1", ratio("calls_per_second"), ratio("calls_per_second") > 1
        yield "sleeping: p99, of R4's", "below 1", ratio("p99_us"), ratio("p99_us") < 1
    if figures.has("idle"):
        value = figures.ratio("idle", BONEYARD, "rss_bytes_per_connection", R4)
        yield "idle: memory of a connection, of R4's", "below 1", value, value < 1


def render(record):
    figures = Figures(record)
    troubles = [f"- not all went well: {trouble}" for trouble in figures.troubles()]
    judged = verdicts(targets(figures))
    parts = [heading(record), load_table(figures, LOADS), idle_table(figures)]
    parts += ["" if record["smoke"] else judged, "\n".join(troubles)]
    return "\n\n".join(part for part in parts if part)


def arguments(parser, loads):
    """Options that every comparison has."""
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each load (5)")
    parser.add_argument("--seconds", type=float, default=3, help="counted seconds of each run (3)")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before counting begins (1)")
    parser.add_argument("--loads", nargs="+", choices=[load.key for load in loads], help="only these loads")
    parser.add_argument("--smoke", action="store_true", help="one short round of debug builds: does it work?")
    parser.add_argument("--json", metavar="FILE", help="write all raw runs there")
    parser.add_argument("--read", metavar="FILE", help="measure nothing; take the raw runs from there")
    parser.add_argument("--write", metavar="PAGE", help="put the tables between the markers of that page")


def record_of(options, loads, build_all):
    """The record to show: read, or measured with what `build_all` built."""
    if options.read:
        return json.loads(Path(options.read).read_text())
    if options.smoke:
        options.rounds, options.seconds, options.warm_up, options.idle_seconds = 1, 0.4, 0.1, 0.5
        for load in loads:
            load.connections = min(load.connections, 200)
    prepare()
    try:
        with tempfile.TemporaryDirectory() as folder:
            record = measure(options, loads, Place(build_all(not options.smoke), folder))
    except Failure as failure:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {failure}") from None
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser, LOADS)
    parser.add_argument("--idle-seconds", type=float, default=5, help="seconds of idleness (5)")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    options = parser.parse_args()
    record = record_of(options, LOADS, build)
    text = render(record)
    print(text)
    if options.write:
        write_between(options.write, "figures", text)
    figures = Figures(record)
    if options.smoke:
        return 1 if any(figures.troubles()) else 0
    met = all(met for *_, met in targets(figures)) and not any(figures.troubles())
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
