#!/usr/bin/env python3
"""Counts the instructions that a call costs the server, by callgrind, also against another build of it.

    benches/instructions.py                            1 x 1 and 8 x 32, 64 B echo; Markdown on standard output
    benches/instructions.py --against OLD/boneyard     ... beside another binary, in alternating rounds
    benches/instructions.py --against OLD --check      ... and exit code 1 where it is over by more than 2 %
    benches/instructions.py --smoke                    a short run with debug builds: does it work?

C x N are C connections that each send N calls with one write, wait for all answers, and send again. A server is started
anew for a short and for a long run of that; the difference between the two is the cost of the further calls, so the
start and the stop are not counted. Counts do not depend on other load of the machine, except for how calls of one write
are distributed over threads: hence rounds and medians. callgrind runs one thread at a time, which counts wakes higher than
two processors do: ratios mean more than figures. Needs valgrind; Python 3.11 standard library only; Linux only.
"""

import re
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crowd import CALL, Peer, frame
from measure import (
    Failure, Server, build, circumstances, heading, ini, median, note, parser_of, show, shown, table, verdicts,
)  # fmt: skip

# Connections, calls of one write, writes of the short run and of the long one.
LOADS = [(1, 1, 300, 2300), (8, 32, 20, 80)]
METHOD = "load.echo"
PAYLOAD = 64
OVER_PERCENT = 2

# Longest start under valgrind, in seconds.
PATIENCE = 120


def call(peer, count):
    body = struct.pack("<IIQ", 0, 0, PAYLOAD) + b"x" * PAYLOAD
    number = peer.methods[METHOD]
    return b"".join(frame(CALL, number, 1 + at, body) for at in range(count))


def press(address, connections, count, writes):
    """Makes the calls; all answers are awaited before the next write."""
    peers = [Peer(address, patience=PATIENCE) for _ in range(connections)]
    calls = call(peers[0], count)
    for _ in range(writes):
        for peer in peers:
            peer.socket.sendall(calls)
        for peer in peers:
            for _ in range(count):
                _, status, _, _ = peer.read()
                if status != 0:
                    raise Failure(f"a call was answered with status {status}")
    for peer in peers:
        peer.close()


def instructions(binary, folder, connections, count, writes):
    """Of a server from its start to its end."""
    settings, ports = ini(folder, throttle=20)
    out = Path(folder) / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, "serve", settings]
    with Server(command, ports) as server:
        press(server.address, connections, count, writes)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=PATIENCE)
    total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
    if not total:
        raise Failure(f"{out} has no total")
    return int(total[1])


def of_a_call(binary, folder, load, smoke):
    connections, count, short, long = load
    if smoke:
        short, long = 2, 6
    few, many = (instructions(binary, folder, connections, count, writes) for writes in (short, long))
    return (many - few) / (connections * count * (long - short))


def measure(options):
    programs = build(not options.smoke)
    binaries = {"this": programs / "boneyard"}
    if options.against:
        binaries["other"] = Path(options.against).resolve()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            run = {}
            for load in LOADS:
                for name, binary in binaries.items():
                    key = f"{load[0]}x{load[1]}_{name}"
                    run[key] = of_a_call(binary, folder, load, options.smoke)
                    note(f"round {turn + 1}: {key}: {run[key]:,.0f} instructions a call")
            runs.append(run)
    return {**circumstances(options), "rounds": options.rounds, "against": bool(options.against), "runs": runs}


def figures(record):
    """For each load: its name, this build's figure, the other's, and how much this one is over, in per cent."""
    for connections, count, *_ in LOADS:
        this, other = (median(record["runs"], f"{connections}x{count}_{name}") for name in ("this", "other"))
        yield f"{connections} x {count}", this, other, other and 100 * (this / other - 1)


def targets(record):
    for load, _, _, over in figures(record):
        if over is not None:
            yield f"{load}: over the other build", f"at most {OVER_PERCENT} %", over, over <= OVER_PERCENT


def render(record):
    head = ["connections x calls", "instructions a call", "of the other build", "over, %"]
    rows = [[load, shown(this, 0), shown(other, 0), shown(over, 2)] for load, this, other, over in figures(record)]
    parts = [heading(record, f"{record['rounds']} rounds."), table(head, rows)]
    if record["against"] and not record["smoke"]:
        parts.append(verdicts(targets(record)))
    return "\n\n".join(parts)


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--against", metavar="BINARY", help="another build of boneyard")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    options = parser.parse_args()
    if options.smoke:
        options.rounds = 1
    record = show(options, measure, render, "instructions")
    return 1 if options.check and not options.smoke and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    sys.exit(main())
