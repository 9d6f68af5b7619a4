#!/usr/bin/env python3
"""Looks at the status page with a real browser: of an idle, a busy and a wedged server, wide and narrow, light and dark.

    tests/page.py                       half a minute; says what is wrong, and then the exit code is 1
    tests/page.py --keep FOLDER         ... and keeps the pictures
    tests/page.py --docs --watch 300    makes the pictures of docs/, with five minutes in their plots

Asserted for each: no error of the page or its script, no request to anywhere but its server, nothing wider than the
screen, the figures shown are those of the /status.json they were made of, and elements stay those they were from second
to second. Needs Debian's chromium, which .ci/install brings; Python 3.11 standard library only. Builds what it runs.
"""

import argparse
import base64
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60
WIDE, NARROW = (1280, 900), (390, 844)

# Settings of each server, and what is called at it: method, argument, connections, calls out on each, further options.
SERVERS = {
    "idle": ("", []),
    "busy": (
        "Server_Pool_Tasks=12\nServer_Max_Concurrent_Trans=8\n",
        [
            ("TCPIP", "load.sleep", "12", 8, 2, []),
            ("TCPIP", "load.block", "40", 3, 2, []),
            ("TCPIP", "load.spin", "700", 1, 1, ["--rate", "60"]),
            ("LAN2", "load.echo", None, 2, 0, ["--rate", "400"]),
            # Over its bound, so that the service says no.
            ("LAN2", "load.sleep", "700000", 1, 0, ["--rate", "7"]),
        ],
    ),
    "wedged": (
        "Server_Pool_Tasks=6\nServer_Busy_Seconds=3\nServer_Queue_Limit=400\n",
        [("TCPIP", "load.sleep", "600000", 4, 90, []), ("LAN2", "load.echo", None, 2, 0, ["--rate", "40"])],
    ),
}


class Wrong(Exception):
    """What was looked for is not so."""


def build():
    """The program, as it is now."""
    subprocess.run(["cargo", "build", "--quiet", "--bin", "boneyard"], cwd=ROOT, check=True)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "boneyard"


