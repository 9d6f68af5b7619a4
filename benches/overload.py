#!/usr/bin/env python3
"""Measures Boneyard under overload: floods, waits without a permit, quiet callers beside loud ones.

    benches/overload.py                                 about three minutes; Markdown on standard output
    benches/overload.py --check                         ... and exit code 1 where a target is missed
    benches/overload.py --write docs/PERFORMANCE.md     ... and the tables go into that page
    benches/overload.py --smoke                         about half a minute: does it work? The figures mean nothing

Every load comes from `boneyard bench`; the floods come from the client library as well (benches/client_load.rs). A flood
is an open loop: calls are made at random times, whether or not earlier ones were answered, and latency counts from when
a call was due. Everything runs on this machine over loopback; nothing else
should run meanwhile. Python 3.11 standard library only; Linux only.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    Failure, Server, build, circumstances, command_on, heading, ini, note, parser_of, show, shown, table, verdicts,
)  # fmt: skip

# The flood: workers, how long each call sleeps, and the deadline of its callers.
WORKERS = 20
SLEEP_MS = 2
DEADLINE = 0.1
TIMES = (3, 10)
FLOOD_CONNECTIONS = 64
# What floods: the load generator, which knows the protocol and nothing else, and futures of the client library.
LEAN, LIBRARY = "boneyard bench", "library: futures"

# The waits: workers, permits, and how long each call waits.
WAITERS = 40
PERMITS = 4
WAIT_MS = 5

# The quiet caller's calls a second, and the calls that the loud one keeps out.
QUIET_RATE = 100
LOUD_OUT = 2000

MIB = 1 << 20


class Place:
    """Where the programs are, and how long everything takes."""

    def __init__(self, programs, folder, options):
        self.programs, self.folder, self.options = programs, folder, options

    def server(self, throttle, workers, ports=1):
        path, numbers = ini(self.folder, throttle, workers, ports)
        return Server([self.programs / "boneyard", "serve", path], numbers)

    def command(self, address, method, argument, options):
        what = ["--method", f"load.{method}"] + ([] if argument is None else ["--arguments", argument])
        return command_on(None, [self.programs / "boneyard", "bench", address, "--json", *what, *options])

    def start(self, address, method, argument, *options):
        return started(self.command(address, method, argument, options))

    def flood(self, by, address, rate, seconds, warm_up):
        """A flood of calls that sleep, by one of the two."""
        rate = f"{rate:.0f}"
        if by == LEAN:
            size = ["-c", FLOOD_CONNECTIONS, "--rate", rate, "--deadline", DEADLINE]
            return self.start(address, "sleep", SLEEP_MS, *size, "-d", seconds, "--warm-up", warm_up)
        words = ["flood", address, FLOOD_CONNECTIONS, rate, "sleep", SLEEP_MS, warm_up, seconds, DEADLINE]
        return started(command_on(None, [self.programs / "examples/client_load", *words]))

    def bench(self, address, method, argument, *options):
        return outcome(self.start(address, method, argument, *options))


def started(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(process):
    """The figures of a load generator, which ends with this call."""
    try:
        out, error = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise Failure(f"{process.args}: {error.decode(errors='replace').strip()}")
    return json.loads(out)


def closed(connections, seconds, warm_up=1):
    return ["-c", connections, "-o", 1, "-d", seconds, "--warm-up", warm_up]


def flood(place):
    """Three and ten times the capacity, and the capacity afterwards."""
    seconds, rows = place.options.seconds, []
    with place.server(WORKERS, WORKERS) as server:
        bench = lambda *options: place.bench(server.address, "sleep", SLEEP_MS, *options)
        # Just saturated: as many again wait as run.
        capacity = bench(*closed(2 * WORKERS, seconds / 3))["calls_per_second"]
        unhurried = bench(*closed(WORKERS, seconds / 3))["calls_per_second"]
        note(f"capacity: {capacity:,.0f} calls/s with {2 * WORKERS} calls out, {unhurried:,.0f} with {WORKERS}")
        for times, by in [(times, by) for times in TIMES for by in (LEAN, LIBRARY)]:
            before, warm_up = server.rss(), min(1, seconds / 3)
            flooding = place.flood(by, server.address, times * capacity, seconds, warm_up)
            time.sleep(warm_up + seconds / 3)
            early = server.rss()
            time.sleep(seconds / 2)
            late = server.rss()
            run = outcome(flooding)
            after = bench(*closed(WORKERS, 1, warm_up=0.01))
            note(f"{times} times that, {by}: {run['calls_per_second']:,.0f} calls/s")
            rows.append({
                "by": by,
                "times": times,
                "due": run["due"] / seconds,
                "goodput": run["calls_per_second"] / capacity,
                "worst_second": min(run["ok_by_second"]) / capacity if run["ok_by_second"] else None,
                "p50_ms": run["latency"]["p50_us"] / 1000,
                "p99_ms": run["latency"]["p99_us"] / 1000,
                "refused_p50_ms": run["refused_latency"]["p50_us"] / 1000,
                "refused_p99_ms": run["refused_latency"]["p99_us"] / 1000,
                "errors": run["errors"],
                "unanswered": run["unanswered"] + run.get("connections_lost", 0),
                "rss": [before, early, late],
                "after_errors": sum(after["errors"].values()) + after["connections_lost"],
                "after_share": after["calls_per_second"] / unhurried,
            })  # fmt: skip
    return {"capacity": capacity, "rows": rows}


def waits(place):
    """The same wait with the permit and without it."""
    rates = {}
    with place.server(PERMITS, WAITERS) as server:
        for method in ("sleep", "block"):
            run = place.bench(server.address, method, WAIT_MS, *closed(5 * WAITERS, place.options.seconds / 3))
            rates[method] = run["calls_per_second"]
            note(f"load.{method} {WAIT_MS}: {rates[method]:,.0f} calls/s")
    return rates


def quiet(place):
    """A quiet caller alone and beside loud ones."""
    seconds, rows = place.options.seconds / 3, []
    caller = ["-c", 1, "--rate", QUIET_RATE, "-d", seconds, "--warm-up", 0.5]
    loud = ["-d", seconds + 1, "--warm-up", 0.01]
    one = [("the same port", 0, "sleep", SLEEP_MS, ["-c", 1, "-o", LOUD_OUT])]
    one += [("the same port", 0, "spin", 20, ["-c", 1, "-o", LOUD_OUT])]
    other = [("another port", 1, "sleep", SLEEP_MS, ["-c", 16, "-o", LOUD_OUT // 16])]
    other += [("another port", 1, "spin", 20, ["-c", 16, "-o", LOUD_OUT // 16])]
    for title, port, method, argument, size in one + other:
        with place.server(WORKERS, WORKERS, ports=2) as server:
            found = {"title": title, "method": f"load.{method} {argument}"}
            found["alone"] = latency(place.bench(server.addresses[port], "echo", None, *caller))
            noise = place.start(server.addresses[0], method, argument, *size, *loud)
            try:
                found["beside"] = latency(place.bench(server.addresses[port], "echo", None, *caller))
            finally:
                found["loud"] = outcome(noise)["calls_per_second"]
            note(f"{title}: p99 {found['beside']['p99_ms']:.2f} ms, alone {found['alone']['p99_ms']:.2f} ms")
            rows.append(found)
    return rows


def latency(run):
    if run["errors"] or run["unanswered"]:
        raise Failure(f"a quiet caller was not served: {run}")
    return {"p50_ms": run["latency"]["p50_us"] / 1000, "p99_ms": run["latency"]["p99_us"] / 1000}


def flood_table(record):
    head = ["flood by", "calls due", "of capacity", "answered, of capacity", "worst second", "p50 ms", "p99 ms", "refused"]
    head += ["refusals p50 ms", "p99 ms", "memory MiB: before, early, late", "errors after", "calls/s after"]
    rows = []
    for row in record["flood"]["rows"]:
        percent = lambda share: "-" if share is None else f"{100 * share:.0f} %"
        refused = ", ".join(f"{status} {count:,}" for status, count in sorted(row["errors"].items()))
        rows.append([
            row["by"],
            f"{row['due']:,.0f}/s",
            f"{row['times']} x",
            percent(row["goodput"]),
            percent(row["worst_second"]),
            shown(row["p50_ms"]),
            shown(row["p99_ms"]),
            refused,
            shown(row["refused_p50_ms"], 2),
            shown(row["refused_p99_ms"], 2),
            ", ".join(f"{bytes / MIB:.1f}" for bytes in row["rss"]),
            row["after_errors"],
            percent(row["after_share"]),
        ])  # fmt: skip
    return table(head, rows)


def waits_table(record):
    rates = record["waits"]
    rows = [[f"load.{method} {WAIT_MS}", shown(rates[method], 0)] for method in ("sleep", "block")]
    return table([f"{WAITERS} workers, throttle {PERMITS}", "calls/s"], rows)


def quiet_table(record):
    head = ["the loud callers are at", "they call", "calls/s"]
    head += ["quiet: p50 ms alone", "beside", "p99 ms alone", "beside"]
    rows = []
    for row in record["quiet"]:
        figures = [shown(row[when][key], 2) for key in ("p50_ms", "p99_ms") for when in ("alone", "beside")]
        rows.append([row["title"], row["method"], shown(row["loud"], 0), *figures])
    return table(head, rows)


def targets(record):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    at_most = lambda what, value, bound, unit: (what, f"at most {bound}{unit}", value, value <= bound)
    at_least = lambda what, value, bound, unit: (what, f"at least {bound}{unit}", value, value >= bound)
    for row in record["flood"]["rows"]:
        flooded = f"{row['times']} times the capacity{', library' if row['by'] == LIBRARY else ''}:"
        yield at_least(f"{flooded} answered, of capacity", 100 * row["goodput"], 95, " %")
        yield at_most(f"{flooded} p99 of what is answered", row["p99_ms"], round(1000 * DEADLINE), " ms")
        yield at_most(f"{flooded} median of a refusal", row["refused_p50_ms"], 5, " ms")
        yield at_most(f"{flooded} growth of memory, early to late", (row["rss"][2] - row["rss"][1]) / MIB, 2, " MiB")
        yield at_most(f"{flooded} calls without an answer", row["unanswered"], 0, "")
        yield at_most(f"{flooded} errors in the second after", row["after_errors"], 0, "")
        yield at_least(f"{flooded} calls/s in the second after", 100 * row["after_share"], 95, " %")
    ideal = {"sleep": PERMITS * 1000 / WAIT_MS, "block": WAITERS * 1000 / WAIT_MS}
    for method, most in ideal.items():
        share = 100 * record["waits"][method] / most
        yield at_least(f"load.{method} {WAIT_MS}: share of {most:,.0f} calls/s", share, 95, " %")


def render(record):
    what = f"floods of {record['seconds']:g} s. Capacity: {record['flood']['capacity']:,.0f} calls/s."
    parts = [heading(record, what), flood_table(record), waits_table(record), quiet_table(record)]
    return "\n\n".join(parts + ([] if record["smoke"] else [verdicts(targets(record))]))


def measure(options):
    with tempfile.TemporaryDirectory() as folder:
        place = Place(build(not options.smoke), folder, options)
        return {
            **circumstances(options),
            "seconds": options.seconds,
            "flood": flood(place),
            "waits": waits(place),
            "quiet": quiet(place),
        }


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="counted seconds of a flood (15)")
    options = parser.parse_args()
    if options.smoke:
        options.seconds = 1.5
    record = show(options, measure, render, "overload")
    if options.smoke:
        rows = record["flood"]["rows"]
        return 1 if any(row["unanswered"] or row["after_errors"] or not row["errors"] for row in rows) else 0
    return 1 if options.check and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    sys.exit(main())
