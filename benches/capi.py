#!/usr/bin/env python3
"""Measures the C library beside the Rust client and the load generator, each with the same load on the same server.

    benches/capi.py            about two minutes; Markdown on standard output
    benches/capi.py --check    ... and exit code 1 where the C library reaches less than 0.8 of the Rust client
    benches/capi.py --smoke    a few seconds: does it work? The figures mean nothing

8 connections with 32 calls of load.echo out on each, 64 bytes. The three are run in turn, five rounds, a fresh server
each time; figures are medians. The load generator is no client library: one thread drives all its connections. Python 3.11
standard library only; Linux only; needs gcc and make.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import ROOT, Server, ini, machine, note, prepare, table  # noqa: E402

CONNECTIONS, OUT = 8, 32
LEAST = 0.8
WARM_UP = 0.2


def build(release):
    """Builds what is measured; returns the folder of the programs."""
    command = ["cargo", "build", "--quiet", "--bin", "boneyard", "--example", "client_load"]
    subprocess.run(command + (["--release"] if release else []), cwd=ROOT, check=True)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / ("release" if release else "debug")


def compile_c(folder, release):
    """Installs the C library into a folder and compiles the C program against it; returns the program."""
    make = ["make", "--quiet", "-C", ROOT / "capi", "install", f"PREFIX={folder}"]
    subprocess.run([str(word) for word in make + ([] if release else ["PROFILE=debug"])], check=True)
    program = Path(folder) / "load"
    source = ROOT / "capi/bench/load.c"
    words = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread", source, "-o", program]
    words += [f"-I{folder}/include", f"-L{folder}/lib", "-lboneyard", f"-Wl,-rpath,{folder}/lib"]
    subprocess.run([str(word) for word in words], check=True)
    return program


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--check", action="store_true")
    words.add_argument("--smoke", action="store_true")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=float, default=5)
    options = words.parse_args()
    if options.smoke:
        options.rounds, options.seconds = 1, 0.5
    prepare()
    programs = build(release=not options.smoke)
    with tempfile.TemporaryDirectory(prefix="boneyard-capi-bench-") as folder:
        same = [CONNECTIONS, OUT, "echo", 64, WARM_UP, options.seconds]
        c, rust = compile_c(folder, not options.smoke), programs / "examples/client_load"
        bench = ["--json", "-c", CONNECTIONS, "-o", OUT, "-d", options.seconds, "--warm-up", WARM_UP]
        subjects = {
            "C library": lambda address: [c, address, *same],
            "Rust client": lambda address: [rust, "pipelined", address, *same],
            "boneyard bench": lambda address: [programs / "boneyard", "bench", address, *bench],
        }
        rates = {name: [] for name in subjects}
        for turn in range(options.rounds):
            for name, command in subjects.items():
                path, ports = ini(folder, 20)
                with Server([programs / "boneyard", "serve", path], ports) as server:
                    said = subprocess.run([str(word) for word in command(server.address)], check=True,
                                          capture_output=True, text=True, timeout=options.seconds + 60)
                rate = json.loads(said.stdout)["calls_per_second"]
                rates[name].append(rate)
                note(f"round {turn + 1}, {name}: {rate:,.0f} calls/s")
    medians = {name: statistics.median(each) for name, each in rates.items()}
    rust_rate = medians["Rust client"]
    share = medians["C library"] / rust_rate
    print(f"{machine()}; {CONNECTIONS} x {OUT}, {options.rounds} rounds of {options.seconds:g} s\n")
    print(table(["", "calls/s", "of the Rust client"],
                [[name, f"{rate:,.0f}", f"{rate / rust_rate:.2f}"] for name, rate in medians.items()]))
    if options.check and share < LEAST:
        note(f"MISSED: {share:.2f} of the Rust client, least {LEAST}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
