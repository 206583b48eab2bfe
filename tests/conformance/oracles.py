"""What independent decoders and the captures' own projects say is in a capture, in the names of our fields.

An oracle gives a list with one entry for each datagram, which is the list of its flows in order, or (Loose) flows that
must be somewhere in the capture. A flow is a dictionary of the fields that the oracle shows; what it does not show is
not compared. Which of several elements becomes a field (the lowest rank) is a rule of agent/decode/elements.def.
"""

import collections
import datetime
import decimal
import gzip
import ipaddress
import json
import re

U32 = 1 << 32
SFLOW_INTERNAL = 0x3FFFFFFF  # the device itself, no interface
FROM_RECORD, FROM_SAMPLER, FROM_EXPORTER = 2, 3, 4  # enum weir_sampling_origin

# Our field <- elements by rank; those of one rank are all looked at in the order of the record, and the first that is
# not zero counts.
RANKS = {
    "src_ip": [("srcaddr", "srcaddrv6")],
    "dst_ip": [("dstaddr", "dstaddrv6")],
    "next_hop": [("nexthop", "nexthopv6"), ("bgpnexthop", "bgpnexthopv6")],
    "bytes": [("octets",), ("permanent_octets",), ("initiator_octets",), ("post_octets",)],
    "packets": [("packets",), ("permanent_packets",), ("initiator_packets",), ("post_packets",)],
    "src_port": [("srcport",)],
    "dst_port": [("dstport",)],
    "proto": [("protocol",)],
    "tos": [("tos",)],
    "tcp_flags": [("tcpflags",)],
    "if_in": [("inputint",), ("ingress_physical_interface",)],
    "if_out": [("outputint",), ("egress_physical_interface",)],
    "src_as": [("srcas",)],
    "dst_as": [("dstas",)],
    "src_mask": [("srcmask",), ("srcmaskv6",)],
    "dst_mask": [("dstmask",), ("dstmaskv6",)],
    "src_mac": [("srcmac",), ("post_srcmac",)],
    "dst_mac": [("dstmac",), ("post_dstmac",)],
    "vlan": [("vlanid",), ("dot1q_vlan_id",)],
    "cvlan": [("dot1q_customer_vlan_id",)],
    "cvlan_out": [("post_dot1q_customer_vlan_id",)],
    "vlan_out": [("post_vlanid",), ("post_dot1q_vlan_id",)],
    "icmp": [("icmp_type_code_ipv4", "icmp_type_code_ipv6"), ("icmp_ipv4_type_code", "icmp_ipv6_type_code")],
    "dir": [("direction",)],
    "action": [("forwarding_status",)],
}
NONE = (0, "::")


def ranked(elements, rows=RANKS):
    """The fields of a flow of which @elements (name -> value) is known."""
    flow = {}
    for field, ranks in rows.items():
        for rank in ranks:
            values = [value for name, value in elements.items() if name in rank]
            if values:
                flow[field] = next((value for value in values if value not in NONE), values[0])
                break
    return flow


def number(text):
    if re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        return int(text.replace(":", ""), 16)
    return int(text, 0)


def address(text):
    ip = ipaddress.ip_address(text)
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def since_1970_ms(text):
    """tshark's "Aug  3, 2015 12:11:29.586000000 UTC"."""
    stamp = datetime.datetime.strptime(text.split(".")[0], "%b %d, %Y %H:%M:%S")
    return int(stamp.replace(tzinfo=datetime.timezone.utc).timestamp()) * 1000 + int(text.split(".")[1][:3])


def iso_ms(text):
    """"2015-05-02T18:38:08.280Z", with any number of decimals."""
    whole, _, part = text.rstrip("Z").partition(".")
    stamp = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(stamp.timestamp()) * 1000 + int((part + "000")[:3])


def ms(seconds):
    return int(decimal.Decimal(seconds) * 1000)


