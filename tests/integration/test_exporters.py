"""What operators see of their exporters, from the datagrams to the command."""

import csv
import io
import socket
import struct
import time

import pytest

from netflow import ipfix, ipfix_template
from river import River, wait_for


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    with River(tmp_path_factory.mktemp("river"), aggregators=2) as river:
        yield river


def send_from(river, address, datagrams, pause_s=0.001):
    """Send as an exporter with a loopback address of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
        exporter.bind((address, 2056))  # one port: one session
        for datagram in datagrams:
            exporter.sendto(datagram, ("127.0.0.1", river.udp_port()))
            time.sleep(pause_s)


def test_templates_sampling_and_the_clock_of_an_exporter_are_shown(river):
    flows = ipfix_template(256, (8, 4), (12, 4), (1, 4), (2, 4), (34, 4))
    others = ipfix_template(257, (27, 16), (28, 16), (1, 4), (2, 4))
    record = struct.pack(">4s4sIII", bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 1500, 1, 64)

    def one_more(sequence=iter(range(10**6))):
        """An exporter whose clock is 90 s ahead sends on until the agent has taken a look at its clock."""
        send_from(river, "127.0.9.1", [ipfix(next(sequence), flows, others, (256, record), exported=time.time() + 90)])
        rows = river.ask("exporters", "-t", "1h", "exporter 127.0.9.1")["rows"]
        return rows if rows and "clock_skew_ms" in rows[0] else None

    (row,) = wait_for("the exporter to be listed", one_more, every_s=0.5)
    assert (row["exporter"], row["domain"], row["protocol"], row["agent"]) == ("127.0.9.1", 7, "ipfix", "agent1")
    assert (row["templates"], row["sets_waiting"]) == (2, 0)
    assert (row["sampling"], row["sampling_origin"]) == (64, "record")
    assert 88_000 <= row["clock_skew_ms"] <= 90_000, "the header has whole seconds"
    assert row["last_flows"] == row["last_heard"]

    (table,) = csv.DictReader(io.StringIO(river.weir("exporters", "-t", "1h", "-o", "csv", "exporter 127.0.9.1").stdout))
    assert (table["templates"], table["sampling_origin"]) == ("2", "record") and int(table["clock_skew_ms"]) >= 88_000
    text = river.weir("exporters", "-t", "1h", "exporter 127.0.9.1").stdout
    assert "TEMPLATES" in text and "CLOCK_SKEW" in text, text
