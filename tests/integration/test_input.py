"""What exporters send reaches the store by any way, and what cannot be read can be looked at."""

import json
import os
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

import exporters
from capture import Capture
from netflow import Netflow5, ipfix
from river import River, free_port, sent_by, wait_for


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    with River(tmp_path_factory.mktemp("river"), agents=2, aggregators=1) as river:
        yield river


def test_a_real_exporter_over_tcp_is_understood_as_over_udp(tmp_path):
    capture = Capture(seed=22, start=time.time() - 300).office().write(tmp_path / "office.pcap")
    datagrams = exporters.softflowd(capture, 10, tmp_path)
    theirs = exporters.hosts_of(exporters.nfdump_records(datagrams, "netflow", tmp_path / "nfdump"))
    assert len(theirs) > 20, "the capture has more hosts than that"
    port = free_port()
    listen = {"listen": [f"127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{port}"]}
    with River(tmp_path / "river", aggregators=1, options={"agent": listen}) as river:
        exporters.softflowd_tcp(capture, port, tmp_path)
        river.agent1.counts("weir_agent_connections_closed_total", 1, cause="peer")
        river.settle()
        rows = river.ask("top", "-g", "ip", "-n", 1000, "-t", "1h", "protocol = ipfix")["rows"]
        assert {row["ip"]: (row["bytes"], row["packets"]) for row in rows} == theirs
        assert river.agent1.counter("weir_agent_unfinished_bytes_total") == 0
        assert river.agent1.counter("weir_agent_decode_errors_total") == 0