def at_uptime(export_ms, uptime_ms, then_ms):
    """RFC 3954 8: a time in ms of uptime, as time since 1970. The counter is modular: at most 2^31 ms away."""
    return export_ms + (then_ms - uptime_ms + U32 // 2) % U32 - U32 // 2


class Sampling:
    """What options records have said of the samplers of a domain; the rules of RFC 3954, RFC 7270 and PSAMP (RFC 5477)."""

    IDS = ("sampler_id", "selector_id")

    def __init__(self):
        self.of = {}
        self.wide = 0

    @staticmethod
    def rate(elements):
        interval, space = elements.get("sampling_packet_interval", 0), elements.get("sampling_packet_space", 0)
        size, population = elements.get("sampling_size", 0), elements.get("sampling_population", 0)
        if population and size and elements.get("selector_algorithm") == 3:  # n out of N
            return population // size
        if interval:
            return (interval + space) // interval
        if population and size:
            return population // size
        return elements.get("sampler_random_interval") or elements.get("sampling_interval") or 0

    def learn(self, elements):
        rate = self.rate(elements)
        ids = [elements[name] for name in self.IDS if name in elements]
        if rate and ids:
            self.of[ids[0]] = rate
        elif rate:
            self.wide = rate

    def fields(self, elements):
        rate, origin = self.rate(elements), FROM_RECORD
        if not rate:
            rate, origin = next(((self.of[elements[i]], FROM_SAMPLER) for i in self.IDS if elements.get(i) in self.of), (0, 0))
        if not rate and self.wide:
            rate, origin = self.wide, FROM_EXPORTER
        if not rate and len(set(self.of.values())) == 1:
            rate, origin = next(iter(self.of.values())), FROM_SAMPLER
        return {"sampling": rate, "sampling_origin": origin}


# ---- tshark -T json ----


class Pairs(dict):
    """A JSON object that remembers keys that came more than once: tshark repeats them. The first counts."""

    def __init__(self, pairs):
        super().__init__(reversed(pairs))
        self.pairs = pairs


def tshark_elements(node, into):
    """Element name -> value of a flow's tree; trees of the elements themselves are looked into."""
    for key, value in node.pairs:
        name = key.removeprefix("cflow.")
        if isinstance(value, Pairs):
            if key.startswith("Forwarding Status"):
                code = next((int(v) for k, v in value.pairs if k.endswith("_code")), 0)
                into.setdefault("forwarding_status", int(value["cflow.forwarding_status"]) << 6 | code)
            elif name == "timedelta_tree":
                tshark_elements(value, into)
        elif name in ("srcaddr", "dstaddr", "srcaddrv6", "dstaddrv6", "nexthop", "nexthopv6", "bgpnexthop", "bgpnexthopv6"):
            into.setdefault(name, address(value))
        elif name in ("abstimestart", "abstimeend", "sys_init_time"):
            into.setdefault(name, since_1970_ms(value))
        elif name in ("timestart", "timeend"):
            into.setdefault(name, ms(value))
        elif isinstance(value, str):
            try:
                into.setdefault(name, number(value))
            except ValueError:
                pass  # names and blobs, of which none becomes a field
    for family in ("icmp_ipv4", "icmp_ipv6"):
        if f"{family}_type" in into:
            into[f"{family}_type_code"] = into[f"{family}_type"] << 8 | into.get(f"{family}_code", 0)
    return into


SAMPLED = {
    "bytes": "sflow_245.header.frame_length", "sampling": "sflow.flow_sample.sampling_rate", "src_mac": "eth.src",
    "dst_mac": "eth.dst", "vlan": "sflow_245.vlan.in", "vlan_out": "sflow_245.vlan.out", "if_in": "sflow.flow_sample.input_interface",
    "if_out": "sflow.flow_sample.output_interface_value",
}  # fmt: skip
SAMPLED_PACKET = {
    "src_ip": ("ip.src", "ipv6.src"), "dst_ip": ("ip.dst", "ipv6.dst"), "proto": ("ip.proto", "ipv6.nxt"),
    "tos": ("ip.dsfield", "ipv6.tclass"), "src_port": ("tcp.srcport", "udp.srcport"), "dst_port": ("tcp.dstport", "udp.dstport"),
    "tcp_flags": ("tcp.flags",), "icmp_type": ("icmp.type", "icmpv6.type"), "icmp_code": ("icmp.code", "icmpv6.code"),
}  # fmt: skip


def flatten(node, into):
    """Every leaf under @node by its key; the first of several, which is the outermost header's."""
    for key, value in node.pairs:
        if isinstance(value, Pairs):
            flatten(value, into)
        elif isinstance(value, str):
            into.setdefault(key, value)
    return into


def tshark_sample(sample):
    """A flow sample: what the sample says, and the headers of the packet in it."""
    leaves = flatten(sample, {})
    flow = {"packets": 1, "sampling_origin": FROM_RECORD}
    flow |= {field: number(leaves[key]) for field, key in SAMPLED.items() if key in leaves}
    for field, keys in SAMPLED_PACKET.items():
        for key in keys:
            if key in leaves:
                flow.setdefault(field, address(leaves[key]) if field.endswith("_ip") else number(leaves[key]))
    if flow.pop("icmp_type", None) is not None:
        flow["icmp"] = number(leaves.get("icmp.type", leaves.get("icmpv6.type"))) << 8 | flow.pop("icmp_code")
    for field in ("if_in", "if_out"):
        if flow.get(field) == SFLOW_INTERNAL:
            flow[field] = 0
    if leaves.get("sflow.flow_sample.output_interface_format", "0") != "0":  # discarded, or several
        flow["if_out"] = 0
    return flow


class Tshark:
    """One pass over the frames, with what the exporters taught on the way."""

    def __init__(self):
        self.options = set()  # (domain, template id)
        self.by_uptime = set()  # those whose times are times of uptime (elements 21 and 22)
        self.sampling = collections.defaultdict(Sampling)
        self.boot_ms = {}

    def times(self, cflow, elements, boot_ms, by_uptime):
        uptime = cflow.get("cflow.sysuptime")
        export_ms = since_1970_ms(cflow["cflow.timestamp"])
        for field, absolute, relative in (("t_first", "abstimestart", "timestart"), ("t_last", "abstimeend", "timeend")):
            if elements.get(absolute) == 0 and by_uptime:  # uptime 0 is shown as 1970
                elements[relative] = elements.pop(absolute)
            if absolute in elements:
                yield field, elements[absolute]
            elif relative in elements and uptime is not None:
                yield field, at_uptime(export_ms, ms(uptime), elements[relative])
            elif relative in elements and boot_ms:
                yield field, at_uptime(export_ms, export_ms - boot_ms, elements[relative])

    def flow(self, cflow, node, domain, template):
        elements = tshark_elements(node, {})
        flow = ranked(elements)
        by_uptime = template is None or (domain, template) in self.by_uptime
        flow.update(self.times(cflow, elements, self.boot_ms.get(domain), by_uptime))
        if cflow["cflow.version"] == "5":
            elements["sampling_interval"] = int(cflow["cflow.samplerate"])
        flow.update(self.sampling[domain].fields(elements))
        return flow

    def set(self, cflow, node, domain, seen):
        if int(node.get("cflow.flowset_id", 0)) >= 256 and not any(key.startswith("Flow ") for key, _ in node.pairs):
            seen["waiting"] += 1  # a data set whose template tshark does not know
        for key, child in node.pairs:
            if key.startswith(("Options Template", "Template")) and isinstance(child, Pairs):
                template = (domain, child.get("cflow.template_id"))
                (self.options.add if key[0] == "O" else self.options.discard)(template)
                fields = [field for _, field in child.pairs if isinstance(field, Pairs)]
                types = {f.get("cflow.template_field_type", f.get("cflow.template_ipfix_field_type")) for f in fields}
                (self.by_uptime.add if types & {"21", "22"} else self.by_uptime.discard)(template)
            elif key.startswith("Flow ") and isinstance(child, Pairs):
                if (domain, node["cflow.flowset_id"]) in self.options:
                    elements = tshark_elements(child, {})
                    self.sampling[domain].learn(elements)
                    self.boot_ms[domain] = elements.get("sys_init_time", self.boot_ms.get(domain))
                    seen["options"] += 1
                else:
                    seen["flows"].append(self.flow(cflow, child, domain, node["cflow.flowset_id"]))

    def datagram(self, layers):
        seen = {"flows": [], "options": 0, "waiting": 0}
        if "sflow" in layers:
            samples = [(name, sample) for name, sample in layers["sflow"].pairs if isinstance(sample, Pairs)]
            seen["flows"] = [tshark_sample(s) for name, s in samples if name.startswith(("Flow sample", "Expanded flow"))]
            seen["counters"] = sum(name.startswith(("Counters sample", "Expanded counters")) for name, _ in samples)
        for key, cflow in layers.pairs:
            if key != "cflow" or not isinstance(cflow, Pairs):
                continue
            # Every capture is of one exporter; a v5 engine and an observation domain are domains of it.
            domain = (cflow.get("cflow.version"), cflow.get("cflow.source_id") or cflow.get("cflow.od_id"))
            for name, child in cflow.pairs:
                if name.startswith("pdu ") and isinstance(child, Pairs):
                    seen["flows"].append(self.flow(cflow, child, domain, None))
                elif name.startswith(("FlowSet ", "Set ")) and isinstance(child, Pairs):
                    self.set(cflow, child, domain, seen)
        return seen


def tshark(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        frames = json.load(file, object_pairs_hook=Pairs)
    reader = Tshark()
    return [reader.datagram(frame["_source"]["layers"]) for frame in frames if "udp" in frame["_source"]["layers"]]


# ---- sflowtool -J (sFlow): a JSON object for each datagram ----


def sflow_interface(sample, key):
    """An index; 0 for what is none: "discarded", "multiple 2", the device itself. Only expanded samples have 32 bits."""
    text = sample[key]
    is_none = not text.isdigit() or int(text) == SFLOW_INTERNAL
    return 0 if is_none or (sample["sampleType_tag"] == "0:1" and int(text) > SFLOW_INTERNAL) else int(text)


def sflow_mac(text):
    return int(text, 16)


def sflow_flow(sample):
    flow = {"packets": 1, "if_in": sflow_interface(sample, "inputPort"), "if_out": sflow_interface(sample, "outputPort")}
    flow |= {"sampling": int(sample["meanSkipCount"]), "sampling_origin": FROM_RECORD}
    elements = collections.ChainMap(*sorted(sample["elements"], key=lambda e: e.get("flowBlock_tag") != "0:1"))
    if "ethernet_len" in elements:
        flow["bytes"] = int(elements["ethernet_len"])
    if "sampledPacketSize" in elements:
        flow["bytes"] = int(elements["sampledPacketSize"])
    for field, key, read in (
        ("src_mac", "srcMAC", sflow_mac), ("dst_mac", "dstMAC", sflow_mac), ("proto", "IPProtocol", int), ("tos", "IPTOS", int),
        ("src_ip", "srcIP", address), ("dst_ip", "dstIP", address), ("src_ip", "srcIP6", address), ("dst_ip", "dstIP6", address),
        ("src_port", "TCPSrcPort", int), ("dst_port", "TCPDstPort", int), ("tcp_flags", "TCPFlags", int),
        ("src_port", "UDPSrcPort", int), ("dst_port", "UDPDstPort", int), ("next_hop", "nextHop", address),
        ("src_mask", "srcSubnetMask", int), ("dst_mask", "dstSubnetMask", int), ("src_as", "src_as", int), ("dst_as", "dst_as", int),
        ("vlan", "decodedVLAN", int), ("vlan", "in_vlan", int), ("vlan_out", "out_vlan", int),
    ):  # fmt: skip
        if key in elements:
            flow[field] = read(elements[key])
    for field in ("vlan", "vlan_out"):
        if flow.get(field, 0) > 4095:  # "unknown"
            flow[field] = 0
    if "ICMPType" in elements:
        flow["icmp"] = int(elements["ICMPType"]) << 8 | int(elements["ICMPCode"])
    return flow


def sflowtool(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        text = file.read().strip()
    at, read = 0, json.JSONDecoder().raw_decode
    datagrams = []
    while at < len(text):
        datagram, at = read(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        samples = datagram["samples"]
        flows = [sflow_flow(s) for s in samples if s["sampleType_tag"] in ("0:1", "0:3")]
        datagrams.append({"flows": flows, "counters": sum(s["sampleType_tag"] in ("0:2", "0:4") for s in samples)})
    return datagrams


# ---- NetGauze's *-flow.json: every message, field by field ----

NETGAUZE = {
    "sourceIPv4Address": "srcaddr", "sourceIPv6Address": "srcaddrv6", "destinationIPv4Address": "dstaddr",
    "destinationIPv6Address": "dstaddrv6", "ipNextHopIPv4Address": "nexthop", "ipNextHopIPv6Address": "nexthopv6",
    "bgpNextHopIPv4Address": "bgpnexthop", "bgpNextHopIPv6Address": "bgpnexthopv6", "octetDeltaCount": "octets",
    "packetDeltaCount": "packets", "sourceTransportPort": "srcport", "destinationTransportPort": "dstport",
    "ipClassOfService": "tos", "ingressInterface": "inputint", "egressInterface": "outputint", "bgpSourceAsNumber": "srcas",
    "bgpDestinationAsNumber": "dstas", "sourceIPv4PrefixLength": "srcmask", "destinationIPv4PrefixLength": "dstmask",
    "sourceIPv6PrefixLength": "srcmaskv6", "destinationIPv6PrefixLength": "dstmaskv6", "sourceMacAddress": "srcmac",
    "destinationMacAddress": "dstmac", "vlanId": "vlanid", "dot1qVlanId": "dot1q_vlan_id",
    "icmpTypeCodeIPv4": "icmp_type_code_ipv4", "icmpTypeCodeIPv6": "icmp_type_code_ipv6", "selectorId": "selector_id",
    "samplerId": "sampler_id", "samplingPacketInterval": "sampling_packet_interval", "samplingSize": "sampling_size",
    "samplingPacketSpace": "sampling_packet_space", "samplingPopulation": "sampling_population",
    "samplerRandomInterval": "sampler_random_interval", "samplingInterval": "sampling_interval",
}  # fmt: skip
NETGAUZE_NUMBERS = {
    "protocolIdentifier": {"ICMP": 1, "IPv4": 4, "TCP": 6, "UDP": 17, "IPv6": 41, "IPv6ICMP": 58, "VRRP": 112},
    "flowDirection": {"ingress": 0, "egress": 1},
}
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")


def netgauze_elements(fields):
    elements = {}
    for name, value in (item for field in fields for item in field.items()):
        if isinstance(value, list) and name.endswith("MacAddress"):
            elements.setdefault(NETGAUZE[name], int.from_bytes(bytes(value), "big"))
        elif isinstance(value, str) and name.endswith("Address"):
            elements.setdefault(NETGAUZE.get(name, name), address(value))
        elif name == "tcpControlBits":
            elements.setdefault("tcpflags", sum(1 << i for i, flag in enumerate(TCP_FLAGS) if value.get(flag)))
        elif name == "protocolIdentifier" and isinstance(value, str) and value in NETGAUZE_NUMBERS[name]:
            elements.setdefault("protocol", NETGAUZE_NUMBERS[name][value])
        elif name == "flowDirection" and isinstance(value, str):
            elements.setdefault("direction", NETGAUZE_NUMBERS[name][value])
        elif name == "selectorAlgorithm":
            elements.setdefault("selector_algorithm", 3 if value == "RandomnoutofNSampling" else 0)
        elif name in ("flowStartMilliseconds", "flowEndMilliseconds", "systemInitTimeMilliseconds"):
            elements.setdefault(name, iso_ms(value))
        elif isinstance(value, int):
            elements.setdefault(NETGAUZE.get(name, name), value)
    return elements


def netgauze(path):
    sampling, boot_ms, datagrams = collections.defaultdict(Sampling), {}, []
    for line in path.read_text().splitlines():
        ((version, message),) = json.loads(line).items()
        domain = message.get("source_id", message.get("observation_domain_id"))
        export_ms = iso_ms(message.get("unix_time") or message["export_time"])
        seen = {"flows": [], "options": 0}
        for data in (s["Data"] for s in message["sets"] if isinstance(s, dict) and "Data" in s):
            for record in data["records"]:
                elements = netgauze_elements(record["scope_fields"] + record["fields"])
                if record["scope_fields"]:
                    sampling[domain].learn(elements)
                    boot_ms[domain] = elements.get("systemInitTimeMilliseconds", boot_ms.get(domain))
                    seen["options"] += 1
                    continue
                flow = ranked(elements)
                uptime_ms = message.get("sys_up_time")
                if uptime_ms is None and boot_ms.get(domain):
                    uptime_ms = export_ms - boot_ms[domain]
                for field, which in (("t_first", "Start"), ("t_last", "End")):
                    if f"flow{which}Milliseconds" in elements:
                        flow[field] = elements[f"flow{which}Milliseconds"]
                    elif f"flow{which}SysUpTime" in elements and uptime_ms is not None:
                        flow[field] = at_uptime(export_ms, uptime_ms, elements[f"flow{which}SysUpTime"])
                flow.update(sampling[domain].fields(elements))
                seen["flows"].append(flow)
        datagrams.append(seen)
    return datagrams


# ---- logstash's expected_given.json and telegraf's expected.out: flows that the project's own tests assert ----

LOGSTASH = {
    "src_ip": ["ipv4_src_addr", "sourceIPv4Address", "sourceIPv6Address", "ipv6_src_addr"],
    "dst_ip": ["ipv4_dst_addr", "destinationIPv4Address", "destinationIPv6Address", "ipv6_dst_addr"],
    "next_hop": ["ipv4_next_hop", "ipNextHopIPv4Address", "ipNextHopIPv6Address"],
    "bytes": ["in_bytes", "octetDeltaCount", "octetTotalCount", "in_permanent_bytes", "out_bytes"],
    "packets": ["in_pkts", "packetDeltaCount", "packetTotalCount", "out_pkts"],
    "src_port": ["l4_src_port", "sourceTransportPort"],
    "dst_port": ["l4_dst_port", "destinationTransportPort"],
    "proto": ["protocol", "protocolIdentifier"],
    "tos": ["src_tos", "ipClassOfService"],
    "tcp_flags": ["tcp_flags", "tcpControlBits"],
    "if_in": ["input_snmp", "ingressInterface"],
    "if_out": ["output_snmp", "egressInterface"],
    "src_as": ["src_as", "bgpSourceAsNumber"],
    "dst_as": ["dst_as", "bgpDestinationAsNumber"],
    "src_mask": ["src_mask"],
    "dst_mask": ["dst_mask"],
    "src_mac": ["in_src_mac", "sourceMacAddress", "out_src_mac"],
    "dst_mac": ["in_dst_mac", "out_dst_mac"],
    "vlan": ["src_vlan", "vlanId"],
    "vlan_out": ["dst_vlan"],
    "dir": ["direction"],
    "t_first": ["flow_start_msec", "first_switched", "flowStartMilliseconds", "flowStartSeconds"],
    "t_last": ["last_switched", "flowEndMilliseconds", "flowEndSeconds"],
}
TELEGRAF = {
    "src_ip": ["src"], "dst_ip": ["dst"], "next_hop": ["next_hop"], "src_port": ["src_port"], "dst_port": ["dst_port"],
    "bytes": ["in_bytes", "in_total_bytes"], "packets": ["in_packets", "in_total_packets"], "tos": ["src_tos"],
    "proto": ["protocol"], "if_in": ["in_snmp"], "if_out": ["out_snmp"], "src_as": ["bgp_src_as"], "dst_as": ["bgp_dst_as"],
    "src_mask": ["src_mask"], "dst_mask": ["dst_mask"], "vlan": ["vlan_src"], "t_first": ["flow_start_ms"],
    "t_last": ["flow_end_ms"],
}  # fmt: skip


def loose_value(field, value):
    if field in ("src_ip", "dst_ip", "next_hop"):
        return address(value)
    if field in ("t_first", "t_last") and isinstance(value, str):
        return iso_ms(value)
    if isinstance(value, str):
        return {"tcp": 6, "udp": 17, "icmp": 1}.get(value) or number(value)
    return value


def loose(event, names):
    """The fields of one asserted record; of several elements for one field the first of @names."""
    flow = {}
    for field, keys in names.items():
        key = next((key for key in keys if key in event), None)
        if key is not None:
            flow[field] = loose_value(field, event[key])
    return flow


def with_reverse(flow, octets, packets):
    """The flow, and what RFC 5103's reverse elements say of the other direction, if there was one."""
    yield flow
    if packets:
        back = {"src_ip": "dst_ip", "dst_ip": "src_ip", "src_port": "dst_port", "dst_port": "src_port", "proto": "proto"}
        yield {field: flow[of] for field, of in back.items() if of in flow} | {"bytes": octets, "packets": packets}


def logstash(path, capture):
    """The assertions of the test whose line is in the name of the capture."""
    line = int(re.search(r"/L(\d+)_", str(capture)).group(1))
    case = next(case for case in json.loads(path.read_text()) if case["line"] == line)
    flows, records = [], case.get("decoded_events")
    for event in (event.get("netflow", event) for event in case["events"]):
        flow = loose(event, LOGSTASH)
        if "src_ip" in flow:
            both = list(with_reverse(flow, event.get("reverseOctetTotalCount"), event.get("reversePacketTotalCount")))
            flows += both
            records = records and records + len(both) - 1
    return {"loose": flows, "records": records}


def telegraf(path):
    flows = []
    for line in path.read_text().splitlines():
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\d+)[ui])', line.split(" ", 1)[1])
        event = {key: text if text else int(digits) if digits else "" for key, text, digits in pairs}
        flow = loose({key: value for key, value in event.items() if value != ""}, TELEGRAF)
        if "dst_ip" in flow:
            reverse = [int(event.get(f"type_29305_{element}") or "0", 16) for element in (85, 86)]
            flows += with_reverse(flow, *reverse)
    return {"loose": flows, "records": None}
