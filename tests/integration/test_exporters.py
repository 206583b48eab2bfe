"""What operators see of their exporters, from the datagrams to the command."""

import csv
import io
import socket
import struct
import time

import pytest

from netflow import Netflow5, ipfix, ipfix_template
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


def rows_of(river, address):
    return river.ask("exporters", "-t", "1h", f"exporter {address}")["rows"]


def test_an_exporter_that_sends_nothing_to_count_is_listed_too(river):
    record = struct.pack(">I", 1) * 4
    send_from(river, "127.0.9.2", [ipfix(n, (300, record)) for n in range(6)])  # nobody ever says what 300 is
    (row,) = wait_for("the exporter without templates", lambda: rows_of(river, "127.0.9.2"), every_s=0.5)
    assert (row["protocol"], row["domain"], row["flows"], row["templates"], row["sets_waiting"]) == ("ipfix", 7, 0, 0, 6)
    assert row["lost_templates"] == 0, "they may still be decoded"
    assert "last_flows" not in row and "sampling" not in row

    send_from(river, "127.0.9.3", [b"\xde\xad\xbe\xef" * 40] * 3)  # no protocol of ours
    (row,) = wait_for("the sender of garbage", lambda: rows_of(river, "127.0.9.3"), every_s=0.5)
    assert (row["protocol"], row["domain"], row["flows"], row["lost_undecodable"]) == ("unknown", 0, 0, 3)

    exporter = Netflow5()
    send_from(river, "127.0.9.4", [exporter.datagram(30)[:-10] for _ in range(4)])
    seen = lambda: [(row["protocol"], row["flows"], row["lost_undecodable"]) for row in rows_of(river, "127.0.9.4")]
    wait_for(lambda: f"the exporter whose datagrams are cut: {seen()}", lambda: seen() == [("netflow5", 4 * 29, 4)], every_s=0.5)

    answer = river.ask("top", "-g", "exporter", "-t", "1h", "exporter 127.0.9.2 or exporter 127.0.9.3")
    assert answer["rows"] == [] and answer["meta"]["lost"]["undecodable"] == 3
    assert not answer["meta"]["sampling_unknown"]


def test_what_was_lost_is_told_when_the_agent_stops(tmp_path):
    with River(tmp_path, aggregators=1) as river:
        send_from(river, "127.0.9.5", [ipfix(n, (300, b"1234")) for n in range(3)] + [b"garbage"])
        river.agent1.counts("weir_agent_datagrams_total", 4)
        assert river.agent1.stop() == 0
        river.agent1.start()  # what it left in the spool

        def told():
            rows = rows_of(river, "127.0.9.5")
            return rows if len(rows) == 2 else None

        rows = wait_for("what was lost", told, every_s=0.5)
        assert {row["protocol"]: (row["lost_templates"], row["lost_undecodable"]) for row in rows} == {"ipfix": (3, 0), "unknown": (0, 1)}


def why(river, address, *words):
    return river.ask("exporters", "why", address, "-t", "1h", *words)["rows"]


def test_every_reason_to_drop_is_explained_with_the_newest_example(tmp_path):
    """Garbage, cut datagrams, an unknown version, templates that never come or were withdrawn, and what no list names."""
    options = {"agent": {"exporters": ["127.0.8.0/24", "127.0.9.0/25"]}}
    with River(tmp_path, aggregators=2, options=options) as river:
        exporter = Netflow5()
        garbage = bytes(range(40, 240))
        cut = [exporter.datagram(30)[:-10] for _ in range(3)]
        exporter.datagram(30)  # lost on its way
        whole = exporter.datagram(30)
        other_version = struct.pack(">HHI", 8, 1, 99)
        never = [ipfix(n, (300, struct.pack(">II", 77, n))) for n in range(5)]
        template = ipfix_template(256, (8, 4), (12, 4), (1, 4), (2, 4))
        withdrawal = 2, struct.pack(">HH", 256, 0)
        record = 256, struct.pack(">4s4sII", bytes(4), bytes(4), 1, 1)
        send_from(river, "127.0.8.1", [garbage, other_version, garbage[:3]])
        send_from(river, "127.0.8.2", [*cut, whole])
        send_from(river, "127.0.8.3", never)
        send_from(river, "127.0.8.4", [ipfix(0, template, record), ipfix(1, withdrawal), ipfix(1, record)])
        send_from(river, "127.0.9.200", [garbage])
        river.agent1.counts("weir_agent_datagrams_total", 3 + 4 + 5 + 3)
        river.agent1.counts("weir_agent_datagrams_denied_total", 1)
        river.agent1.stop()  # gives up what waits for a template, and tells
        river.agent1.start()

        def told():
            found = {address: why(river, address) for address in (*(f"127.0.8.{n}" for n in range(1, 5)), "127.0.9.200")}
            return found if sum(map(len, found.values())) >= 7 else None

        found = wait_for("the reasons", told, every_s=0.5)
        reasons = {(address, row["reason"]): row for address, rows in found.items() for row in rows}
        assert {key: (row["count"], row["unit"]) for key, row in reasons.items()} == {
            ("127.0.8.1", "version"): (2, "datagrams"),
            ("127.0.8.1", "short"): (1, "datagrams"),
            ("127.0.8.2", "count"): (3, "datagrams"),
            ("127.0.8.2", "sequence"): (30, "records"),
            ("127.0.8.3", "template_missing"): (5, "sets"),
            ("127.0.8.4", "template_withdrawn"): (1, "sets"),
            ("127.0.9.200", "denied"): (1, "datagrams"),
        }
        examples = {key: (row.get("example_bytes"), row.get("example")) for key, row in reasons.items()}
        assert examples == {
            ("127.0.8.1", "version"): (8, other_version.hex()),
            ("127.0.8.1", "short"): (3, garbage[:3].hex()),
            ("127.0.8.2", "count"): (len(cut[2]), cut[2][:64].hex()),
            ("127.0.8.2", "sequence"): (None, None),
            ("127.0.8.3", "template_missing"): (12, struct.pack(">HHII", 300, 12, 77, 4).hex()),
            ("127.0.8.4", "template_withdrawn"): (20, (struct.pack(">HH", 256, 20) + record[1]).hex()),
            ("127.0.9.200", "denied"): (200, garbage[:64].hex()),
        }
        assert all(row["first"] <= row["last"] and row["advice"] for row in reasons.values())

        # What is explained is what is counted.
        rows = river.ask("exporters", "-t", "1h")["rows"]
        lost = {row["exporter"]: (row["lost_undecodable"], row["lost_templates"], row["lost_sequence"]) for row in rows}
        assert lost == {"127.0.8.1": (3, 0, 0), "127.0.8.2": (3, 0, 30), "127.0.8.3": (0, 5, 0), "127.0.8.4": (0, 1, 0), "127.0.9.200": (0, 0, 0)}

        text = river.weir("exporters", "why", "127.0.8.3", "-t", "1h").stdout
        assert "5 sets: template_missing" in text and "012c000c 0000004d 00000004" in text and "-> " in text, text
        text = river.weir("exporters", "why", "127.0.8.99", "-t", "1h").stdout
        assert "not heard in this time" in text, text
        assert len(why(river, "127.0.8.0/24", "protocol netflow5")) == 2
        (row,) = csv.DictReader(io.StringIO(river.weir("exporters", "why", "127.0.8.4", "-t", "1h", "-o", "csv").stdout))
        assert row["reason"] == "template_withdrawn"
