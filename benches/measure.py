"""Starts servers and load generators, reads their cost from /proc, and renders it. Shared by compare.py, overload.py,
idle.py, hostile.py, soak.py, plots.py, python.py, peers/run.py.

Python 3.11 standard library only; Linux only.
"""

import contextlib
import argparse
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Bytes around the payload of a Call that carries bytes: header, prelude, length.
CALL_BYTES = 16 + 8 + 8

# Room left at both ends of the counted time when the server's cost is read, in seconds.
MARGIN = 0.1


class Failure(Exception):
    """A run that gives no figure."""


def prepare():
    """Lets this process and its children hold thousands of sockets, and makes SIGTERM clean up like Ctrl-C."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def ended(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)


def build(release=True, folder=ROOT):
    """Builds the programs and examples of a package; returns the folder of the programs."""
    command = ["cargo", "build", "--quiet", "--bins", "--examples"] + (["--release"] if release else [])
    subprocess.run(command, cwd=folder, check=True, timeout=3600)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return folder / target / ("release" if release else "debug")


def machine():
    """The machine in one line, without which figures mean nothing."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def circumstances(options):
    """The fields that each record begins with."""
    return {"machine": machine(), "when": time.strftime("%Y-%m-%d", time.gmtime()), "smoke": options.smoke}


def heading(record, what=None):
    """The line above the tables of a record: machine, date, and what was done (by default the rounds)."""
    what = what or f"{record['rounds']} rounds of {record['seconds']:g} s."
    text = f"{record['machine']}; {record['when']}; {what}"
    return text + (" A smoke run: the figures mean nothing." if record["smoke"] else "")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command_on(core, command):
    """The command, on one core if so asked, and killed by the kernel if this process dies."""
    prefix = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    prefix += [] if core is None else ["taskset", "-c", str(core)]
    return prefix + [str(word) for word in command]


