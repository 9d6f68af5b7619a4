#!/usr/bin/env python3
"""Has Prometheus itself read /metrics of a busy server: promtool looks for what is bad style, and a real Prometheus
scrapes it with a token and answers a question about it.

    tests/scrape.py         some ten seconds; says what is wrong, and then the exit code is 1

Needs Debian's prometheus, which has promtool; .ci/install brings it. Python 3.11 standard library only. Builds what it
runs.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from page import PATIENCE, SERVERS, Server, Wrong, build

TOKEN = "a-token-of-scrape.py"

# What Prometheus is asked, and whether the answer is right.
QUESTIONS = (
    ("up", lambda value: value == 1),
    ('sum(boneyard_answers_total{port="TCPIP",status="Ok"})', lambda value: value > 0),
    ('sum(boneyard_answers_total{port="LAN2",status="Application"})', lambda value: value > 0),
    ("boneyard_permits_limit", lambda value: value == 8),
    ("sum by () (boneyard_workers)", lambda value: value == 24),
    # The 99th hundredth of a handler that sleeps for 12 ms.
    (
        "histogram_quantile(0.99, sum by (le) (boneyard_call_seconds_bucket"
        '{port="TCPIP",method="load.sleep",part="run"}))',
        # In seconds; nearer only where nothing else runs.
        lambda value: 0.012 < value < 6,
    ),
)


def fetch(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
        return answer.read().decode()


def style(text):
    """What promtool has to say against it."""
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    said = (checked.stdout + checked.stderr).strip()
    if checked.returncode or said:
        raise Wrong(f"promtool says {checked.returncode}: {said}")


def start_prometheus(folder, admin):
    """Prometheus, where it listens, and its log. Another may take the port before it does: then it is asked in vain."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = folder / "prometheus.yml"
    scrape = {
        "job_name": "boneyard", "scrape_interval": "1s", "authorization": {"credentials": TOKEN},
        "static_configs": [{"targets": [admin]}],
    }  # fmt: skip
    settings.write_text(json.dumps({"scrape_configs": [scrape]}))
    log = (folder / "prometheus.log").open("w")
    options = [f"--config.file={settings}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    return subprocess.Popen(["prometheus", *options], stdout=log, stderr=log), address


def ask(address, question):
    text = fetch(f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": question}))
    return [float(series["value"][1]) for series in json.loads(text)["data"]["result"]]


def wait_for(address, process, question, right):
    deadline, values = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            values = ask(address, question)
            if len(values) == 1 and right(values[0]):
                print(f"{question} = {values[0]:g}")
                return
        except OSError:
            pass  # It has not come up yet.
        time.sleep(0.1)
    raise Wrong(f"{question} is {values}")


def main():
    for tool in ("promtool", "prometheus"):
        if shutil.which(tool) is None:
            raise SystemExit(f"tests/scrape.py needs {tool}: .ci/install brings it")
    program = build()
    with tempfile.TemporaryDirectory() as folder:
        folder, processes, server = Path(folder), [], None
        token = folder / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        lines, loads = SERVERS["busy"]
        SERVERS["busy"] = (f"{lines}Admin_Token_File={token}\n", loads)
        try:
            server = Server(program, folder, "busy")
            prometheus, address = start_prometheus(folder, server.admin)
            processes.append(prometheus)
            for question, right in QUESTIONS:
                wait_for(address, prometheus, question, right)
            style(fetch(f"http://{server.admin}/metrics", Authorization=f"Bearer {TOKEN}"))
            print("promtool check metrics: nothing to say")
        except Wrong as wrong:
            raise SystemExit(f"tests/scrape.py: {wrong}") from None
        finally:
            for process in processes:
                process.kill()
                process.wait()
            if server:
                server.close()


if __name__ == "__main__":
    sys.exit(main())
