"""Elements that an operator names come back in answers, from exporters of any enterprise."""

import csv
import io
import ipaddress
import struct
import time

from netflow import Netflow5, ipfix
from river import River

PEN = 32473  # for documentation (RFC 5612)
NAMED = [
    {"name": "tenant", "pen": PEN, "id": 1, "type": "string"},
    {"name": "score", "pen": PEN, "id": 2, "type": "signed"},
    {"name": "vni", "id": 351},
]


def template():
    plain = [(8, 4), (12, 4), (4, 1), (1, 8), (2, 8), (152, 8), (153, 8)]
    fields = b"".join(struct.pack(">HH", *f) for f in plain)
    for element, size in ((1, 0xFFFF), (2, 4)):
        fields += struct.pack(">HHI", 0x8000 | element, size, PEN)
    return 2, struct.pack(">HH", 256, 10) + fields + struct.pack(">HH", 351, 8)


def records(rows):
    """@rows: (source address, tenant, score, VNI)."""
    now = int(time.time() * 1000)
    body = b""
    for src, tenant, score, vni in rows:
        addresses = ipaddress.IPv4Address(src).packed + ipaddress.IPv4Address("10.2.0.1").packed
        body += addresses + struct.pack(">BQQQQ", 17, 100, 1, now - 50, now)
        body += bytes([len(tenant)]) + tenant + struct.pack(">iQ", score, vni)
    return 256, body


def test_elements_that_the_operator_named_come_back_as_table_json_and_csv(tmp_path):
    rows = [("10.1.0.1", b"blue", -7, 4097), ("10.1.0.2", b'red, "r"', 2**31 - 1, 5), ("10.1.0.3", b"", 0, 0)]
    with River(tmp_path, aggregators=1, options={"agent": {"extra": NAMED}}) as river:
        river.send([ipfix(0, template(), records(rows)), Netflow5().datagram(count=2, src="10.9.0.1")])
        river.settle()

        answer = river.ask("flows", "-n", "100")
        found = {row["src_ip"]: row for row in answer["rows"]}
        assert len(answer["rows"]) == 5
        assert found["10.1.0.1"]["extra.tenant"] == "blue"
        assert found["10.1.0.1"]["extra.score"] == -7
        assert found["10.1.0.1"]["extra.vni"] == 4097
        assert found["10.1.0.2"]["extra.tenant"] == 'red, "r"'
        assert found["10.1.0.2"]["extra.score"] == 2**31 - 1
        assert "extra.tenant" not in found["10.1.0.3"], "an empty value is none"
        assert found["10.1.0.3"]["extra.score"] == 0
        assert not [key for key in found["10.9.0.1"] if key.startswith("extra.")]
        types = {column["name"]: column["type"] for column in answer["columns"]}
        assert (types["extra.tenant"], types["extra.score"], types["extra.vni"]) == ("text", "integer", "integer")

        table = river.weir("flows", "-n", "100").stdout.splitlines()
        assert table[0].split()[-3:] == ["EXTRA.SCORE", "EXTRA.TENANT", "EXTRA.VNI"]
        assert [line for line in table if "10.1.0.1" in line][0].split()[-3:] == ["-7", "blue", "4097"]

        fields = "src_ip,extra.vni,extra.nobody,extra.tenant"
        text = river.weir("flows", "-n", "100", "-o", "csv", "--fields", fields).stdout
        lines = {row["src_ip"]: row for row in csv.DictReader(io.StringIO(text))}
        assert list(lines["10.1.0.2"].values()) == ["10.1.0.2", "5", "", 'red, "r"']
        assert list(lines["10.9.0.1"].values()) == ["10.9.0.1", "", "", ""]

        assert river.agent1.counter("weir_agent_elements_skipped_total") == 0
        assert river.ask("top", "-g", "src_ip", "-n", "10")["meta"]["total"]["flows"] == 5
