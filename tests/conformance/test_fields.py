"""Flow by flow, field by field: what tshark reads in the corpus's NetFlow and IPFIX captures, the decoders read too.

Only flows that tshark shows with addresses, octets and packets are compared, and of a flow the fields that it shows
once. Skips where the corpus is absent."""
import collections
import datetime
import gzip
import ipaddress
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("WEIR_CORPUS", ROOT.parent / "shared" / "corpus")) / "exports"
PROGRAM = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build/dev/bin")) / "weir-decode-pcap"

# Captures that cannot be compared flow by flow, each with its reason.
SKIPPED = {
    "_wrapped/mikemiles-dev__netflow_parser/ipfix_mixed": "tshark drops data that come before their template",
    "akvorado__akvorado/netflow/data+templates": "tshark drops data that come before their template",
    "_wrapped/bitkeks__python-netflow-v9-softflowd/v1": "NetFlow version 1, which we refuse",
    "exatel__libnetflow9/testcases/1": "times at uptime 0: tshark shows 1970, we the time that the exporter started",
    "generated/fprobe/v1_synscan": "NetFlow version 1, which we refuse",
    "generated/softflowd/v1_synscan": "NetFlow version 1, which we refuse",
}

FIELDS = {
    "cflow.srcaddr": "src_ip", "cflow.srcaddrv6": "src_ip", "cflow.dstaddr": "dst_ip", "cflow.dstaddrv6": "dst_ip",
    "cflow.srcport": "src_port", "cflow.dstport": "dst_port", "cflow.protocol": "proto", "cflow.octets": "bytes",
    "cflow.packets": "packets", "cflow.inputint": "if_in", "cflow.outputint": "if_out", "cflow.tos": "tos",
    "cflow.tcpflags": "tcp_flags", "cflow.srcas": "src_as", "cflow.dstas": "dst_as", "cflow.srcmask": "src_mask",
    "cflow.dstmask": "dst_mask",
}


class Repeated(dict):
    """A JSON object that remembers which of its keys came more than once (tshark repeats them)."""

    def __init__(self, pairs):
        super().__init__(pairs)
        counts = collections.Counter(key for key, _ in pairs)
        self.repeated = {key for key, n in counts.items() if n > 1}
        self.pairs = pairs


def milliseconds(text):
    """"Aug  3, 2015 12:11:29.586000000 UTC" since 1970."""
    stamp = datetime.datetime.strptime(text.split(".")[0], "%b %d, %Y %H:%M:%S")
    seconds = stamp.replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) * 1000 + int(text.split(".")[1][:3])


def value(key, text):
    if key.startswith(("cflow.srcaddr", "cflow.dstaddr")):
        return str(ipaddress.ip_address(text))
    return int(text, 0)


def flows_of(node):
    """All objects named "Flow N", or "pdu N" in version 5, whatever they lie in."""
    if isinstance(node, Repeated):
        for key, child in node.pairs:
            if key.split(" ")[0] in ("Flow", "pdu") and isinstance(child, Repeated):
                yield child
            else:
                yield from flows_of(child)
    elif isinstance(node, list):
        for child in node:
            yield from flows_of(child)


def seen_by_tshark(path):
    with gzip.open(path) as file:
        tree = json.load(file, object_pairs_hook=Repeated)
    for flow in flows_of(tree):
        seen = {}
        for key, field in FIELDS.items():
            if key in flow and key not in flow.repeated and isinstance(flow[key], str):
                read = value(key, flow[key])
                if field not in seen or read != "::":  # of both families the address that is there
                    seen[field] = read
        times = flow.get("cflow.timedelta_tree")
        if isinstance(times, Repeated) and "cflow.abstimestart" in times and "cflow.abstimeend" in times:
            seen["t_first"] = milliseconds(times["cflow.abstimestart"])
            seen["t_last"] = milliseconds(times["cflow.abstimeend"])
        if {"src_ip", "dst_ip", "bytes", "packets"} <= seen.keys():
            yield seen


def seen_by_us(path):
    out = subprocess.run([PROGRAM, "--flows", path], capture_output=True, text=True, timeout=60, check=True).stdout
    return [json.loads(line) for line in out.splitlines()[:-1]]


def differences(theirs, ours):
    """Their flows for which we have none that agrees in every field they show. Each of ours answers for one."""
    by_key = collections.defaultdict(list)
    for flow in ours:
        by_key[flow["src_ip"], flow["dst_ip"], flow["bytes"], flow["packets"]].append(flow)
    missing = []
    for flow in theirs:
        candidates = by_key[flow["src_ip"], flow["dst_ip"], flow["bytes"], flow["packets"]]
        match = next((c for c in candidates if all(c[k] == v for k, v in flow.items())), None)
        if match is None:
            near = candidates[0] if candidates else {}
            missing.append({k: (v, near.get(k)) for k, v in flow.items() if near.get(k) != v})
        else:
            candidates.remove(match)
    return missing


def captures():
    for oracle in sorted((CORPUS / "_oracle").rglob("*.tshark.json.gz")):
        name = str(oracle.relative_to(CORPUS / "_oracle")).removesuffix(".tshark.json.gz")
        for capture in (CORPUS / "_wrapped" / f"{name}.pcap", CORPUS / f"{name}.pcap", CORPUS / name):
            if capture.is_file():
                yield oracle, capture, str(capture.relative_to(CORPUS)).removesuffix(".pcap")
                break


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent: its captures are not compared with tshark")
def test_every_flow_that_tshark_shows_is_ours_in_every_field():
    wrong, compared = [], 0
    for oracle, capture, name in captures():
        if name in SKIPPED:
            continue
        theirs = list(seen_by_tshark(oracle))
        missing = differences(theirs, seen_by_us(capture))
        compared += len(theirs)
        if missing:
            wrong.append(f"{name}: {len(missing)} of {len(theirs)} differ, first (theirs, ours): {missing[0]}")
    print(f"{compared} flows compared")
    assert compared > 1000 and not wrong, "\n".join(wrong)
