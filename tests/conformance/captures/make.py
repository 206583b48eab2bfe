#!/usr/bin/python3
"""Make the captures of this folder again: traffic of ours through real exporters, and what tshark reads in their datagrams.

    sudo tests/conformance/captures/make.py [NAME...]

softflowd, pmacctd (nfprobe, sfprobe) and Open vSwitch (userspace datapath, in a network namespace of its own) export what
tests/integration/capture.py makes. NAME.pcap holds their datagrams, NAME.json.gz what tshark says of them. Exporters have
times of their own, so that every run makes other bytes; the traffic is the same. Beside tests/packages.txt it needs
openvswitch-switch and tcpreplay.
"""

import contextlib
import gzip
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "integration"))

import exporters  # noqa: E402
from capture import Capture, ip_packet, udp  # noqa: E402

EXPORTER, COLLECTOR = "192.0.2.7", "192.0.2.100"
PORTS = {"netflow": 2055, "ipfix": 4739, "sflow": 6343}


def traffic(folder, vlan=None):
    path = folder / f"traffic-{vlan}.pcap"
    return Capture(seed=9, start=1700000000).office(sessions=10).write(path, vlan=vlan)


def softflowd(version):
    return lambda folder: exporters.softflowd(traffic(folder), version, folder)


def as_v7(make):
    """What a v5 exporter sends, as a Catalyst switch would: nothing that we can run speaks v7. tshark says what it means."""

    def record(v5):
        return v5[:46] + b"\0\0" + socket.inet_aton("192.0.2.254")

    def datagram(v5):
        header = struct.pack("!H", 7) + v5[2:20] + bytes(4)
        return header + b"".join(record(v5[at : at + 48]) for at in range(24, len(v5), 48))

    return lambda folder: [datagram(v5) for v5 in make(folder)]


def pmacctd(vlan=None, **options):
    """pmacctd with a probe; options as in its configuration."""
    return lambda folder: exporters.pmacctd(traffic(folder, vlan), folder, options)


