"""Streams over lossy links, made of our own captures: what came late, twice, after a reboot, over the wrap of the count or
before its template is no loss; and 200 lost records are 200.

Sequence numbers and clocks are written anew, as RFC 3954, RFC 7011 and sFlow version 5 count them."""

import random
import struct

import pytest

import conform

U32 = 1 << 32
START = 1_000_000  # the first sequence number
PROTOCOLS = ("softflowd_v5", "nfprobe_v9", "softflowd_ipfix", "sfprobe_vlan")


def payloads(name):
    """The datagrams of a capture (raw IPv4, no options) with the flows and other records in each."""
    path = next((conform.HERE / "captures").glob(f"{name}*.pcap"))
    data, at, found = path.read_bytes(), 24, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        found.append(data[at + 16 + 28 : at + 16 + size])
        at += 16 + size
    seen = conform.decode(path)
    return [(p, len(s["flows"]) + s["counts"].get("options_records", 0)) for p, s in zip(found, seen)]


def patched(payload, *numbers):
    payload = bytearray(payload)
    for at, number in numbers:
        struct.pack_into("!I", payload, at, number % U32)
    return bytes(payload)


class Stream:
    """@count datagrams in the order in which they were sent; .units is what each advances the sequence by."""

    def __init__(self, name, count=300, first=START, uptime_ms=50_000_000, begin_s=1_700_000_000):
        self.name, self.datagrams, self.records = name, [], []
        self.samples = 0
        source = payloads(name)
        # NetFlow v9 counts datagrams: those of equal size tell how many records a lost one had.
        if name.endswith("v9"):
            source = [source[0]] + [next(s for s in source[1:] if s[1] == 5)] * (count - 1)
        if name.endswith("v5"):  # ten records each
            source = [(struct.pack("!HH", 5, 10) + payload[4 : 24 + 480], 10) for payload, _ in source]
        sequence = first
        for i in range(count):
            payload, records = source[i % len(source)]
            clock = (uptime_ms + i * 100, begin_s + i // 10)
            self.datagrams.append(self.number(payload, records, sequence, *clock))
            self.records.append(records)
            sequence += {"nfprobe_v9": 1, "sfprobe_vlan": 1}.get(name, records)

    def number(self, payload, records, sequence, uptime_ms, second):
        if self.name.endswith("v5"):
            return patched(payload, (4, uptime_ms), (8, second), (16, sequence))
        if self.name.endswith("v9"):
            return patched(payload, (4, uptime_ms), (8, second), (12, sequence))
        if self.name.endswith("ipfix"):
            return patched(payload, (4, second), (8, sequence))
        numbers, at = [(16, sequence), (20, uptime_ms)], 28  # sFlow; the agent has an IPv4 address
        for _ in range(struct.unpack_from("!I", payload, 24)[0]):
            self.samples += 1  # of one data source: the number of the sample, and its pool at one in ten
            numbers += [(at + 8, START + self.samples), (at + 20, (START + self.samples) * 10)]
            at += 8 + struct.unpack_from("!I", payload, at + 4)[0]
        return patched(payload, *numbers)


def counted(datagrams, tmp_path):
    """What was counted in all, and the flows."""
    path = tmp_path / "stream.pcap"
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for i, payload in enumerate(datagrams):
            size = 28 + len(payload)
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, i % 65536, 0, 64, 17, 0, bytes([192, 0, 2, 7]), bytes([192, 0, 2, 9]))
            packet = ip + struct.pack("!HHHH", 40000, 2055, 8 + len(payload), 0) + payload
            out.write(struct.pack("<IIII", 1_700_000_000 + i // 1000, i % 1000 * 1000, size, size) + packet)
    total = {}
    *seen, last = conform.decode_and_settle(path)
    assert not list(conform.unbalanced(seen))
    for counts in [datagram["counts"] for datagram in seen] + [last["settled"]]:
        for what, count in counts.items():
            total[what] = total.get(what, 0) + count
    total["flows"] = sum(len(datagram["flows"]) for datagram in seen)
    return total


def without(stream, lost):
    """Take datagrams with @lost records out of the middle, no two of them neighbours."""
    sums = {0: []}  # records -> places
    places = list(range(10, len(stream.datagrams) - 10, 2))
    random.Random(3).shuffle(places)
    for place in places:
        for total, chosen in list(sums.items()):
            sums.setdefault(total + stream.records[place], [*chosen, place])
        if lost in sums:
            break
    assert lost in sums, f"no datagrams with {lost} records in all"
    return [d for i, d in enumerate(stream.datagrams) if i not in sums[lost]]


def shuffled(datagrams, window=16, seed=5):
    """In blocks of @window any order."""
    pick, out = random.Random(seed), []
    for at in range(0, len(datagrams), window):
        block = datagrams[at : at + window]
        pick.shuffle(block)
        out += block
    return out


def doubled(datagrams):
    return [d for i, datagram in enumerate(datagrams) for d in [datagram] * (1 + (i % 7 == 3))]


@pytest.fixture(params=PROTOCOLS)
def name(request):
    return request.param


def test_a_whole_stream_has_lost_nothing(name, tmp_path):
    total = counted(Stream(name).datagrams, tmp_path)
    assert total.get("sequence_lost", 0) == 0
    assert total["flows"] > 300


def test_a_stream_out_of_order_has_lost_nothing(name, tmp_path):
    stream = Stream(name).datagrams
    total = counted(stream[:1] + shuffled(stream[1:]), tmp_path)
    assert total.get("sequence_lost", 0) == 0
    assert total["sequence_late"] > 50


def test_datagrams_that_come_twice_are_no_loss(name, tmp_path):
    stream = Stream(name).datagrams
    total = counted(doubled(stream), tmp_path)
    assert total.get("sequence_lost", 0) == 0
    assert total["sequence_repeated"] == len(doubled(stream)) - len(stream)
    assert total["flows"] == counted(stream, tmp_path)["flows"]


def test_a_reboot_is_no_loss(name, tmp_path):
    before = Stream(name, count=150).datagrams
    after = Stream(name, count=150, first=0, uptime_ms=1000, begin_s=1_700_000_120).datagrams
    total = counted(before + after, tmp_path)
    assert total.get("sequence_lost", 0) == 0
    assert total["sequence_restarts"] == 1


def test_a_count_that_wraps_is_no_loss(name, tmp_path):
    total = counted(Stream(name, first=U32 - 137).datagrams, tmp_path)
    assert total.get("sequence_lost", 0) == 0
    assert total.get("sequence_restarts", 0) == 0


@pytest.mark.parametrize("name", ["nfprobe_v9", "softflowd_ipfix"])
def test_data_before_their_template_are_no_loss_and_are_decoded_when_it_comes(name, tmp_path):
    templates, *data = Stream(name, count=5).datagrams
    late = counted([*data, templates], tmp_path)
    assert late.get("sequence_lost", 0) == 0
    assert late["sets_parked"] == late["sets_replayed"] > 0
    assert late["flows"] == counted([templates, *data], tmp_path)["flows"]


def test_200_lost_records_are_200(name, tmp_path):
    total = counted(without(Stream(name, count=400), 200), tmp_path)
    assert total["sequence_lost"] == 200


def test_200_lost_records_are_200_among_what_came_late_and_twice(name, tmp_path):
    stream = without(Stream(name, count=400), 200)
    total = counted(stream[:1] + shuffled(doubled(stream[1:])), tmp_path)
    assert total["sequence_lost"] == 200
