#!/usr/bin/python3
"""Receive + decode + batch of the agent beside Debian's nfcapd and sfcapd, in the same run.

    tests/bench/input.py [--build DIR] [--flows N] [--rate N] [--runs N] [--formats v5,v9,ipfix,sflow] [--json]

Each run sends the same generated flows over loopback to one collector at a time: bench.agent_input (the agent's
listener, decoders and gather, with a sink that gives batches back), and nfcapd (or sfcapd) writing uncompressed files.
What is compared is the CPU time that the system accounts to the collector's process, by flow; a run in which a
collector did not get every flow is marked. Collectors alternate, and the median over the runs is shown.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUFFER_BYTES = 64 << 20


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def generate(build, fmt, port, flows, rate, exporters):
    command = [build / "bin/weir-gen", "--format", fmt, "--flows", flows, "--rate", rate, "--exporters", exporters,
               "--ipv6", 10, f"127.0.0.1:{port}"]
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def reap(process, seconds=30):
    """Wait for a child and return the CPU seconds it took."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid != 0:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{process.args[0]} did not end")


def run_agent(build, fmt, flows, rate, exporters):
    process = subprocess.Popen([str(build / "bench/bench.agent_input"), str(flows)], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    port = int(process.stdout.readline().removeprefix("port="))
    sent = generate(build, fmt, port, flows, rate, exporters)
    got = json.loads(process.stdout.readline())
    cpu = reap(process)
    return {"sent": sent["flows"], "got": got["flows"], "cpu": cpu}


def socket_drained(port):
    """Has the collector read all that its socket held?"""
    for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            return int(fields[4].split(":")[1], 16) == 0
    return False


def run_nfdump(build, fmt, flows, rate, exporters):
    program = "sfcapd" if fmt == "sflow" else "nfcapd"
    folder = tempfile.mkdtemp(prefix="weir-bench-", dir=os.environ.get("TMPDIR", "/tmp"))
    port = free_port()
    process = subprocess.Popen([program, "-p", str(port), "-b", "127.0.0.1", "-w", folder, "-t", "3600", "-B",
                                str(BUFFER_BYTES)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if socket_drained(port):
                break
            time.sleep(0.02)
        sent = generate(build, fmt, port, flows, rate, exporters)
        for _ in range(500):
            if socket_drained(port):
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        cpu = reap(process)
        summary = subprocess.run(["nfdump", "-R", folder, "-I"], capture_output=True, text=True, timeout=60).stdout
        got = re.search(r"^Flows: (\d+)", summary, re.MULTILINE)
        return {"sent": sent["flows"], "got": int(got[1]) if got else 0, "cpu": cpu}
    finally:
        shutil.rmtree(folder)


def median_ns(results):
    return statistics.median(r["cpu"] / r["got"] * 1e9 for r in results if r["got"] > 0)


def measure(build, fmt, args):
    ours, theirs = [], []
    for _ in range(args.runs):
        ours.append(run_agent(build, fmt, args.flows, args.rate, args.exporters))
        if shutil.which("nfcapd"):
            theirs.append(run_nfdump(build, fmt, args.flows, args.rate, args.exporters))
    row = {"format": fmt, "flows": args.flows, "rate": args.rate, "weir_ns": median_ns(ours),
           "weir_complete": all(r["got"] == r["sent"] for r in ours)}
    if theirs:
        row["peer_ns"] = median_ns(theirs)
        row["peer_complete"] = all(r["got"] == r["sent"] for r in theirs)
        row["ratio"] = row["weir_ns"] / row["peer_ns"]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--flows", type=int, default=1000000)
    parser.add_argument("--rate", type=int, default=600000, help="flows a second; sFlow gets a fourth")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--exporters", type=int, default=4)
    parser.add_argument("--formats", default="v5,v9,ipfix,sflow")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    args = parser.parse_args()
    full_rate = args.rate
    if not args.json:
        print(f"{'format':8}{'weir ns/flow':>14}{'nfdump ns/flow':>16}{'ratio':>8}  complete")
    for fmt in args.formats.split(","):
        args.rate = full_rate // 4 if fmt == "sflow" else full_rate
        row = measure(args.build, fmt, args)
        if args.json:
            print(json.dumps(row), flush=True)
            continue
        peer = f"{row['peer_ns']:16.1f}{row['ratio']:8.2f}" if "peer_ns" in row else f"{'absent':>16}{'':8}"
        complete = f"{row['weir_complete']}" + (f", {row['peer_complete']}" if "peer_ns" in row else "")
        print(f"{fmt:8}{row['weir_ns']:14.1f}{peer}  {complete}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
