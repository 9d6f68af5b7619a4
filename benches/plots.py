#!/usr/bin/env python3
"""Measures how cost grows with connections, workers, ports and payload, and draws it: docs/plots/*.svg.

    benches/plots.py                                about eight minutes; Markdown on standard output
    benches/plots.py --write docs/PERFORMANCE.md    ... and the table goes into that page
    benches/plots.py --smoke                        a few seconds, into a folder of its own: does it work?
    benches/plots.py --json FILE                    keeps the measurements; --read FILE draws them again

By the load generator, and through the client library as futures on one thread. The table has a few of the points. Each
figure is the median of its rounds; one round measures all points of a plot before the next begins. Python 3.11 standard
library only; Linux only.
"""

import argparse
import math
import sys
import tempfile
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    CALL_BYTES, ROOT, Server, build, circumstances, free_port, heading, ini, median, note, press, record_of,
    shown, table, write_between,
)  # fmt: skip

# Connections where the plot is about something else.
CONNECTIONS = 64

PLOTS = {
    "connections": ("connections, one call out on each", [1, 4, 16, 64, 250, 1000]),
    "workers": (f"workers of the port, {CONNECTIONS} connections, throttle 20", [1, 2, 5, 10, 20, 40, 100, 250]),
    "ports": (f"ports of 40 workers, {CONNECTIONS} connections in all, a client for each port", [1, 2, 4, 8]),
    "payload": ("bytes of payload, 8 connections", [64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20]),
}

# Of each plot, the points that the table has.
IN_TABLE = {
    "connections": [1, 16, 250, 1000],
    "workers": [1, 10, 40, 250],
    "ports": [1, 2, 4, 8],
    "payload": [64, 4 << 10, 32 << 10, 1 << 20],
}

# The floor has neither workers nor ports.
WITH_FLOOR = ["connections", "payload"]


def run(programs, folder, plot, value, line, options):
    """One run: the plot's quantity has this value. A line is the floor, or a client of Boneyard."""
    connections = {"connections": value, "payload": 8}.get(plot, CONNECTIONS)
    payload = value if plot == "payload" else 64
    ports = value if plot == "ports" else 1
    if line == "floor":
        numbers = [free_port()]
        command = [programs / "examples" / "floor", f"127.0.0.1:{numbers[0]}"]
        what = ["--raw", "--bytes", payload + CALL_BYTES]
    else:
        path, numbers = ini(folder, 20, workers=value if plot == "workers" else 40, ports=ports)
        command = [programs / "boneyard", "serve", path]
        what = ["--method", "load.echo", "--bytes", payload]
    with Server(command, numbers) as server:
        each, spans = connections // ports, [options.warm_up, options.seconds]
        if line == "library":
            client = [programs / "examples/client_load", "futures"]
            loads = [[*client, address, each, 1, "echo", payload, *spans] for address in server.addresses]
        else:
            what += ["-c", each, "-o", 1, "--warm-up", options.warm_up, "-d", options.seconds]
            loads = [[programs / "boneyard", "bench", address, "--json", *what] for address in server.addresses]
        return press(server, loads, connections, options.seconds, options.warm_up)


def measure(options):
    programs = build(release=not options.smoke)
    record = {**circumstances(options), "rounds": options.rounds, "seconds": options.seconds, "plots": {}}
    with tempfile.TemporaryDirectory() as folder:
        for plot, (_, values) in PLOTS.items():
            names = ["boneyard", "library"] + (["floor"] if plot in WITH_FLOOR else [])
            lines = {name: [[] for _ in values] for name in names}
            for turn in range(options.rounds):
                for at, value in enumerate(values):
                    for name, points in lines.items():
                        points[at].append(run(programs, folder, plot, value, name, options))
                note(f"{plot}, round {turn + 1}")
            record["plots"][plot] = {"values": values, "lines": lines}
    return record


def growth_table(record):
    """What a call costs by the load generator and through the library, at a few points of each plot."""
    head = ["grows", "to", "calls/s", "library", "p50 us", "library", "server CPU us/call", "library"]
    head += ["client CPU us/call", "library"]
    rows = []
    for plot, points in IN_TABLE.items():
        values, lines = record["plots"][plot]["values"], record["plots"][plot]["lines"]
        for at, value in enumerate(values):
            if value in points:
                figure = lambda name, key: shown(median(lines[name][at], key))
                keys = ["calls_per_second", "p50_us", "cpu_us_per_call", "client_cpu_us_per_call"]
                figures = [figure(name, key) for key in keys for name in ("boneyard", "library")]
                rows.append([plot, f"{value:,}", *figures])
    return table(head, rows)


# Drawing. One file has two panels: what gets through, and what it costs.

WIDTH, HEIGHT, LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 860, 330, 64, 52, 330, 200, 96
COLOURS = {"boneyard": "#1f5f99", "library": "#b3541e", "floor": "#8a8a8a"}


