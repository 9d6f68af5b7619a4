#!/usr/bin/env python3
"""Measures the verdict: a table of servers that are limited by something known, and the effect of its lines.

    benches/verdict.py                                 all of benches/situations.py, about a quarter of an hour
    benches/verdict.py --check                         ... and exit code 1 where the bounds below are missed
    benches/verdict.py --only lock --jobs 4            the situations with that in their name, so many at once
    benches/verdict.py --list                          names only
    benches/verdict.py --truth                         measures the rows: does each change bring what its row says?
    benches/verdict.py --healthy --minutes 10          ten healthy servers side by side, whose verdict must stay silent
    benches/verdict.py --whatif                        what `whatif` expects of settings it has not seen, and what is
    benches/verdict.py --write docs/MEASUREMENTS.md    the tables go into that page
    benches/verdict.py --debug                         with debug builds, which are sooner there
    benches/verdict.py --programs FOLDER               with programs that are built already
    benches/verdict.py --smoke                         a minute, with debug builds: the story of the throttle

Each server is a process of its own (benches/situations.rs) under a load that goes on. The verdict is that of most of
twelve seconds, once a second; it is right if its kind is accepted, if it stands for at least four fifths of them, and
if it gives lines where it must. Then the lines go into the settings file, the server is started again under the same
load, and the calls it counts are compared with those before and with what was promised (the error is a share of what
was measured); they must bring what the row knows to be had. Lines that promise no throughput are judged by what they
are for: that no call is refused, or that the calls others hold up are done.
Python 3.11 standard library only; Linux only; over loopback.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import Failure, build, circumstances, heading, note, parser_of, show, shown, table
from situations import CALLS, HEALTHY, OTHERS, REFUSED, SITUATIONS, WHAT_IF, Situation, calls, each, fixed, size, sleep
from verdict_loads import Place

# Seconds of load before the verdict is read, and before calls are counted after a change; and of the counting.
SETTLES = 12
SETTLES_AGAIN = 5
COUNTS = 12

# A verdict that stands for less of the time wavers.
STEADY = 0.8

# Bounds of --check: right verdicts, median and worst error of the promised throughput.
RIGHT = 38 / 40
MEDIAN = 0.10
WORST = 0.30

# A row's own change may bring so much more or less than the row says; of REFUSED so much may be left.
TRUTH = 0.2
LEFT = 0.1

# Calls of others that lines without a promise must bring.
OTHERS_GAIN = 1.2


def kind_of(verdict):
    """The kind of a verdict, with the port or method it names."""
    name = verdict.get("method") or verdict.get("port")
    return verdict["kind"] + (f":{name}" if name else "")


def promise_of(verdict):
    """How many times the throughput is promised; None if no throughput is."""
    if "gain" in verdict:
        return verdict["gain"]
    about = re.match(r"About ([\d.,]+)x the throughput", verdict["expected"])
    return about and float(about[1].replace(",", ""))


def observe(place, situation, settings, second, settles):
    """Rates of a steady load, so long after it changed last, and the verdicts meanwhile."""
    moments = [moment for load in situation.loads for moment in (load.begin, load.end) if moment < float("inf")]
    with place.running(settings, situation, second):
        time.sleep(max(moments, default=0) + settles)
        before, verdicts = settings.counts(), []
        for _ in range(COUNTS):
            time.sleep(1)
            verdicts.append(settings.verdict())
        rates = settings.counts().since(before, situation.others)
    verdicts = [verdict for verdict in verdicts if verdict]
    if not verdicts:
        raise Failure(f"{situation.name}: no verdict")
    return rates, verdicts


def settings_of(place, situation):
    second = None if situation.second is None else place.settings(situation.second)
    return place.settings(situation.settings, situation.ports), second


def without(situation, method):
    """The same load without the calls of a method."""
    return replace(situation, loads=tuple(load for load in situation.loads if load.method != method))


def ratio(after, before):
    return after / before if before > 0 else 1.0 if after == 0 else float("inf")


def judge(place, situation):
    """The row of a situation: its verdict, and what its lines bring."""
    settings, second = settings_of(place, situation)
    before, verdicts = observe(place, situation, settings, second, SETTLES)
    kinds = Counter(map(kind_of, verdicts))
    kind, times = kinds.most_common(1)[0]
    verdict = [verdict for verdict in verdicts if kind_of(verdict) == kind][-1]
    accepted = kind in situation.accepted or verdict["kind"] in situation.accepted
    given = bool(verdict["lines"])
    fits = situation.lines is None or situation.lines == given
    row = {
        "name": situation.name,
        "accepted": situation.accepted,
        "kind": kind,
        "steady": times / len(verdicts),
        "kinds": dict(kinds),
        "verdict": verdict,
        "right": accepted and fits and times >= STEADY * len(verdicts),
        "before": vars(before),
    }
    if given:
        row |= effect(place, situation, settings, second, verdict, before)
        row["right"] &= row.get("enough", True)
    wrong = f"WRONG: {dict(kinds)} {verdict['headline']} {verdict['lines']} {row.get('measured', '')}"
    said = verdict["headline"] if row["right"] else wrong
    note(f"{situation.name}: {said}")
    return row


def effect(place, situation, settings, second, verdict, before):
    """Applies the lines and measures what they bring."""
    settings.change(verdict["lines"])
    promised = promise_of(verdict)
    try:
        after, _ = observe(place, situation, settings, second, SETTLES_AGAIN)
    except Failure as failure:  # Lines with which no server starts.
        note(f"{situation.name}: {failure}")
        return {"promised": promised, "measured": None, "serves": False}
    measured = ratio(after.calls, before.calls)
    row = {"after": vars(after), "promised": promised, "measured": measured}
    if promised:
        row["error"] = abs(promised / measured - 1) if measured else 1.0
    elif situation.better == REFUSED:
        row["serves"] = after.refused <= LEFT * before.refused
    elif situation.better == OTHERS:
        row["serves"] = after.others >= OTHERS_GAIN * before.others
    if situation.better == CALLS and situation.lines:
        row["enough"] = measured >= (1 - TRUTH) * situation.brings
    return row


def truth(place, situation):
    """Whether the row is true: what its own change brings."""
    settings, second = settings_of(place, situation)
    before, _ = observe(place, situation, settings, second, SETTLES_AGAIN)
    changed = situation
    if isinstance(situation.change, str):
        changed = without(situation, situation.change)
    else:
        settings.change(situation.change)
    after, _ = observe(place, changed, settings, second, SETTLES_AGAIN)
    if situation.better == REFUSED:
        brings, holds = ratio(after.refused, before.refused), after.refused <= LEFT * before.refused > 0
    elif situation.better == OTHERS:
        brings = ratio(after.others, before.others)
        holds = brings >= (1 - TRUTH) * situation.brings
    else:
        brings = ratio(after.calls, before.calls)
        holds = abs(brings / situation.brings - 1) <= TRUTH
    note(f"{situation.name}: {brings:.2f}{'' if holds else f' FALSE, the row says {situation.brings}'}")
    row = {"name": situation.name, "better": situation.better, "says": situation.brings, "brings": brings}
    return row | {"holds": holds, "before": vars(before), "after": vars(after)}


def what_if(place, name, lines):
    """What `whatif` expects of lines, and what they bring."""
    situation = next(row for row in SITUATIONS if row.name == name)
    settings, second = settings_of(place, situation)
    with place.running(settings, situation, second):
        time.sleep(SETTLES)
        before = settings.counts()
        time.sleep(COUNTS)
        now = settings.counts().since(before)
        command = [place.program, "whatif", f"127.0.0.1:{settings.admin}", *lines, "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if answer.returncode != 0:
            raise Failure(f"{name}: {answer.stderr.strip()}")
        expected = json.loads(answer.stdout)
    settings.change(lines)
    after, _ = observe(place, situation, settings, second, SETTLES_AGAIN)
    error = abs(expected["per_s"] / after.calls - 1)
    note(f"{name}, {', '.join(lines)}: {expected['per_s']:.0f} expected, {after.calls:.0f} measured")
    row = {"name": name, "lines": lines, "now": now.calls, "expected": expected}
    return row | {"measured": after.calls, "error": error}


def stays_silent(place, situation, minutes):
    """Reads the verdict of a healthy server each second."""
    settings, second = settings_of(place, situation)
    said, until = Counter(), time.monotonic() + 60 * minutes
    with place.running(settings, situation, second):
        before = settings.counts()
        while time.monotonic() < until:
            time.sleep(1)
            verdict = settings.verdict()
            said[verdict["headline"] if verdict else "no answer"] += 1
        rates = settings.counts().since(before)
    said.pop("Nothing limits the server.", None)
    return {"name": situation.name, "calls": rates.calls, "said": dict(said)}


def story(place, sleep_ms):
    """Three ports of 40 workers and a throttle of 20: the verdict, its lines applied, and its own word on that."""
    loads = each(3, lambda port: calls(sleep(fixed(sleep_ms)), connections=67 - (port == 2), port=port))
    situation = Situation(f"story, {sleep_ms} ms", ("throttle",), size(40, 20), loads, ports=3)
    settings, _ = settings_of(place, situation)

    def awaited(holds):
        with place.running(settings, situation):
            deadline = time.monotonic() + 40
            while time.monotonic() < deadline:
                verdict = settings.verdict()
                if verdict and holds(verdict):
                    time.sleep(6)
                    return settings.verdict()
                time.sleep(0.25)
            raise Failure(f"{situation.name}: the verdict is still {json.dumps(verdict, indent=1)}")

    before = awaited(lambda verdict: verdict["kind"] == "throttle")
    note(f"{before['headline']} {before['lines']}")
    settings.change(before["lines"])
    after = awaited(lambda verdict: "measured" in (verdict["effect"] or ""))
    note(after["effect"])
    return {"sleep_ms": sleep_ms, "before": before, "after": after}


def story_text(story):
    before, after = story["before"], story["after"]
    lines = [before["headline"], *("  " + because for because in before["because"])]
    lines += ["  Lines for the settings file:", *("    " + line for line in before["lines"]), "  " + before["expected"]]
    lines += ["", "after a restart with these lines:", "", after["effect"]]
    title = f"3 ports x 40 workers, throttle 20, 200 clients, `sleep {story['sleep_ms']}`:"
    return "\n".join([title, "", "```text", *lines, "```"])


def times(factor):
    return "-" if factor is None else f"{factor:.2f}x"


def situation_row(row):
    steady = "" if row["steady"] == 1 else f" ({100 * row['steady']:.0f} % of the time)"
    lines = ", ".join(f"`{line}`" for line in row["verdict"]["lines"]) or "none"
    error = f"{100 * row['error']:.0f} %" if row.get("error") is not None else "-"
    serves = {True: "serves", False: "DOES NOT SERVE", None: error}[row.get("serves")]
    right = "yes" if row["right"] else "NO" if row.get("enough", True) else "NO: more is to be had"
    accepted = " or ".join(row["accepted"])
    measured = times(row.get("measured"))
    return [row["name"], accepted, row["kind"] + steady, right, lines, times(row.get("promised")), measured, serves]


def errors_of(rows):
    return sorted(row["error"] for row in rows if row.get("error") is not None)


def situations_text(rows):
    head = ["situation", "accepted", "verdict", "right", "lines", "promised", "measured", "error"]
    errors, right = errors_of(rows), sum(row["right"] for row in sound(rows))
    summary = f"Right: {right} of {len(rows)}."
    if errors:
        median, worst = 100 * statistics.median(errors), 100 * errors[-1]
        summary += f" Error of {len(errors)} promises: median {median:.0f} %, worst {worst:.0f} %."
    return table(head, map(situation_row, sound(rows))) + "\n\n" + summary


def truth_text(rows):
    fields = lambda row: [
        row["name"], row["better"], shown(row["says"], 2) if row["better"] != REFUSED else "none left",
        shown(row["brings"], 2), "yes" if row["holds"] else "NO",
    ]  # fmt: skip
    return table(["situation", "what counts", "the row says", "measured", "true"], map(fields, sound(rows)))


def what_if_text(rows):
    fields = lambda row: [
        row["name"], ", ".join(row["lines"]), shown(row["now"], 0), shown(row["expected"]["per_s"], 0),
        shown(row["measured"], 0), f"{100 * row['error']:.0f} %", f"{100 * row['expected']['model_error']:.0f} %",
    ]  # fmt: skip
    return table(["load", "change", "calls/s now", "expected", "measured", "error", "own error"], map(fields, rows))


def healthy_text(rows):
    fields = lambda row: [row["name"], shown(row["calls"], 0), ", ".join(row["said"]) or "nothing"]
    return table(["server", "calls/s", "said"], map(fields, sound(rows)))


TABLES = {"situations": situations_text, "truth": truth_text, "whatif": what_if_text, "healthy": healthy_text}


def sound(rows):
    """Those that did not fail."""
    return [row for row in rows if not row.get("failed")]


def render(record):
    what = "`benches/verdict.py`." + (" Debug builds." if record["debug"] else "")
    tables = [text(record[name]) for name, text in TABLES.items() if record[name]]
    return "\n\n".join([heading(record, what), *map(story_text, record["stories"]), *tables])


def chosen(options):
    return [row for row in SITUATIONS if not options.only or re.search(options.only, row.name)]


def rows(of, situations, jobs):
    """The rows of situations: side by side, then those that need the processors one after the other. Those that fail
    are left out and counted as missed."""
    results = {}

    def run(situation):
        try:
            results[situation.name] = of(situation)
        except Failure as failure:
            note(f"{situation.name}: {failure}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, [row for row in situations if not row.alone]))
    for situation in situations:
        if situation.alone:
            run(situation)
    return [results.get(row.name) or {"name": row.name, "failed": True} for row in situations]


def measure(options):
    programs = Path(options.programs) if options.programs else build(not (options.smoke or options.debug))
    table_only = not (options.truth or options.whatif or options.healthy or options.smoke)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(programs / "examples" / "situations", Path(folder))
        record = {**circumstances(options), "debug": options.debug or options.smoke, **dict.fromkeys(TABLES, [])}
        stories = [50] if options.smoke else [50, 5] if table_only and not options.only else []
        record["stories"] = [story(place, sleep_ms) for sleep_ms in stories]
        if table_only:
            record["situations"] = rows(lambda row: judge(place, row), chosen(options), options.jobs)
        if options.truth:
            with_change = [row for row in chosen(options) if row.change]
            record["truth"] = rows(lambda row: truth(place, row), with_change, options.jobs)
        if options.whatif:
            names = {row.name for row in chosen(options)}
            record["whatif"] = [what_if(place, name, lines) for name, lines in WHAT_IF if name in names]
        if options.healthy:
            silent = lambda row: stays_silent(place, row, options.minutes)
            record["healthy"] = rows(silent, HEALTHY, len(HEALTHY))
        return record


def missed(record):
    """What of the bounds is missed, a line each."""
    table, errors = record["situations"], errors_of(record["situations"])
    yield from (f"{row['name']}: it failed" for name in TABLES for row in record[name] if row.get("failed"))
    for story in record["stories"]:
        if "Server_Max_Concurrent_Trans=120" not in story["before"]["lines"]:
            yield f"the story's lines are {story['before']['lines']}"
        if "expected" not in story["after"]["effect"]:
            yield f"the story's effect is {story['after']['effect']}"
    if (right := sum(row["right"] for row in sound(table))) < RIGHT * len(table):
        yield f"right in {right} of {len(table)}"
    if errors and (statistics.median(errors) > MEDIAN or errors[-1] > WORST):
        yield f"errors of the promised throughput: median {statistics.median(errors):.2f}, worst {errors[-1]:.2f}"
    yield from (f"{row['name']}: the lines do not serve" for row in table if row.get("serves") is False)
    yield from (f"{row['name']}: the row is not true" for row in sound(record["truth"]) if not row["holds"])
    yield from (f"{row['name']}: {row['error']:.2f} off" for row in record["whatif"] if row["error"] > 0.1)
    yield from (f"{row['name']}: {row['said']}" for row in sound(record["healthy"]) if row["said"])


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--debug", action="store_true", help="debug builds")
    parser.add_argument("--programs", metavar="FOLDER", help="build nothing; the programs are there")
    parser.add_argument("--only", metavar="PATTERN", help="situations with that in their name")
    parser.add_argument("--jobs", type=int, default=6, help="situations side by side")
    parser.add_argument("--list", action="store_true", help="print the names of the situations")
    parser.add_argument("--truth", action="store_true", help="measure what the rows say, without the verdict")
    parser.add_argument("--healthy", action="store_true", help="ten healthy servers side by side")
    parser.add_argument("--minutes", type=float, default=10, help="how long they must stay silent")
    parser.add_argument("--whatif", action="store_true", help="what whatif expects, and what is")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{row.name}: {' or '.join(row.accepted)}" for row in chosen(options)))
        return 0
    misses = list(missed(show(options, measure, render, "verdict")))
    for miss in misses:
        note(f"missed: {miss}")
    return 1 if misses and (options.check or options.smoke) else 0


if __name__ == "__main__":
    sys.exit(main())