@contextlib.contextmanager
def open_vswitch(folder):
    """A bridge of two ports in this network namespace; yields ovs-vsctl. Frames that enter at in0 leave at out0."""
    env = {**os.environ, "OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder), "OVS_DBDIR": str(folder)}

    def run(*command):
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, timeout=30)

    started = []
    try:
        run("ip", "link", "set", "lo", "up")
        for port in ("in", "out"):
            run("ip", "link", "add", f"{port}0", "type", "veth", "peer", "name", f"{port}1")
            run("ip", "link", "set", f"{port}0", "up")
            run("ip", "link", "set", f"{port}1", "up")
        database, log = folder / "conf.db", open(folder / "ovs.log", "ab")
        run("ovsdb-tool", "create", str(database), "/usr/share/openvswitch/vswitch.ovsschema")
        remote = f"unix:{folder}/db.sock"
        started.append(subprocess.Popen(["/usr/sbin/ovsdb-server", str(database), f"--remote=p{remote}"], env=env, stderr=log))
        deadline = time.monotonic() + 10
        while not (folder / "db.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        run("ovs-vsctl", f"--db={remote}", "--no-wait", "init")
        started.append(subprocess.Popen(["/usr/sbin/ovs-vswitchd", remote], env=env, stderr=log))
        run("ovs-vsctl", f"--db={remote}", "-t", "20", "add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
        run("ovs-vsctl", f"--db={remote}", "-t", "20", "add-port", "br0", "in1", "--", "add-port", "br0", "out1")
        yield lambda *words: run("ovs-vsctl", f"--db={remote}", "-t", "20", *words)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(10)


def ovs(*record):
    """What Open vSwitch exports; @record creates the row of its configuration, with TARGET for the collector."""

    def make(folder):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, open_vswitch(folder) as vsctl:
            s.bind(("127.0.0.1", 0))
            s.settimeout(6)
            words = [word.replace("TARGET", f'"127.0.0.1:{s.getsockname()[1]}"') for word in record]
            vsctl("set", "Bridge", "br0", f"{words[0]}=@it", "--", "--id=@it", "create", *words[1:])
            replay = ["tcpreplay", "-q", "-i", "in0", "--multiplier=4", str(traffic(folder))]
            subprocess.run(replay, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            datagrams, deadline = [], time.monotonic() + 20
            with contextlib.suppress(socket.timeout):
                while time.monotonic() < deadline:
                    datagrams.append(s.recv(65535))
            return datagrams

    make.needs_namespace = True
    return make


CAPTURES = {
    "softflowd_v1": ("netflow", softflowd(1)),
    "softflowd_v5": ("netflow", softflowd(5)),
    "rewritten_v7": ("netflow", as_v7(softflowd(5))),
    "softflowd_v9": ("netflow", softflowd(9)),
    "softflowd_ipfix": ("ipfix", softflowd(10)),
    "nfprobe_v9_vlan_mac": (
        "netflow",
        pmacctd(
            vlan=42, plugins="nfprobe", nfprobe_version=9,
            aggregate="src_host,dst_host,src_port,dst_port,proto,tos,tcpflags,src_mac,dst_mac,vlan,in_iface,out_iface",
        ),
    ),
    "nfprobe_ipfix": (
        "ipfix",
        pmacctd(plugins="nfprobe", nfprobe_version=10, aggregate="src_host,dst_host,src_port,dst_port,proto,tos,tcpflags"),
    ),
    "nfprobe_v9_sampled": (
        "netflow",
        pmacctd(plugins="nfprobe", nfprobe_version=9, sampling_rate=10, aggregate="src_host,dst_host,src_port,dst_port,proto"),
    ),
    "sfprobe_vlan": ("sflow", pmacctd(vlan=42, plugins="sfprobe", sampling_rate=10, sfprobe_agentip=EXPORTER)),
    "ovs_v5": ("netflow", ovs("netflow", "netflow", "targets=TARGET", "active-timeout=2")),
    "ovs_ipfix": ("ipfix", ovs("ipfix", "ipfix", "targets=TARGET", "sampling=20", "obs_domain_id=7", "cache_active_timeout=1")),
    "ovs_sflow": ("sflow", ovs("sflow", "sflow", "targets=TARGET", "agent=lo", "sampling=20", "polling=2", "header=128")),
}  # fmt: skip


def write_pcap(path, datagrams, port):
    """Datagrams as raw IPv4 packets of one exporter, a millisecond apart."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for i, payload in enumerate(datagrams):
            packet = ip_packet(EXPORTER, COLLECTOR, 17, udp(40000, port, payload), ident=i)
            out.write(struct.pack("<IIII", 1700000100 + i // 1000, i % 1000 * 1000, len(packet), len(packet)) + packet)


class Node(dict):
    """A JSON object as tshark writes it: keys may repeat."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs


def text(value):
    if isinstance(value, Node):
        return "{" + ",".join(f"{json.dumps(key)}:{text(child)}" for key, child in value.pairs) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(text(child) for child in value) + "]"
    return json.dumps(value)


def write_golden(path, capture):
    """What tshark says, but for the frames around the datagrams and their bytes."""
    options = [f"-d udp.port=={PORTS['netflow']},cflow", f"-d udp.port=={PORTS['ipfix']},cflow"]
    command = ["tshark", "-r", str(capture), *" ".join(options).split(), "-T", "json"]
    frames = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout, object_pairs_hook=Node
    )
    kept = []
    for frame in frames:
        layers = [(name, layer) for name, layer in frame["_source"]["layers"].pairs if name in ("cflow", "sflow")]
        kept.append(Node([("_source", Node([("layers", Node([("udp", Node([])), *layers]))]))]))
    path.write_bytes(gzip.compress(text(kept).encode(), mtime=0))


def main():
    names = sys.argv[1:] or list(CAPTURES)
    for name in names:
        kind, make = CAPTURES[name]
        if hasattr(make, "needs_namespace") and os.environ.get("IN_NAMESPACE") != name:
            subprocess.run(["unshare", "--net", sys.argv[0], name], check=True, env={**os.environ, "IN_NAMESPACE": name})
            continue
        with tempfile.TemporaryDirectory() as folder:
            datagrams = make(pathlib.Path(folder))
        assert datagrams, f"{name}: the exporter sent nothing"
        write_pcap(HERE / f"{name}.pcap", datagrams, PORTS[kind])
        write_golden(HERE / f"{name}.json.gz", HERE / f"{name}.pcap")
        print(f"{name}: {len(datagrams)} datagrams")


if __name__ == "__main__":
    main()