def short(value):
    """1500 as 1.5k, 65536 as 64Ki."""
    for size, unit in [(1 << 20, "Mi"), (1 << 10, "Ki")]:
        if value >= size and value % size == 0:
            return f"{value // size}{unit}"
    for size, unit in [(1e6, "M"), (1e3, "k")]:
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def ticks(top):
    """About five round steps from 0 to the first above `top`."""
    step = 10 ** math.floor(math.log10(top / 5))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if factor * step * 5 >= top)
    return [step * at for at in range(math.ceil(top / step) + 1)]


def decades(points):
    """Powers of ten around the points, for a logarithmic axis."""
    low, high = math.floor(math.log10(min(points))), math.ceil(math.log10(max(points)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def panel(left, title, values, lines, steep):
    """One plot over a logarithmic axis of `values`; `lines` are names and points, on a logarithmic axis if steep."""
    points = [point for points in lines.values() for point in points]
    marks = decades(points) if steep else ticks(max(points))
    low, high = math.log(values[0]), math.log(values[-1])
    x = lambda value: left + PANEL_WIDTH * (math.log(value) - low) / (high - low)
    if steep:
        height = lambda value: math.log(value / marks[0]) / math.log(marks[-1] / marks[0])
    else:
        height = lambda value: value / marks[-1]
    y = lambda value: TOP + PANEL_HEIGHT * (1 - height(value))
    out = [f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{escape(title)}</text>']
    for mark in marks:
        out.append(f'<path d="M{left} {y(mark):.1f}h{PANEL_WIDTH}" stroke="#e0e0e0"/>')
        out.append(f'<text x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    for value in values:
        out.append(f'<path d="M{x(value):.1f} {TOP + PANEL_HEIGHT}v4" stroke="#404040"/>')
        at = f'x="{x(value):.1f}" y="{TOP + PANEL_HEIGHT + 18}"'
        out.append(f'<text {at} text-anchor="middle">{short(value)}</text>')
    for name, points in lines.items():
        path = " ".join(f"{x(value):.1f},{y(point):.1f}" for value, point in zip(values, points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        for value, point in zip(values, points):
            out.append(f'<circle cx="{x(value):.1f}" cy="{y(point):.1f}" r="3" fill="{COLOURS[name]}"/>')
    return out


def draw(plot, record):
    """The SVG of one plot."""
    values, lines = record["plots"][plot]["values"], record["plots"][plot]["lines"]
    series = lambda key: {name: [median(runs, key) for runs in points] for name, points in lines.items()}
    through = series("calls_per_second")
    title, steep = "calls a second", plot == "payload"
    if plot == "payload":
        title = "MB a second"
        through = {
            name: [rate * value / 1e6 for rate, value in zip(points, values)] for name, points in through.items()
        }
    right = LEFT + PANEL_WIDTH + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="sans-serif" font-size="12" fill="#202020">',
        f"<title>{escape(plot)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *panel(LEFT, title, values, through, steep),
        *panel(right, "server CPU, us a call", values, series("cpu_us_per_call"), steep),
    ]
    for left in (LEFT, right):
        at = f'x="{left + PANEL_WIDTH / 2}" y="{TOP + PANEL_HEIGHT + 38}"'
        out.append(f'<text {at} text-anchor="middle">{escape(PLOTS[plot][0])}</text>')
    for at, name in enumerate(lines):
        left = LEFT + 110 * at
        out.append(f'<rect x="{left}" y="{HEIGHT - 25}" width="14" height="4" fill="{COLOURS[name]}"/>')
        out.append(f'<text x="{left + 20}" y="{HEIGHT - 19}">{name}</text>')
    where = f'x="{WIDTH - 14}" y="{HEIGHT - 19}" text-anchor="end" fill="#707070"'
    out.append(f"<text {where}>{escape(record['machine'])}</text>")
    return "\n".join([*out, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each plot (3)")
    parser.add_argument("--seconds", type=float, default=1.5, help="counted seconds of each run (1.5)")
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds before counting begins (0.5)")
    parser.add_argument("--folder", default=ROOT / "docs" / "plots", help="where the plots go (docs/plots)")
    parser.add_argument("--json", metavar="FILE", help="write the measurements there")
    parser.add_argument("--read", metavar="FILE", help="measure nothing; draw the measurements from there")
    parser.add_argument("--write", metavar="PAGE", help="put the table between the markers of that page")
    parser.add_argument("--smoke", action="store_true", help="debug builds, ends of the axes only, no plots kept")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.warm_up = 1, 0.4, 0.1
        options.folder = Path(tempfile.mkdtemp())
        for plot, (axis, values) in PLOTS.items():
            PLOTS[plot] = (axis, [values[0], values[-1]])
    record = record_of(options, measure)
    text = "\n\n".join([heading(record), growth_table(record)])
    print(text)
    if options.write:
        write_between(options.write, "growth", text)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for plot in record["plots"]:
        (folder / f"{plot}.svg").write_text(draw(plot, record))
        note(f"{folder / plot}.svg")


if __name__ == "__main__":
    main()