class Browser:
    """A headless Chromium, spoken to over a pipe in its DevTools protocol."""

    def __init__(self):
        program = shutil.which("chromium")
        if program is None:
            raise SystemExit("tests/page.py needs chromium: .ci/install brings it")
        # Its processes may still write there when the first of them has ended.
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self.say = os.pipe()
        self.hear, ours = os.pipe()
        # The browser speaks on descriptors 3 and 4, which may be taken here: a shell puts them there.
        move = f'exec 3<&{theirs} 4>&{ours} && exec "$0" "$@"'
        options = [
            "--headless=new", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={self.folder.name}",
            "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--force-color-profile=srgb",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", "-c", move, program, *options], pass_fds=(theirs, ours),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        self.answers, self.events, self.number = {}, queue.Queue(), 0
        self.came = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        rest = b""
        while chunk := os.read(self.hear, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    with self.came:
                        self.answers[message["id"]] = message
                        self.came.notify_all()
                else:
                    self.events.put(message)

    def ask(self, method, session=None, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.say, json.dumps(message).encode() + b"\0")
        number = self.number
        with self.came:
            if not self.came.wait_for(lambda: number in self.answers, PATIENCE):
                raise Wrong(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Wrong(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Page:
    """One page of the browser, and what went over the wire for it."""

    def __init__(self, browser, address):
        self.browser, self.address = browser, address
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.wrong, self.answers, self.pending = [], {}, {}

    def ask(self, method, **parameters):
        return self.browser.ask(method, self.session, **parameters)

    def script(self, text):
        result = self.ask("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Wrong(f"{text}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def gather(self):
        """Takes in what has happened: errors, foreign requests, answers of /status.json by their uptime."""
        while True:
            try:
                event = self.browser.events.get_nowait()
            except queue.Empty:
                return
            if event.get("sessionId") != self.session:
                continue
            what = event["params"]
            match event["method"]:
                case "Runtime.exceptionThrown":
                    self.wrong.append(f"the script failed: {what['exceptionDetails']}")
                case "Runtime.consoleAPICalled" if what["type"] in ("error", "warning", "assert"):
                    self.wrong.append(f"the console says {what['args']}")
                case "Log.entryAdded" if what["entry"]["level"] in ("error", "warning"):
                    self.wrong.append(f"the log says {what['entry']['text']} {what['entry'].get('url', '')}")
                case "Network.requestWillBeSent":
                    url = what["request"]["url"]
                    if not url.startswith((f"http://{self.address}/", "data:")):
                        self.wrong.append(f"a request to elsewhere: {url}")
                    if url.endswith("/status.json"):
                        self.pending[what["requestId"]] = url
                case "Network.loadingFinished" if what["requestId"] in self.pending:
                    del self.pending[what["requestId"]]
                    if body := self.body(what["requestId"]):
                        overview = json.loads(body)
                        self.answers[overview["uptime_s"]] = overview

    def body(self, request):
        """What was answered; None where the browser has dropped it with the page that asked."""
        try:
            return self.ask("Network.getResponseBody", requestId=request)["body"]
        except Wrong as wrong:
            if "No resource with given identifier" in str(wrong):
                return None
            raise

    def open(self, size, dark):
        width, height = size
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=f"http://{self.address}/")
        self.wait("the page shows its figures", "document.body && document.body.dataset.uptime !== undefined")

    def wait(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        while not self.script(condition):
            if time.monotonic() > deadline:
                raise Wrong(f"waited in vain until {what}: {self.wrong}")
            time.sleep(0.02)

    def seen(self):
        """The figures that stand on the page, and the answer that they were made of."""
        seen = self.script(FIGURES)
        deadline = time.monotonic() + PATIENCE
        while seen["uptime"] not in self.answers:
            self.gather()
            if time.monotonic() > deadline:
                raise Wrong("the page shows an answer that never came")
            time.sleep(0.02)
            seen = self.script(FIGURES)
        return seen, self.answers[seen["uptime"]]

    def picture(self, path):
        # Bars move to their new place for a third of a second.
        self.script("Promise.all(document.getAnimations().map(each => each.finished))")
        height = self.script("document.documentElement.scrollHeight")
        width = self.script("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


FIGURES = """(() => {
  const text = element => element.textContent.replace(/\\s+/g, " ").trim();
  const figures = (row, name) => Object.fromEntries([...row.querySelectorAll(`[data-${name}]`)]
    .map(element => [element.dataset[name], element.dataset.shown || text(element)]));
  return {
    uptime: Number(document.body.dataset.uptime),
    headline: text(document.getElementById("headline")),
    state: text(document.getElementById("state-text")),
    tiles: Object.fromEntries([...document.querySelectorAll("[data-tile]")]
      .map(tile => [tile.dataset.tile, [...tile.children].slice(1, 3).map(child => child.dataset.shown || text(child))])),
    ports: [...document.querySelectorAll("[data-port]")].map(row => (
      { name: row.dataset.port, workers: figures(row, "worker"), figures: figures(row, "figure") })),
    methods: [...document.querySelectorAll("[data-method]")].map(row => (
      { name: row.dataset.method, cells: [...row.children].slice(1, 8).map(cell => cell.dataset.shown) })),
  };
})()"""

UNITS = {
    "": 1, "/s": 1, "k /s": 1e3, "M /s": 1e6, "µs": 1e-3, "ms": 1, "s": 1e3, "min": 6e4,
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "k": 1e3, "M": 1e6,
}  # fmt: skip


def number(shown):
    """The number that a figure stands for: `12.3 ms` is 12.3, `1.2 s` is 1200."""
    match = re.fullmatch(r"([\d.,]+)\s*(.*)", re.sub(r"[\u00a0\u2009]", " ", shown))
    if not match or match[2].strip() not in UNITS:
        raise Wrong(f"no figure: {shown!r}")
    return float(match[1].replace(",", "")) * UNITS[match[2].strip()]


def same(what, shown, true):
    if shown == "–" and true == 0:
        return
    if abs(number(shown) - true) > max(0.0051, abs(true) * 0.006):
        raise Wrong(f"{what} is {true}, and {shown!r} is shown")


def equal(what, shown, true):
    if shown != true:
        raise Wrong(f"{what} is {true!r}, and {shown!r} is shown")


def compare(seen, overview):
    """What stands on the page is what /status.json says."""
    ports, tiles = overview["ports"], {name: shown for name, (shown, _) in seen["tiles"].items()}
    equal("the verdict", seen["headline"], overview["verdict"]["headline"])
    equal("the state", seen["state"], "not ready" if overview["not_ready"] else "ready")
    for tile, true in {
        "answers": sum(port["answers_per_s"] for port in ports),
        "errors": sum(port["errors_per_s"] for port in ports),
        "permits": overview["permits_out"],
        "calls waiting": sum(port["waiting"] for port in ports),
        "processors": overview["cores_used"],
        "connections": overview["connections"][0],
        "sessions": overview["sessions"],
        "buffers": overview["buffer_bytes"][0],
    }.items():
        same(tile, tiles[tile], true)
    equal("the list of ports", [port["name"] for port in seen["ports"]], [port["name"] for port in ports])
    for shown, port in zip(seen["ports"], ports):
        for state, workers in port["workers"].items():
            same(f"workers {state} at {port['name']}", shown["workers"][state], workers)
        for figure, true in {
            "waiting": port["waiting"], "answers": port["answers_per_s"], "errors": port["errors_per_s"],
            "connections": port["connections"], "p99 run": port["p99_ms"]["run"],
            "p99 queue": port["p99_ms"]["queue_wait"], "p99 permit": port["p99_ms"]["permit_wait"],
        }.items():  # fmt: skip
            same(f"{figure} of {port['name']}", shown["figures"][figure], true)
    methods = {f"{method['port']} {method['name']}": method for method in overview["methods"]}
    equal("the methods", sorted(row["name"] for row in seen["methods"]), sorted(methods))
    for row in seen["methods"]:
        method = methods[row["name"]]
        p99 = method["p99_ms"]
        true = [method["answers_per_s"], method["errors_per_s"], method["workers_busy"], sum(method["p50_ms"].values())]
        for what, shown, true in zip(
            ["calls", "errors", "workers", "median", "run", "queue", "permit"],
            row["cells"], true + [p99["run"], p99["queue_wait"], p99["permit_wait"]],
        ):  # fmt: skip
            same(f"{what} of {row['name']}", shown, true)


def watch(page):
    """Elements stay those they were while their figures change."""
    page.script(
        "window.before = [...document.querySelectorAll('main *')]"
        ".filter(element => !element.closest('#methods, #because, svg g')); 0"
    )
    uptime = page.script("document.body.dataset.uptime")
    page.wait("the page asks again", f"document.body.dataset.uptime !== {json.dumps(uptime)}")
    if page.script("window.before.filter(element => !element.isConnected).length"):
        raise Wrong("elements are made anew each second")


def look(browser, name, address, keep):
    page = Page(browser, address)
    for size, width in ((WIDE, "wide"), (NARROW, "narrow")):
        for dark in (False, True):
            page.open(size, dark)
            watch(page)
            compare(*page.seen())
            over = page.script("document.documentElement.scrollWidth - innerWidth")
            if over > 0:
                raise Wrong(f"at {size[0]} pixels the page is {over} too wide")
            page.picture(keep / f"{name}-{width}-{'dark' if dark else 'light'}.png")
            foreign_text(page)
            page.gather()
            if page.wrong:
                raise Wrong("; ".join(page.wrong))
    return page


def foreign_text(page):
    """Text from elsewhere stays text, and long words break."""
    text = "<img src=x onerror=alert(1)>" + "x" * 400
    verdict = {
        "kind": "method", "agreeing": 5, "looks": 5, "gain": None, "unless": text, "headline": text, "because": [text, text], "lines": [text], "expected": text,
        "effect": text,
    }  # fmt: skip
    found = page.script(
        f"verdict({json.dumps(verdict)}, null);"
        "[document.images.length, document.documentElement.scrollWidth - innerWidth, byId('headline').textContent]"
    )
    equal("what foreign text makes of the page", found, [0, 0, text])


class Server:
    """A server with the rehearsal service, and those who call it."""

    def __init__(self, program, folder, name):
        lines, loads = SERVERS[name]
        ini = folder / f"{name}.ini"
        ini.write_text(
            "Ports=TCPIP,LAN2\nTCPIP_TCPIPAddress=127.0.0.1:0\nLAN2_TCPIPAddress=127.0.0.2:0\n"
            f"Load_Service=1\nAdmin_Address=127.0.0.1:0\n{lines}"
        )
        self.log = folder / f"{name}.log"
        self.processes = []
        with self.log.open("w") as log:
            self.processes.append(subprocess.Popen([program, "serve", ini], stderr=log, stdout=log))
        self.admin = self.find(r"Admin server at http://(\S+)/")
        for port, method, argument, connections, out, options in loads:
            address = self.find(rf"connect requests on {port} at ([^,]+),")
            command = [program, "bench", address, "--connections", str(connections), "--method", method]
            command += [] if argument is None else ["--arguments", argument]
            command += ["--out", str(out)] if out else []
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.processes.append(subprocess.Popen([*command, *options, "--duration", "3600"], **quiet))

    def find(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.log.read_text())):
            if time.monotonic() > deadline:
                raise Wrong(f"no line {pattern!r} in the log: {self.log.read_text()}")
            time.sleep(0.02)
        return found[1]

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def paused(page):
    """A page that nobody sees asks nothing, and asks at once when it is seen again."""
    asked = "performance.getEntriesByType('resource').filter(entry => entry.name.endsWith('/status.json')).length"
    hide = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});"
    page.script(hide.format("true") + "document.dispatchEvent(new Event('visibilitychange'))")
    page.wait("what was asked is answered", "!asking")
    before = page.script(asked)
    time.sleep(2.5)
    equal("the number of requests of a page that is hidden", page.script(asked), before)
    page.script(hide.format("false") + "document.dispatchEvent(new Event('visibilitychange'))")
    page.wait("it asks again", f"{asked} > {before}")


def gone(page, server):
    """The page says so when the server is gone, and what it shows is old."""
    server.close()
    page.wait("the page says that nobody answers", "!document.getElementById('silent').hidden")
    text = page.script("document.getElementById('silent').textContent")
    if not re.match(r"No response from the server\. The data below is \d+ s old\.", text):
        raise Wrong(f"it says {text!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for the pictures")
    parser.add_argument("--docs", action="store_true", help="write the pictures of docs/")
    parser.add_argument("--watch", type=float, default=8, help="seconds before it looks; default 8")
    options = parser.parse_args()
    program = build()
    with tempfile.TemporaryDirectory() as folder:
        keep = options.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        servers, browser = {}, None
        try:
            servers = {name: Server(program, Path(folder), name) for name in SERVERS}
            time.sleep(options.watch)
            browser = Browser()
            for name, server in servers.items():
                page = look(browser, name, server.admin, keep)
                print(f"{name}: four looks, nothing wrong")
            paused(page)
            print("hidden, the page asks nothing")
            gone(page, server)
            print("without its server the page says so")
        except Wrong as wrong:
            raise SystemExit(f"tests/page.py: {wrong}") from None
        finally:
            if browser:
                browser.close()
            for server in servers.values():
                server.close()
        if options.docs:
            for name, look_of in (("idle", "wide-light"), ("busy", "wide-light"), ("wedged", "wide-dark")):
                picture = ROOT / "docs" / "status" / f"{name}.png"
                shutil.copy(keep / f"{name}-{look_of}.png", picture)


if __name__ == "__main__":
    sys.exit(main())
