"""The highest rate of v5 flows that a collector on one core takes without losing one, beside nfcapd's.

The collector has the first processor to itself, the generator (and behind a whole agent bench.acker, a broker that
stores nothing) the second. The generator makes its datagrams beforehand and sends them round and round. A rate holds
when the collector got every flow, in one of two tries; the receive buffer holds a few hundredths of a second, so that it hides nothing. Each
run halves the distance between a rate that holds and one that does not until they are 3 % apart.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import input as bench_input  # tests/bench/input.py

COLLECTOR, GENERATOR = {0}, {1}
BUFFER_BYTES = 4 << 20
SECONDS = 2  # of each try
MADE = 120000  # flows that the generator makes beforehand
LEAST, MOST, STEP = 100_000, 40_000_000, 1.03
EXPORTERS = 4


def start(processors, command, **options):
    return subprocess.Popen([str(c) for c in command], preexec_fn=lambda: os.sched_setaffinity(0, processors), stderr=subprocess.DEVNULL, **options)


def send(build, port, rate):
    """Flows sent, and whether the generator kept the pace."""
    repeat = max(2, round(rate * SECONDS / MADE))
    command = [build / "bin/weir-gen", "--format", "v5", "--flows", MADE, "--repeat", repeat, "--rate", rate]
    with start(GENERATOR, [*command, "--exporters", EXPORTERS, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True) as generator:
        sent = json.loads(generator.communicate(timeout=120)[0])
    return sent["flows"], sent["seconds"] < sent["flows"] / rate * 1.05


def wait_drained(port):
    for _ in range(1500):
        if bench_input.socket_drained(port):
            return
        time.sleep(0.02)


def try_input(build, rate, folder):
    """Receive, decode and gather."""
    collector = start(COLLECTOR, [build / "bench/bench.agent_input", 1 << 62, 1, BUFFER_BYTES], stdout=subprocess.PIPE, text=True)
    port = int(collector.stdout.readline().removeprefix("port="))
    sent, paced = send(build, port, rate)
    got = json.loads(collector.communicate(timeout=60)[0])
    return got["flows"] == sent, paced


def wait_acknowledged(status):
    """Until the agent has nothing left, neither received nor in its spool."""
    families = "flows_decoded", "flows_spooled", "flows_dropped", "spool_batches"
    seen = None
    for _ in range(600):
        time.sleep(0.1)
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{status}/metrics", timeout=5).read().decode()
        except OSError:
            continue
        samples = re.findall(r"^weir_agent_(\w+?)(?:_total)?(?:\{.*\})? (\d+)", text, re.M)
        decoded, spooled, dropped, waiting = (sum(int(value) for name, value in samples if name == family) for family in families)
        before, seen = seen, decoded
        if before == decoded and decoded == spooled + dropped and waiting == 0:
            return


def try_agent(build, rate, folder):
    """The agent as it is: batches, spool with syncs, CURVE."""
    port, status = bench_input.free_port(), bench_input.free_port()
    acker = start(GENERATOR, [build / "bench/bench.acker", folder, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    acker.stdout.readline()  # ready
    with open(folder / "agent.conf", "a", encoding="ascii") as conf:
        conf.write(f'receive_buffer = "{BUFFER_BYTES >> 20}MiB"; status = "127.0.0.1:{status}";\n')
    agent = start(COLLECTOR, [build / "bin/weir-agent", "--config", folder / "agent.conf"])
    try:
        wait_drained(port)
        sent, paced = send(build, port, rate)
        wait_drained(port)
        wait_acknowledged(status)
        got = json.loads(acker.communicate(timeout=60)[0])
        return got["flows"] == sent, paced
    finally:
        for process in (agent, acker):
            process.kill()
            process.wait()


def try_nfcapd(build, rate, folder, *options):
    port = bench_input.free_port()
    command = ["nfcapd", "-p", port, "-b", "127.0.0.1", "-w", folder, "-t", "86400", "-B", BUFFER_BYTES, *options]
    collector = start(COLLECTOR, command, stdout=subprocess.DEVNULL)
    wait_drained(port)
    sent, paced = send(build, port, rate)
    wait_drained(port)
    collector.send_signal(signal.SIGTERM)
    collector.wait(60)
    summary = subprocess.run(["nfdump", "-R", str(folder), "-I"], capture_output=True, text=True, timeout=120).stdout
    got = sum(int(line.split()[1]) for line in summary.splitlines() if line.startswith("Flows:"))
    return got == sent, paced


TRIES = {
    "weir, receive + decode + batch": try_input,
    "nfcapd": try_nfcapd,
    "weir-agent, whole": try_agent,
    "nfcapd -y": lambda *args: try_nfcapd(*args, "-y"),
}


def holds(attempt, build, rate, scratch):
    """Whether nothing was lost at this rate, in one of two tries; None: the generator cannot send that fast."""
    held = False
    for _ in range(2):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        try:
            complete, paced = attempt(build, int(rate), folder)
        finally:
            shutil.rmtree(folder)
        if complete and paced:
            return True
        if complete:
            held = None
    return held


def highest(attempt, build, scratch, guess):
    """The highest rate that holds, and whether it was the generator that ended the search."""
    step, low, high, limited = 1.6, LEAST, MOST, False
    rate = guess
    while high / low > STEP:
        held = holds(attempt, build, rate, scratch)
        if held:
            low = rate
        else:
            high, limited = rate, held is None
        if low == LEAST:
            rate = high / step  # nothing held yet: down
        elif high == MOST:
            rate = low * step  # everything held: up
        else:
            rate = (low * high) ** 0.5
        if rate < LEAST:
            return 0, False
    return low, limited


def measure(build, runs, scratch):
    """{title: ([flows a second of each run], whether the generator was the limit in any)}; collectors take turns."""
    found = {title: ([], False) for title in TRIES}
    for _ in range(runs):
        for title, attempt in TRIES.items():
            rates, limited = found[title]
            rate, by_generator = highest(attempt, build, scratch, rates[-1] if rates else 2_000_000)
            rates.append(rate)
            found[title] = (rates, limited or by_generator)
            print(json.dumps([title, round(rate), by_generator]), flush=True)
    return found
