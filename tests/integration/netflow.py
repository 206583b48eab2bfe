"""NetFlow v5 and IPFIX datagrams whose content a test knows."""

import ipaddress
import struct
import time


class Netflow5:
    """An exporter's memory: its clock and its sequence number."""

    def __init__(self, engine=0):
        self.sequence = 0
        self.engine = engine
        self.booted_ms = int(time.time() * 1000) - 3_600_000
        self.flows = self.packets = self.bytes = 0

    def datagram(self, count=30, src="10.1.0.1", dst="10.2.0.1", packets=10, octets=1500):
        """One datagram of @count flows that ended now; src and dst ports count up."""
        now_ms = int(time.time() * 1000)
        uptime = now_ms - self.booted_ms
        header = struct.pack(
            "!HHIIIIBBH", 5, count, uptime, now_ms // 1000, now_ms % 1000 * 1_000_000, self.sequence, 0, self.engine, 0
        )
        records = b"".join(
            struct.pack(
                "!4s4s4sHHIIIIHHBBBBHHBBH",
                ipaddress.IPv4Address(src).packed,
                ipaddress.IPv4Address(dst).packed,
                b"\0" * 4,
                1, 2, packets, octets, uptime - 1000, uptime - 10,
                1024 + (self.sequence + i) % 60000, 443, 0, 0x1B, 6, 0, 0, 0, 24, 24, 0,
            )
            for i in range(count)
        )  # fmt: skip
        self.sequence += count
        self.flows += count
        self.packets += count * packets
        self.bytes += count * octets
        return header + records


def ipfix(sequence, *sets, domain=7, exported=None):
    """An IPFIX message of (set id, content) pairs, exported now or at another time."""
    body = b"".join(struct.pack(">HH", number, 4 + len(content)) + content for number, content in sets)
    return struct.pack(">HHIII", 10, 16 + len(body), int(exported or time.time()), sequence, domain) + body


def ipfix_template(number, *elements):
    """The set of one template of (element, bytes) pairs."""
    return 2, struct.pack(">HH", number, len(elements)) + b"".join(struct.pack(">HH", *e) for e in elements)
