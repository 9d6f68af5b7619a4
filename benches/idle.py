#!/usr/bin/env python3
"""Measures what idle connections cost a server: memory, CPU, and the latency of a session that is busy beside them.

    benches/idle.py                                 about two minutes; Markdown on standard output
    benches/idle.py --check                         ... and exit code 1 where a target is missed
    benches/idle.py --write docs/MEASUREMENTS.md    ... and the table goes into that page
    benches/idle.py --smoke                         a few seconds: does it work? The figures mean nothing

Each round has a fresh server: first the busy session alone, then the same beside the crowd; so the two are measured
A B A B. Each idle connection has had its Welcome. The crowd is spread over processes and source
addresses, since a process here holds just under 20,000 descriptors. Figures are medians over the rounds. Everything
runs on this machine over loopback; nothing else should run meanwhile. Python 3.11 standard library only; Linux only.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    ROOT, Failure, Server, at_rest, build, circumstances, crowd, heading, ini, median, note, parser_of, press, show,
    shown, table, verdicts,
)  # fmt: skip

WORKERS = 40

# Processes of the crowd, each with an address of its own.
CROWDS = 4

# Calls a second of the busy session.
RATE = 1000


def crowds(server, connections):
    """The commands that make a number of connections."""
    each, more = divmod(connections, CROWDS)
    return [
        [sys.executable, ROOT / "benches/crowd.py", "idle", server.address, each + (at < more), f"127.0.0.{at + 2}"]
        for at in range(CROWDS)
    ]


def busy(server, programs, options):
    """The latency of one session with a modest load."""
    size = ["-c", 1, "--rate", RATE, "--warm-up", options.warm_up, "-d", options.seconds]
    command = [programs / "boneyard", "bench", server.address, "--json", *size]
    run = press(server, command, 1, options.seconds, options.warm_up)
    if run["ok"] == 0 or run["errors"] or run["connections_lost"]:
        raise Failure(f"the busy session was not served: {run}")
    return {"p50_us": run["p50_us"], "p99_us": run["p99_us"]}


def one_round(programs, folder, options):
    path, ports = ini(folder, WORKERS, WORKERS)
    with Server([programs / "boneyard", "serve", path], ports) as server:
        alone = busy(server, programs, options)
        rss = server.rss()
        with crowd(server, crowds(server, options.connections), options.connections):
            time.sleep(1)
            grown = server.rss() - rss
            rest = at_rest(server, options.idle_seconds)
            beside = busy(server, programs, options)
    return {
        "rss_bytes_per_connection": grown / options.connections,
        **rest,
        **{f"alone_{key}": value for key, value in alone.items()},
        **{f"beside_{key}": value for key, value in beside.items()},
    }


def measure(options):
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        programs = build(not options.smoke)
        for turn in range(options.rounds):
            run = one_round(programs, folder, options)
            note(
                f"round {turn + 1}: {run['rss_bytes_per_connection']:.0f} B each, {run['idle_cpu_percent']:.2f} % CPU, "
                f"p50 alone {run['alone_p50_us']:.1f} us, beside {run['beside_p50_us']:.1f} us"
            )
            runs.append(run)
    return {
        **circumstances(options),
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "runs": runs,
    }


def targets(record):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    at_most = lambda what, value, bound, unit: (what, f"at most {bound}{unit}", value, value <= bound)
    of = lambda key: median(record["runs"], key)
    yield at_most("memory of a connection", of("rss_bytes_per_connection"), 1024, " B")
    # The resolution of CPU clocks over some seconds; the aim is none.
    yield at_most("CPU of all of them", of("idle_cpu_percent"), 0.1, " %")
    share = 100 * of("beside_p50_us") / of("alone_p50_us")
    yield at_most("busy session: p50, of that without them", share, 110, " %")


def render(record):
    of = lambda key: median(record["runs"], key)
    what = f"{record['rounds']} rounds of {record['seconds']:g} s. The busy session makes {RATE:,} calls a second."
    head = ["idle connections", "memory of each, B", "CPU %", "switches/s", "threads"]
    head += ["busy: p50 us alone", "beside", "p99 us alone", "beside"]
    row = [f"{record['connections']:,}", shown(of("rss_bytes_per_connection"), 0), shown(of("idle_cpu_percent"), 2)]
    row += [shown(of("idle_switches_per_second")), shown(of("threads"), 0)]
    row += [shown(of(f"{when}_{key}_us")) for key in ("p50", "p99") for when in ("alone", "beside")]
    parts = [heading(record, what), table(head, [row])]
    if not record["smoke"]:
        parts.append(verdicts(targets(record)))
    return "\n\n".join(parts)


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--connections", type=int, default=19000, help="idle connections (19000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=5, help="counted seconds of the busy session (5)")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before counting begins (1)")
    parser.add_argument("--idle-seconds", type=float, default=5, help="seconds in which nothing is called (5)")
    options = parser.parse_args()
    if options.smoke:
        options.connections, options.rounds, options.seconds = 600, 1, 0.6
        options.warm_up, options.idle_seconds = 0.3, 0.5
    record = show(options, measure, render, "idle")
    return 1 if options.check and not options.smoke and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    sys.exit(main())