def tshark(file, *fields):
    """The fields of every packet of a capture, and that every checksum in it is right."""
    exporters.need("tshark")
    words = ["tshark", "-r", str(file), "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    fields = ["udp.checksum.status", *fields]
    out = subprocess.run([*words, *(w for f in fields for w in ("-e", f))], check=True, capture_output=True, text=True, timeout=60).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    assert all(row[0] == "1" for row in rows), "udp.checksum.status: 1 is good"
    return [row[1:] for row in rows]


def test_what_cannot_be_decoded_is_kept_for_tshark_and_explained(river):
    agent = river.agent1
    truncated, garbage = Netflow5().datagram(30)[:200], b"\xde\xad\xbe\xef" * 40
    address = exporters.send([truncated], river.udp_port())
    exporters.send([garbage], river.udp_port())
    agent.counts("weir_agent_undecodable_captured_total", 2)

    file = river.folder / "agent1" / "state" / "undecodable.pcap"
    rows = tshark(file, "ip.src", "udp.srcport", "udp.dstport", "udp.payload")
    assert rows == [["127.0.0.1", str(address[1]), str(river.udp_port()), truncated.hex()], ["127.0.0.1", rows[1][1], str(river.udp_port()), garbage.hex()]]
    as_netflow = subprocess.run(
        ["tshark", "-r", str(file), "-d", f"udp.port=={river.udp_port()},cflow", "-T", "fields", "-e", "cflow.version"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert as_netflow[0] == "5", "tshark dissects it as what it is"

    def refused():
        code, text = agent.http("/exporters")
        assert code == 200
        return json.loads(text)["refused"]

    agent.counts("weir_agent_decode_errors_total", 2)
    deadline = time.monotonic() + 30
    while not refused() and time.monotonic() < deadline:
        time.sleep(0.1)
    (sender,) = refused()
    assert sender["sender"] == "127.0.0.1" and sender["by_reason"] == {"version": 1, "count": 1}
    newest, oldest = sender["last"]
    assert (newest["reason"], newest["bytes"], newest["head"]) == ("version", 160, garbage.hex()[:128])
    assert (oldest["reason"], oldest["protocol"], oldest["port"]) == ("count", "netflow5", address[1])
    assert oldest["meaning"] == "the number of records in the header does not agree with the length"


def test_the_capture_can_be_switched_off(tmp_path):
    with River(tmp_path, aggregators=1, options={"agent": {"undecodable": "0"}}) as river:
        river.send([b"garbage!"])
        river.agent1.counts("weir_agent_decode_errors_total", 1)
        assert river.agent1.counter("weir_agent_undecodable_captured_total") == 0
        assert not list((river.folder / "agent1" / "state").glob("undecodable*"))


def test_exporters_are_listed_with_what_was_lost_of_them(river):
    agent, exporter = river.agent2, Netflow5()
    first = exporter.datagram(30)
    exporter.datagram(30)  # never sent
    exporters.send([first, exporter.datagram(30)], river.udp_port("agent2"))
    agent.counts("weir_agent_records_lost_total", 30)
    deadline = time.monotonic() + 30
    rows = []
    while time.monotonic() < deadline and not (rows and rows[0]["lost"]["sequence"]):
        rows = json.loads(agent.http("/exporters")[1])["exporters"]
        time.sleep(0.1)
    (row,) = rows
    assert (row["exporter"], row["sender"], row["protocol"]) == ("127.0.0.1", "127.0.0.1", "netflow5")
    assert (row["datagrams"], row["flows"]) == (2, 60)
    assert row["lost"] == {"sequence": 30, "template_missing": 0, "undecodable": 0, "socket_drops": 0}


def test_an_agent_that_is_killed_between_a_template_and_its_data_loses_no_record(river):
    agent = river.agent2
    elements = [(8, 4), (12, 4), (1, 4), (2, 4)]
    template = struct.pack(">HH", 256, len(elements)) + b"".join(struct.pack(">HH", *e) for e in elements)
    data = b"".join(struct.pack(">4s4sII", bytes([10, 77, 0, i]), bytes([10, 77, 1, 1]), 1000, 1) for i in range(50))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        exporter.bind(("127.0.0.1", 0))
        exporter.connect(("127.0.0.1", river.udp_port("agent2")))
        exporter.send(ipfix(0, (2, template)))
        agent.counts("weir_agent_templates_written_total", 1)
        agent.restart()
        exporter.connect(("127.0.0.1", river.udp_port("agent2")))
        exporter.send(ipfix(0, (256, data)))
        agent.counts("weir_agent_flows_decoded_total", 50, protocol="ipfix")
    assert agent.counter("weir_agent_templates_recalled_total") == 1
    assert agent.counter("weir_agent_sets_parked_total") == 0
    river.settle()
    assert river.totals("1h", "net 10.77.0.0/16")[0] == 50


def resident_bytes(program):
    return int(Path(f"/proc/{program.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_exporters_stay_inside_the_memory_that_their_agent_was_given(tmp_path):
    most = {"batches": 4 << 20, "queue": 2 << 20, "cache": 2 << 20}
    options = {name: f"{size >> 20}MiB" for name, size in most.items()}
    with River(tmp_path, aggregators=1, options={"agent": options}) as river:
        agent = river.agent1
        sanitized = "libasan" in Path(f"/proc/{agent.process.pid}/maps").read_text()
        flows, parcel = 200000, 256 << 10  # a queue is overrun by the parcel that filled it
        generator = river.generator(flows, 60000, format="ipfix", exporters=1000, ipv6=10)

        def inside():
            assert agent.counter("weir_agent_batches_memory_bytes") <= most["batches"]
            assert agent.counter("weir_agent_queue_bytes") <= most["queue"] + parcel
            assert agent.counter("weir_agent_cache_bytes") <= most["cache"]
            assert sanitized or agent.counter("weir_agent_resident_bytes") < 40 << 20
            return agent.counter("weir_agent_flows_decoded_total") >= flows

        wait_for("all flows to be decoded", inside)
        sent = sent_by(generator)
        river.settle()
        assert agent.counter("weir_agent_batches_closed_total", cause="memory") > 0, "4 MiB are less than they would like"
        assert agent.counter("weir_agent_flows_dropped_total") == 0
        assert river.totals("3h") == tuple(sent[key] for key in ("flows", "packets", "bytes"))
        assert agent.counter("weir_agent_resident_bytes") == pytest.approx(resident_bytes(agent), rel=0.1)
        wait_for("what is idle to be given back", lambda: agent.counter("weir_agent_batches_memory_bytes") == 0)
