"""Packet captures that we make ourselves: whole conversations between known hosts, written as a pcap file.

Real exporters (softflowd -r, pmacctd) turn the capture into NetFlow, IPFIX and sFlow. The same seed always makes the
same bytes, apart from the start time.
"""

import ipaddress
import random
import struct


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(src, dst, proto, payload, ident=0):
    """An IPv4 or IPv6 packet; the checksum of a TCP, UDP or ICMP payload is filled in."""
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    at = {6: 16, 17: 6, 1: 2, 58: 2}[proto]
    pseudo = b"" if proto == 1 else src.packed + dst.packed + struct.pack("!II", len(payload), proto)
    payload = payload[:at] + struct.pack("!H", checksum(pseudo + payload) or 0xFFFF) + payload[at + 2 :]
    if src.version == 6:
        return struct.pack("!IHBB", 0x60000000, len(payload), proto, 64) + src.packed + dst.packed + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident & 0xFFFF, 0x4000, 64, proto, 0) + src.packed + dst.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def tcp(sport, dport, seq, ack, flags, data=b""):
    return struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 65535, 0, 0) + data


def udp(sport, dport, data):
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def icmp_echo(kind, ident, seq, data):
    return struct.pack("!BBHHH", kind, 0, 0, ident, seq) + data


SYN, ACK, PSH, FIN = 0x02, 0x10, 0x08, 0x01


class Capture:
    """Packets in time order. Addresses: clients and servers, IPv4 (10.20.0.0/16) and IPv6 (2001:db8:20::/48)."""

    def __init__(self, seed=1, start=None, seconds=20.0):
        self.random = random.Random(seed)
        self.start = start
        self.seconds = seconds
        self.packets = []  # (time, IP packet)

    def _put(self, when, packet):
        self.packets.append((when, packet))

    def tcp_session(self, client, server, port, request, response):
        """A whole connection: handshake, request, response in segments of 1,000 bytes, close."""
        sport = self.random.randint(20000, 60000)
        when = self.random.uniform(0, self.seconds / 2)
        c, s = self.random.getrandbits(31), self.random.getrandbits(31)

        def say(from_client, flags, data=b""):
            nonlocal when, c, s
            when += self.random.uniform(0.0005, 0.01)
            if from_client:
                self._put(when, ip_packet(client, server, 6, tcp(sport, port, c, s, flags, data)))
                c += len(data) + (1 if flags & (SYN | FIN) else 0)
            else:
                self._put(when, ip_packet(server, client, 6, tcp(port, sport, s, c, flags, data)))
                s += len(data) + (1 if flags & (SYN | FIN) else 0)

        say(True, SYN)
        say(False, SYN | ACK)
        say(True, ACK)
        for at in range(0, request, 1000):
            say(True, PSH | ACK, b"q" * min(1000, request - at))
        for at in range(0, response, 1000):
            say(False, PSH | ACK, b"r" * min(1000, response - at))
            if at % 3000 == 0:
                say(True, ACK)
        say(True, FIN | ACK)
        say(False, FIN | ACK)
        say(True, ACK)

    def udp_exchange(self, client, server, port, request, response):
        sport = self.random.randint(20000, 60000)
        when = self.random.uniform(0, self.seconds - 0.1)
        self._put(when, ip_packet(client, server, 17, udp(sport, port, b"q" * request)))
        self._put(when + 0.01, ip_packet(server, client, 17, udp(port, sport, b"r" * response)))

    def ping(self, client, server, count):
        six = ipaddress.ip_address(client).version == 6
        ident = self.random.getrandbits(16)
        when = self.random.uniform(0, self.seconds - 1)
        for seq in range(count):
            for kind, a, b in (((128, client, server), (129, server, client)) if six else ((8, client, server), (0, server, client))):
                when += 0.01
                self._put(when, ip_packet(a, b, 58 if six else 1, icmp_echo(kind, ident, seq, b"p" * 56)))

    def office(self, sessions=120):
        """A mixed day at the office: some hosts talk much more than others, in both address families."""
        pick = self.random
        for family in (4, 6):
            clients = [f"10.20.1.{i}" if family == 4 else f"2001:db8:20:1::{i:x}" for i in range(1, 25)]
            servers = [f"10.20.2.{i}" if family == 4 else f"2001:db8:20:2::{i:x}" for i in range(1, 7)]
            for _ in range(sessions):
                client = clients[min(int(pick.expovariate(0.25)), 23)]
                server = servers[min(int(pick.expovariate(0.7)), 5)]
                self.tcp_session(client, server, pick.choice([80, 443, 445, 5432]), pick.randint(50, 1500), pick.randint(200, 40000))
            for _ in range(sessions):
                self.udp_exchange(pick.choice(clients), servers[0], 53, pick.randint(30, 60), pick.randint(60, 400))
            for server in servers:
                self.ping(clients[0], server, 3)
        return self

    def write(self, path, vlan=None):
        """Write a pcap of Ethernet frames, tagged where @vlan is given; times as given or ending now-ish (start + seconds)."""
        tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
        self.packets.sort(key=lambda item: item[0])
        with open(path, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for when, packet in self.packets:
                frame = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + tag + (b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet
                at = self.start + when
                out.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame)
        return path