class Server:
    """A server process, from the first connection it accepts to the end of the `with` block."""

    def __init__(self, command, ports, core=None):
        self.ports = ports
        self.addresses = [f"127.0.0.1:{port}" for port in ports]
        self.address = self.addresses[0]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command_on(core, command), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.pid = self.process.pid

    def __enter__(self):
        try:
            for port in self.ports:
                self._await(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _await(self, port):
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.log.seek(0)
                    said = self.log.read().decode(errors="replace")
                    raise Failure(f"{self.process.args} did not start: {said}") from None
                time.sleep(0.01)

    def cost(self):
        """CPU in seconds and context switches of all threads so far."""
        return Cost(self.pid)

    def rss(self):
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


def cpu_seconds(pid):
    """The CPU time of a process so far, by its clock (see clock_getcpuclockid): with threads that have ended."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def cpu_of_all(processes):
    """The CPU time of processes so far; None if one has ended."""
    if any(process.poll() is not None for process in processes):
        return None
    return sum(cpu_seconds(process.pid) for process in processes)


class Cost:
    """The CPU time and context switches of a process at one moment."""

    def __init__(self, pid):
        self.when = time.monotonic()
        self.cpu = cpu_seconds(pid)
        self.switches = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                for line in (task / "status").read_text().splitlines():
                    if "ctxt_switches" in line:
                        self.switches += int(line.split()[1])
            except OSError:
                pass  # The thread has ended.


def press(server, load, connections, seconds, warm_up, core=None):
    """Runs a load generator that prints JSON, or several at once, and adds what each call costs the server and the
    generators.

    The cost is read within the counted time, as a rate, and divided by the rate of calls: so neither the greeting nor
    the warm-up is counted. The warm-up begins when the last connection is made.
    """
    loads = load if isinstance(load[0], list) else [load]
    # One less: the connection that waited for the start of the server may still be counted.
    complete = server.descriptors() + connections - 1
    started = [
        subprocess.Popen(command_on(core, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for command in loads
    ]
    try:
        deadline = time.monotonic() + 60
        while server.descriptors() < complete and all(process.poll() is None for process in started):
            if time.monotonic() > deadline:
                raise Failure(f"{connections} connections were not made within a minute")
            time.sleep(0.005)
        time.sleep(warm_up + MARGIN)
        before, own_before = server.cost(), cpu_of_all(started)
        time.sleep(max(seconds - 2 * MARGIN, MARGIN))
        after, own_after = server.cost(), cpu_of_all(started)
        outcomes = []
        for process in started:
            out, error = process.communicate(timeout=seconds + 60)
            if process.returncode != 0:
                raise Failure(f"{process.args}: {error.decode(errors='replace').strip()}")
            outcomes.append(json.loads(out))
    finally:
        for process in started:
            process.kill()
            process.wait()
    run = merge(outcomes)
    calls = run["calls_per_second"] * (after.when - before.when)
    run["cpu_us_per_call"] = (after.cpu - before.cpu) * 1e6 / calls if calls else None
    known = calls and own_before is not None and own_after is not None
    run["client_cpu_us_per_call"] = (own_after - own_before) * 1e6 / calls if known else None
    run["switches_per_call"] = (after.switches - before.switches) / calls if calls else None
    return run


def merge(outcomes):
    """Of several load generators at once: rates add up, and the worst latency of each kind counts."""
    total = lambda key: sum(outcome.get(key, 0) for outcome in outcomes)
    worst = lambda key: max(outcome["latency"][key] for outcome in outcomes)
    errors = {}
    for outcome in outcomes:
        for status, count in outcome.get("errors", {}).items():
            errors[status] = errors.get(status, 0) + count
    return {
        "calls_per_second": total("calls_per_second"),
        "ok": total("ok"),
        "errors": errors,
        "connections_lost": total("connections_lost"),
        "starved": total("starved"),
        **{key: worst(key) for key in ("p50_us", "p99_us", "max_us")},
    }


@contextlib.contextmanager
def crowd(server, commands, connections):
    """Processes that make a number of connections, from the last connection to the end of the `with` block."""
    before = server.descriptors()
    started = [
        subprocess.Popen(
            command_on(None, command), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for command in commands
    ]

    def complete():
        for process in started:
            if process.poll() is not None:
                said = process.stderr.read().decode(errors="replace").strip()
                raise Failure(f"{process.args} ended early: {said}")
        return server.descriptors() - before >= connections

    try:
        deadline = time.monotonic() + 60
        while not complete():
            if time.monotonic() > deadline:
                raise Failure(f"{connections} connections were not made within a minute")
            time.sleep(0.01)
        yield
        if not complete():
            raise Failure(f"some of {connections} connections were lost")
    finally:
        for process in started:
            process.kill()
            process.communicate()


def at_rest(server, seconds):
    """The cost of a server without load."""
    before = server.cost()
    time.sleep(seconds)
    after, threads = server.cost(), server.threads()
    return {
        "idle_cpu_percent": 100 * (after.cpu - before.cpu) / (after.when - before.when),
        "idle_switches_per_second": (after.switches - before.switches) / (after.when - before.when),
        "threads": threads,
    }


def idle(server, load, connections, seconds):
    """Memory for each idle connection, and the CPU that all of them cost."""
    time.sleep(0.3)  # The connection that showed that the server is there has to go.
    rss = server.rss()
    with crowd(server, [load], connections):
        time.sleep(1)
        grown = server.rss() - rss
        return {"rss_bytes_per_connection": grown / connections, **at_rest(server, seconds)}


def median(runs, key):
    """Median over runs; None where no run has the figure."""
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def shown(value, digits=1):
    """A number for a table cell."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def table(head, rows):
    """A Markdown table whose columns line up: text left, numbers right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    is_number = lambda cell: cell == "-" or cell.replace(",", "").replace(".", "", 1).lstrip("-").isdigit()
    number = [all(is_number(row[at]) for row in rows) for at in range(len(head))]
    line = lambda row: "| " + " | ".join(
        cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, number)
    ) + " |"
    rule = "|" + "|".join("-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, number)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def write_between(path, name, text):
    """Replaces what stands between the markers of that name in a page."""
    page = Path(path).read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{path} has no {begin} and {end}")
    head, rest = page.split(begin, 1)
    tail = rest.split(end, 1)[1]
    Path(path).write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def ini(folder, throttle, workers=40, ports=1, lines=()):
    """Writes the settings of a server with the rehearsal service and these lines; returns the file and its ports."""
    numbers = [free_port() for _ in range(ports)]
    names = [f"P{index}" for index in range(ports)]
    lines = [
        "[Server]",
        "Ports=" + ",".join(names),
        *(f"{name}=TCP" for name in names),
        *(f"{name}_TCPIPAddress=0,127.0.0.1:{number}" for name, number in zip(names, numbers)),
        f"Server_Pool_Tasks={workers}",
        f"Server_Max_Concurrent_Trans={throttle}",
        "Load_Service=1",
        *(lines or ["Log_Level=warn"]),
    ]
    path = Path(folder) / f"{numbers[0]}.ini"
    path.write_text("\n".join(lines) + "\n")
    return path, numbers


def note(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def verdicts(targets):
    """The table of targets: of each its bound, the figure, and whether it is met."""
    rows = [[what, bound, shown(value, 2), result(bound, met)] for what, bound, value, met in targets]
    return table(["target", "bound", "measured", "result"], rows)


def result(bound, met):
    """Tells aims of time, speed or memory, which a machine can miss, from counts that must hold on every machine."""
    must_hold = bound.removeprefix("at most ").removeprefix("over ") == "0" or bound.isdigit()
    return "pass" if met else "FAILED" if must_hold else "missed"


def parser_of(script):
    """The options of every script with targets; `script` is its docstring."""
    parser = argparse.ArgumentParser(description=script, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    parser.add_argument("--smoke", action="store_true", help="short and small, with debug builds: does it work?")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--read", metavar="FILE", help="measure nothing; take the figures from there")
    parser.add_argument("--write", metavar="PAGE", help="put the tables between the markers of that page")
    return parser


def record_of(options, measure):
    """Measures, or reads a measured record; writes it as JSON if asked to."""
    prepare()
    try:
        record = json.loads(Path(options.read).read_text()) if options.read else measure(options)
    except Failure as failure:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {failure}") from None
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return record


def show(options, measure, render, marker):
    """Measures, or reads a measured record, prints it, and writes it into a page if asked to. Returns the record."""
    record = record_of(options, measure)
    text = render(record)
    print(text)
    if options.write:
        write_between(options.write, marker, text)
    return record
