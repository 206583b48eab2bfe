"""What the makers' documents say that a flow log holds, read without Weir, in the names of our fields.

    AWS    Amazon VPC User Guide, "Flow log records"
    Azure  Network Watcher, "NSG flow logs" (versions 1 and 2) and "Virtual network flow logs" (version 4)
    GCP    Google Cloud VPC, "VPC Flow Logs record format"
    Zeek   Book of Zeek, "conn.log"

A reading gives an entry for each line that something comes of (number -> Entry). A flow has the fields that the log
says something of; "exporter" and "domain" are who saw it (agent/feed/feed.h).
"""

import collections
import datetime
import decimal
import ipaddress
import json
import re

ACCEPTED, DROPPED, DENIED = 64, 128, 129  # forwardingStatus, RFC 7270 4.12
FROM_EXPORTER = 4  # enum weir_sampling_origin
UNSAMPLED = {"sampling": 1, "sampling_origin": FROM_EXPORTER}


class Bad(Exception):
    """A record that breaks its maker's format; the text is the name of what is wrong."""


class Entry:
    def __init__(self):
        self.flows, self.told, self.bad = [], collections.Counter(), []


class Reading(collections.defaultdict):
    def __init__(self, entry=Entry):
        super().__init__(entry)

    def attempt(self, line, take):
        """Let @take add to the line's entry, or say that it is bad."""
        try:
            take(self[line])
        except Bad as bad:
            self[line].bad.append(str(bad))


def number(name, text, most=2**63 - 1):
    if not re.fullmatch(r"[0-9]{1,20}", str(text)) or int(text) > most:
        raise Bad(name)
    return int(text)


def address(name, text):
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        raise Bad(name) from None
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def mac(text):
    return int(re.sub("[:-]", "", text), 16)


def milliseconds(name, text):
    """Seconds with decimals; the clocks of loggers have microseconds."""
    try:
        seconds = decimal.Decimal(text).quantize(decimal.Decimal("0.000001"))
    except decimal.InvalidOperation:
        raise Bad(name) from None
    return int(seconds * 1000)


def exporter(kind, low):
    return str(ipaddress.ip_address(f"fd57:4549:5200:{kind}::") + low)


# ---- AWS ----

VERSION_2 = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"


def low_bits(id):
    return int(id.rpartition("-")[2], 16) & 0xFFFFFFFF


def aws_flow(row):
    """Who: the addresses of the packets where there are some; the others are those of the interface."""
    egress = row.get("flow-direction") == "egress"
    src = "pkt-srcaddr" if "pkt-srcaddr" in row else "srcaddr"
    dst = "pkt-dstaddr" if "pkt-dstaddr" in row else "dstaddr"
    flow = {"src_ip": address(src, row.get(src, "")), "dst_ip": address(dst, row.get(dst, "")), **UNSAMPLED}
    for field, name, most in (
        ("src_port", "srcport", 0xFFFF),
        ("dst_port", "dstport", 0xFFFF),
        ("proto", "protocol", 0xFF),
        ("packets", "packets", 2**63 - 1),
        ("bytes", "bytes", 2**63 - 1),
        ("tcp_flags", "tcp-flags", 0xFFFF),
    ):
        flow[field] = number(name, row[name], most) if name in row else 0
    flow["t_first"], flow["t_last"] = number("start", row["start"]) * 1000, number("end", row["end"]) * 1000
    flow["action"] = {"ACCEPT": ACCEPTED, "REJECT": DENIED, None: 0}.get(row.get("action"))
    if flow["action"] is None:
        raise Bad("action")
    interface = low_bits(row["interface-id"])
    flow |= {"dir": int(egress), "if_out" if egress else "if_in": interface, "if_in" if egress else "if_out": 0}
    flow["exporter"] = exporter(1, int(row["account-id"], 16))  # its digits, readable
    flow["domain"] = low_bits(row["vpc-id"]) if "vpc-id" in row else 0
    return flow


def aws(text):
    reading, names = Reading(), VERSION_2.split()
    for line, content in enumerate(text.splitlines(), 1):
        words = content.split()
        if "srcaddr" in words or "pkt-srcaddr" in words:
            names = words
            continue
        if not words:
            continue

        def take(entry):
            if len(words) != len(names):
                raise Bad("columns")
            row = {name: word for name, word in zip(names, words) if word != "-"}
            status = row.get("log-status", "OK")
            if status in ("NODATA", "SKIPDATA"):
                entry.told[status.lower()] += 1
            elif status == "OK":
                entry.flows.append(aws_flow(row))
            else:
                raise Bad("log-status")

        reading.attempt(line, take)
    return reading


