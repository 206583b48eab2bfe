"""Real exporters and an independent collector, for comparison.

softflowd and pmacctd turn a capture into datagrams, which are recorded once and then sent to whoever should see them:
the same bytes reach Weir and nfdump's daemons. nfdump's answer comes from its records (`-o csv`), added up here.
"""

import csv
import io
import shutil
import socket
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

import pytest


def need(*programs):
    """Skip a test whose outside programs are not installed (tests/packages.txt lists them)."""
    missing = [p for p in programs if shutil.which(p) is None and shutil.which(f"/usr/sbin/{p}") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _record(start, folder, quiet_s=0.5, most_s=30):
    """Run the exporter that start(port, log) starts; return its datagrams in order, until it ended and fell silent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, open(folder / "exporter.log", "ab") as log:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.bind(("127.0.0.1", 0))
        s.settimeout(quiet_s)
        process = start(s.getsockname()[1], log)
        datagrams, deadline = [], time.monotonic() + most_s
        try:
            while time.monotonic() < deadline:
                try:
                    datagrams.append(s.recv(65535))
                except socket.timeout:
                    if process.poll() is not None:
                        break
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        assert datagrams, f"the exporter sent nothing: see {log.name}"
        return datagrams


def softflowd(capture, version, folder):
    """The datagrams of softflowd for a capture; version 5, 9 or 10 (IPFIX)."""
    need("softflowd")
    command = ["/usr/sbin/softflowd", "-a", "-d", "-r", str(capture), "-c", "none", "-p", str(folder / "softflowd.pid"), "-v", str(version)]
    return _record(lambda port, log: subprocess.Popen([*command, "-n", f"127.0.0.1:{port}"], stdout=log, stderr=log), folder)


def softflowd_tcp(capture, port, folder):
    """Let softflowd export a capture as IPFIX over TCP to a port, to the end."""
    need("softflowd")
    command = ["/usr/sbin/softflowd", "-a", "-d", "-r", str(capture), "-c", "none", "-p", str(folder / "softflowd.pid"), "-v", "10"]
    with open(folder / "softflowd.log", "ab") as log:
        subprocess.run([*command, "-P", "tcp", "-n", f"127.0.0.1:{port}"], stdout=log, stderr=log, check=True, timeout=60)


def pmacctd(capture, folder, options):
    """The datagrams of a probe of pmacctd (plugins=nfprobe or sfprobe) for a capture; options as in its configuration."""
    need("pmacctd")

    def start(port, log):
        config = folder / "pmacctd.conf"
        given = {"daemonize": "false", "pcap_savefile": capture, "plugin_pipe_size": 10240000, "plugin_buffer_size": 10240}
        given |= {f"{options['plugins']}_receiver": f"127.0.0.1:{port}", **options}
        config.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
        return subprocess.Popen(["/usr/sbin/pmacctd", "-f", str(config)], stdout=log, stderr=log)

    return _record(start, folder)


def sfprobe(capture, folder):
    """The datagrams of pmacctd's sFlow probe for a capture: every packet a sample."""
    return pmacctd(capture, folder, {"plugins": "sfprobe", "sfprobe_agentip": "127.0.0.1", "sampling_rate": 1})


def send(datagrams, port, host="127.0.0.1", pause_s=0.0005):
    """Send datagrams from one socket, slowly enough for any receiver's buffer; returns the sender's address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        for datagram in datagrams:
            s.sendto(datagram, (host, port))
            time.sleep(pause_s)
        return s.getsockname()


@contextmanager
def _collector(program, folder):
    port = free_udp_port()
    with open(folder.parent / f"{folder.name}.log", "ab") as log:
        process = subprocess.Popen([program, "-w", str(folder), "-b", "127.0.0.1", "-p", str(port), "-t", "3600"], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 10
            while f"{port:04X} " not in "".join(open("/proc/net/udp").readlines()) and time.monotonic() < deadline:
                time.sleep(0.02)
            yield port
        finally:
            time.sleep(0.2)  # nfcapd has no counter to wait for: let it read what lies in its socket
            process.terminate()
            process.wait(10)


def nfdump_records(datagrams, kind, folder):
    """What nfdump made of these datagrams: one dict per flow record. kind: "netflow" or "sflow"."""
    program = "sfcapd" if kind == "sflow" else "nfcapd"
    need(program, "nfdump")
    folder.mkdir(parents=True, exist_ok=True)
    with _collector(program, folder) as port:
        send(datagrams, port)
    text = subprocess.run(
        ["nfdump", "-R", str(folder), "-o", "csv"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    return list(csv.DictReader(io.StringIO(text.partition("Summary")[0])))


def hosts_of(records):
    """Bytes and packets of each host, as source or destination: {address: (bytes, packets)}."""
    octets, packets = Counter(), Counter()
    for record in records:
        for address in {record["sa"], record["da"]}:
            octets[address] += int(record["ibyt"])
            packets[address] += int(record["ipkt"])
    return {address: (octets[address], packets[address]) for address in octets}