# ---- Azure ----


def both_ways(flow, back_packets, back_bytes):
    """(whether it is the way back, flow) for each direction that had packets; one at least."""
    back = {**flow, "packets": back_packets, "bytes": back_bytes}
    for a, b in (("src_ip", "dst_ip"), ("src_port", "dst_port"), ("src_mac", "dst_mac")):
        back[a], back[b] = flow[b], flow[a]
    answered = back_packets > 0 or back_bytes > 0
    if flow["packets"] or flow["bytes"] or not answered:
        yield False, flow
    if answered:
        yield True, back


def azure_tuple(entry, text, hardware, vnet):
    parts = text.split(",")
    if len(parts) != 13 and (vnet or len(parts) != 8):
        raise Bad("tuple")
    stamp, src, dst, sport, dport, proto, way, seven = parts[:8]
    state = seven if vnet else parts[8] if len(parts) > 8 else ""
    denied = seven == "D"
    if way not in ("I", "O"):
        raise Bad("direction")
    time = number("time", stamp) * (1 if vnet else 1000)
    counters = [number("counter", part or 0) for part in parts[9:]] or [0] * 4
    flow = {
        "t_first": time,
        "t_last": time,
        "src_ip": address("source", src),
        "dst_ip": address("destination", dst),
        "src_port": number("source port", sport or 0, 0xFFFF),
        "dst_port": number("destination port", dport or 0, 0xFFFF),
        "proto": number("protocol", proto, 255) if vnet else {"T": 6, "U": 17}[proto],
        "dir": int(way == "O"),
        "src_mac": hardware if way == "O" else 0,
        "dst_mac": hardware if way == "I" else 0,
        "packets": counters[0],
        "bytes": counters[1],
        "action": DENIED if denied else ACCEPTED,
        **UNSAMPLED,
    }
    if state == "B" and not denied:
        entry.told["begun"] += 1
        return
    entry.flows += [{**one, "dir": flow["dir"] ^ back} for back, one in both_ways(flow, *counters[2:])]


def azure(text):
    """Records in order, of a blob or one after the other: all in one entry, because lines mean nothing in them."""
    reading, at, decoder, records = Reading(), 0, json.JSONDecoder(), []
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        records += value.get("records", [value])
    for record in records:
        if "flowRecords" in record:
            groups = [(record["macAddress"], g) for acl in record["flowRecords"]["flows"] for g in acl["flowGroups"]]
        elif "flows" in record.get("properties", {}):
            groups = [(g["mac"], g) for rule in record["properties"]["flows"] for g in rule["flows"]]
        else:
            reading[0].told["no_flow"] += 1
            continue
        for hardware, group in groups:
            for text_of in group["flowTuples"]:
                reading.attempt(0, lambda entry: azure_tuple(entry, text_of, mac(hardware), "flowRecords" in record))
    return reading


# ---- GCP ----


def rfc3339_ms(name, text):
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", text)
    if not found:
        raise Bad(name)
    whole = datetime.datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return int(whole.timestamp()) * 1000 + int(((found[2] or "") + "000")[:3])


def gcp_flow(payload):
    connection, dropped = payload["connection"], payload.get("disposition") == "DROPPED"
    counted = "dropped" if dropped else "sent"
    reporter = payload.get("reporter", "")
    return {
        "src_ip": address("connection.src_ip", connection.get("src_ip", "")),
        "dst_ip": address("connection.dest_ip", connection.get("dest_ip", "")),
        "src_port": number("src_port", connection.get("src_port", 0), 0xFFFF),
        "dst_port": number("dest_port", connection.get("dest_port", 0), 0xFFFF),
        "proto": number("protocol", connection.get("protocol", 0), 0xFF),
        "packets": number("packets", payload.get(f"packets_{counted}", 0)),
        "bytes": number("bytes", payload.get(f"bytes_{counted}", 0)),
        "t_first": rfc3339_ms("start_time", payload["start_time"]),
        "t_last": rfc3339_ms("end_time", payload["end_time"]),
        "src_as": payload.get("src_location", {}).get("asn", 0),
        "dst_as": payload.get("dest_location", {}).get("asn", 0),
        "tos": payload.get("network_service", {}).get("dscp", 0) << 2,
        "dir": int(reporter.startswith("SRC")),
        "action": DROPPED if dropped else ACCEPTED,
        "sampling": 0,  # it is sampled, and does not say how
    }


def gcp(text):
    reading = Reading()
    for line, content in enumerate(text.splitlines(), 1):

        def take(entry):
            try:
                payload = json.loads(content)["jsonPayload"]
            except ValueError:
                raise Bad("JSON") from None
            if "connection" in payload:
                entry.flows.append(gcp_flow(payload))
            else:
                entry.told["no_flow"] += 1

        reading.attempt(line, take)
    return reading


# ---- Zeek ----

ZEEK_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58, "sctp": 132, "unknown_transport": 0}
LETTERS = {"s": 0x02, "h": 0x12, "a": 0x10, "d": 0x10, "f": 0x01, "r": 0x04}  # of the history
ERRORS = {1: (3, 4, 5, 11, 12), 58: range(128)}  # ICMP messages with a code that says something, and no answer


def zeek_flows(row):
    """The connection, from the originator and back. Bytes are those of IP where they are counted."""
    counted = "{}_ip_bytes" if "orig_ip_bytes" in row else "{}_bytes"
    start = milliseconds("ts", row["ts"])
    proto = ZEEK_PROTOCOLS.get(row.get("proto", "unknown_transport"))
    if proto is None:
        raise Bad("proto")
    if row.get("ip_proto"):
        proto = number("ip_proto", row["ip_proto"], 255)
    ports = {side: number(f"id.{side}_p", row.get(f"id.{side}_p", 0), 0xFFFF) for side in ("orig", "resp")}
    icmp = proto in ERRORS
    flow = {
        "src_ip": address("id.orig_h", row.get("id.orig_h", "")),
        "dst_ip": address("id.resp_h", row.get("id.resp_h", "")),
        "src_port": 0 if icmp else ports["orig"],
        "dst_port": 0 if icmp else ports["resp"],
        "proto": proto,
        "packets": number("orig_pkts", row.get("orig_pkts", 0)),
        "bytes": number(counted.format("orig"), row.get(counted.format("orig"), 0)),
        "t_first": start,
        "t_last": start + milliseconds("duration", row.get("duration", 0)),
        "src_mac": mac(row.get("orig_l2_addr", "0")),
        "dst_mac": mac(row.get("resp_l2_addr", "0")),
        "vlan": number("vlan", row.get("vlan", 0), 4095),
        **UNSAMPLED,
    }
    answer = number("resp_pkts", row.get("resp_pkts", 0)), number(counted.format("resp"), row.get(counted.format("resp"), 0))
    for back, one in both_ways(flow, *answer):
        flags = 0
        for letter in row.get("history", ""):
            flags |= LETTERS.get(letter.lower(), 0) if letter.islower() == back else 0
        type, code = (ports["resp"], ports["orig"]) if back else (ports["orig"], ports["resp"])
        yield {
            **one,
            "tcp_flags": flags if proto == 6 else 0,
            "icmp": (type << 8) + (code if type in ERRORS[proto] else 0) if icmp else 0,
        }


def zeek_rows(text):
    """(line, row or None for what is no row); of JSON, names as Zeek has them, whoever handed it on."""
    names = []
    for line, content in enumerate(text.splitlines(), 1):
        if content.startswith("#fields"):
            names = content.split("\t")[1:]
        elif content.startswith("{"):
            row = json.loads(content, parse_float=decimal.Decimal)
            yield line, {re.sub("^id_(orig|resp)_", r"id.\1_", name): value for name, value in row.items()}
        elif content and not content.startswith("#"):
            cells = content.split("\t")
            yield line, {n: c for n, c in zip(names, cells) if c != "-"} if len(cells) == len(names) else None


def zeek(text):
    reading = Reading()
    for line, row in zeek_rows(text):

        def take(entry):
            if row is None:
                raise Bad("columns")
            if row.get("_path", row.get("@stream", "conn")) != "conn":
                entry.told["no_flow"] += 1
            else:
                entry.flows += zeek_flows(row)

        reading.attempt(line, take)
    return reading
