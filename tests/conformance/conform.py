#!/usr/bin/python3
"""What the decoders make of captures, compared with independent decoders, flow by flow and field by field.

    tests/conformance/conform.py           compare all captures; print what differs from CASES
    tests/conformance/conform.py --write   also write docs/CONFORMANCE.md
    tests/conformance/conform.py --cases   print lines for CASES as this run would have them, reasons to be filled in
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import oracles

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = pathlib.Path(os.environ.get("WEIR_CORPUS", ROOT.parent / "shared" / "corpus")) / "exports"
PROGRAM = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build/dev/bin")) / "weir-decode-pcap"
PAGE = ROOT / "docs/CONFORMANCE.md"
LOGS_TITLE = "\n## Flow logs\n"
PROTOCOLS = {"v1": "NetFlow v1", "v5": "NetFlow v5", "v7": "NetFlow v7", "v9": "NetFlow v9", "ipfix": "IPFIX", "sflow5": "sFlow v5"}


# ---- what there is to compare ----


class Case:
    """A capture, who made it, and what its oracles say of it."""

    def __init__(self, name, path, protocol, vendor, oracles_of):
        self.name, self.path, self.protocol, self.vendor, self.oracles_of = name, path, protocol, vendor, oracles_of


def expectations(capture, rows):
    """Oracle name -> function that reads it."""
    found = {}
    if rows[0]["oracle"]:
        reader = oracles.sflowtool if "sflowtool" in rows[0]["oracle"] else oracles.tshark
        found[reader.__name__] = lambda: reader(CORPUS / rows[0]["oracle"])
    golden = rows[0]["expectation"].split(" , ")[0].split("#")[0]
    if golden.startswith("NetGauze"):
        found["netgauze"] = lambda: oracles.netgauze(CORPUS / golden)
    elif golden.startswith("logstash") and re.search(r"/L\d+_", capture):
        found["logstash"] = lambda: oracles.logstash((CORPUS / golden).with_name("expected_given.json"), capture)
    elif golden.startswith("influxdata") and rows[0]["protocol"] != "sflow5":
        found["telegraf"] = lambda: oracles.telegraf(CORPUS / golden)
    return found


OWN = {
    "softflowd": "softflowd 1.1.0, traffic of ours",
    "nfprobe": "pmacctd 1.7.7 nfprobe, traffic of ours",
    "sfprobe": "pmacctd 1.7.7 sfprobe, traffic of ours",
    "rewritten": "softflowd 1.1.0's v5 rewritten as v7, traffic of ours",
    "ovs": "Open vSwitch 3.1.0, traffic of ours",
}


def own_cases():
    """The captures that captures/make.py makes."""
    for path in sorted((HERE / "captures").glob("*.pcap")):
        exporter, protocol = path.stem.split("_")[:2]
        protocol = {"vlan": "sflow5", "sflow": "sflow5"}.get(protocol, protocol)
        golden = path.with_suffix(".json.gz")
        yield Case(f"captures/{path.name}", path, protocol, OWN[exporter], {"tshark": lambda golden=golden: oracles.tshark(golden)})


def all_cases():
    yield from own_cases()
    if CORPUS.exists():
        yield from corpus_cases()


def corpus_cases():
    captures = {}
    with open(CORPUS / "INDEX.tsv", newline="") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            if row["protocol"] in PROTOCOLS:
                captures.setdefault(row["replay_pcap"] or row["path"], []).append(row)
    for capture, rows in captures.items():
        vendor = re.sub(r"\s*\(Debian\)", "", rows[0]["vendor_exporter"]).strip()
        yield Case(capture, CORPUS / capture, rows[0]["protocol"], vendor, expectations(capture, rows))


# ---- what is known to differ ----


class Known:
    """A line of CASES: name, what is refused ("-", "record=2,short=1"), then exceptions "oracle:what=count reason"."""

    def __init__(self, cells):
        self.refused = "" if cells[1] == "-" else cells[1]
        self.exceptions = {}
        for cell in cells[2:]:
            what, _, reason = cell.partition(" ")
            key, _, count = what.rpartition("=")
            self.exceptions[key] = (int(count), reason)


def known_cases(table="CASES"):
    rows = [line.split("\t") for line in (HERE / table).read_text().splitlines() if line and not line.startswith("#")]
    names = [row[0] for row in rows]
    assert len(names) == len(set(names)), f"{table} has a case twice"
    return {row[0]: Known(row) for row in rows}


# ---- comparing ----


def decode(path):
    """What became of each datagram."""
    return decode_and_settle(path)[:-1]


def decode_and_settle(path):
    """The same, and at last what was counted when gaps had stayed open for long."""
    run = subprocess.run([PROGRAM, path], capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def unbalanced(datagrams):
    """Datagrams whose counters do not add up: counted once, refused with one reason or not, every flow counted."""
    for i, datagram in enumerate(datagrams, 1):
        counts = datagram["counts"]
        received = sum(n for id, n in counts.items() if re.fullmatch(r"datagrams_\w+", id))
        refused = [id for id in counts if re.match(r"refused_(?!exporters)", id)]
        flows = sum(n for id, n in counts.items() if re.match(r"flows_", id))
        if received != 1:
            yield f"datagram {i} is counted {received} times"
        if datagram["refusal"] != "none" and not any(id.endswith("_" + datagram["refusal"]) for id in refused):
            yield f"datagram {i} is refused ({datagram['refusal']}) but not counted so: {counts}"
        if datagram["refusal"] == "none" and refused and "sets_replayed" not in counts:
            yield f"datagram {i} is not refused, but counted so: {counts}"
        if flows != len(datagram["flows"]):
            yield f"datagram {i}: {len(datagram['flows'])} flows, {flows} counted"


def same(theirs, ours):
    return all(ours[field] == value for field, value in theirs.items())


def match(theirs, ours):
    """Pair each of theirs with one of ours that agrees, or else has the same ends, or none (None)."""
    left, pairs = list(ours), []
    for flow in theirs:
        ends = [f for f in ("src_ip", "dst_ip", "bytes", "packets") if f in flow]
        near = [our for our in left if all(our[f] == flow[f] for f in ends)]
        found = next((our for our in near if same(flow, our)), near[0] if near else None)
        if found is not None:
            left.remove(found)
        pairs.append((flow, found))
    return pairs, left


class Agreement:
    """What came of one oracle for one capture."""

    def __init__(self):
        self.flows = 0  # compared
        self.fields = 0
        self.compared = set()  # names of them
        self.differences = collections.Counter()
        self.first = {}

    def differ(self, what, note, count=1):
        if count:
            self.differences[what] += count
            self.first.setdefault(what, note)

    def pair(self, theirs, ours):
        if ours is None:
            self.differ("missing", theirs)
            return
        self.flows += 1
        for field, value in theirs.items():
            self.fields += 1
            self.compared.add(field)
            if ours[field] != value:
                self.differ(field, {"theirs": value, "ours": ours[field], "flow": theirs})


def compare_in_order(theirs, ours):
    """Datagram by datagram, flow by flow in order. Where the numbers differ, flows are looked for in the whole capture."""
    result = Agreement()
    result.differ("datagrams", (len(theirs), len(ours)), abs(len(theirs) - len(ours)))
    theirs_left, ours_left = [], []
    for their, our in zip(theirs, ours):
        if len(their["flows"]) == len(our["flows"]):
            for pair in zip(their["flows"], our["flows"]):
                result.pair(*pair)
        else:
            theirs_left += their["flows"]
            ours_left += our["flows"]
        for what, counter in (("options", "options_records"), ("counters", "samples_counter"), ("waiting", "sets_parked")):
            count = our["counts"].get(counter, 0)
            result.differ(what, (their, our), abs(their.get(what, count) - count))
    pairs, more = match(theirs_left, ours_left)
    for pair in pairs:
        result.pair(*pair)
    if more:
        result.differ("more", more[0], len(more))
    return result


def compare_loosely(theirs, ours):
    """Asserted flows are somewhere in the capture."""
    result = Agreement()
    pairs, _ = match(theirs["loose"], [flow for datagram in ours for flow in datagram["flows"]])
    for pair in pairs:
        result.pair(*pair)
    records = sum(len(datagram["flows"]) + datagram["counts"].get("options_records", 0) for datagram in ours)
    if theirs["records"] is not None:
        result.differ("records", (theirs["records"], records), abs(theirs["records"] - records))
    return result


class Outcome:
    def __init__(self, case):
        self.case = case
        self.datagrams = decode(case.path)
        self.flows = sum(len(datagram["flows"]) for datagram in self.datagrams)
        self.options = sum(datagram["counts"].get("options_records", 0) for datagram in self.datagrams)
        self.counters = sum(datagram["counts"].get("samples_counter", 0) for datagram in self.datagrams)
        self.refused = collections.Counter(d["refusal"] for d in self.datagrams if d["refusal"] != "none")
        self.unbalanced = list(unbalanced(self.datagrams))
        self.agreements = {}
        for oracle, read in case.oracles_of.items():
            theirs = read()
            compare = compare_loosely if isinstance(theirs, dict) else compare_in_order
            self.agreements[oracle] = compare(theirs, self.datagrams)

    def refused_text(self):
        return ",".join(f"{reason}={count}" for reason, count in sorted(self.refused.items()))

    def differences(self):
        return {
            f"{oracle}:{what}": (count, agreement.first[what])
            for oracle, agreement in self.agreements.items()
            for what, count in sorted(agreement.differences.items())
        }

    def wrong(self, known):
        yield from wrong(self, known, "CASES")
        yield from self.unbalanced


def wrong(outcome, known, table):
    """What the table does not say, or says and is no more."""
    if known is None:
        yield f"is not in {table}"
        known = Known([outcome.case.name, "-"])
    if outcome.refused_text() != known.refused:
        yield f"refused {outcome.refused_text() or '-'}, {table} says {known.refused or '-'}"
    found = outcome.differences()
    for what, (count, first) in found.items():
        expected = known.exceptions.get(what, (0, ""))[0]
        if count != expected:
            yield f"{what}={count}, {table} says {expected}; first: {first}"
    for what in known.exceptions.keys() - found.keys():
        yield f"agrees in {what} now: take the exception out of {table}"


def line_for_cases(outcome, known):
    cells = [outcome.case.name, outcome.refused_text() or "-"]
    for what, (count, _) in outcome.differences().items():
        reason = known.exceptions.get(what, (0, "?"))[1] if known else "?"
        cells.append(f"{what}={count} {reason}")
    return "\t".join(cells)


# ---- the page ----

ORACLES = {
    "tshark": "tshark 4.0 (Wireshark's dissectors of NetFlow, IPFIX and sFlow)",
    "sflowtool": "InMon's sflowtool",
    "netgauze": "NetGauze's own expectations, every field of every message",
    "logstash": "the assertions of logstash-codec-netflow's tests",
    "telegraf": "the assertions of telegraf's netflow input's tests",
}


def share(part, whole):
    return "-" if whole == 0 else "100 %" if part == whole else f"{100 * part / whole:.2f} %"


def page_rows(outcomes):
    """One row for each protocol and exporter."""
    groups = {}
    for outcome in outcomes:
        groups.setdefault((PROTOCOLS[outcome.case.protocol], outcome.case.vendor), []).append(outcome)
    for (protocol, vendor), group in sorted(groups.items()):
        agreements = [agreement for outcome in group for agreement in outcome.agreements.values()]
        fields = sum(agreement.fields for agreement in agreements)
        differ = sum(n for a in agreements for what, n in a.differences.items() if what in a.compared)
        yield [
            protocol,
            vendor,
            len(group),
            sum(len(outcome.datagrams) for outcome in group),
            sum(sum(outcome.refused.values()) for outcome in group),
            sum(outcome.flows for outcome in group),
            sum(outcome.options + outcome.counters for outcome in group),
            f"{fields:,}",
            share(fields - differ, fields),
        ]


def page(outcomes, known):
    oracles_used = sorted({oracle for outcome in outcomes for oracle in outcome.agreements})
    flows = sum(a.flows for outcome in outcomes for a in outcome.agreements.values())
    fields = sum(a.fields for outcome in outcomes for a in outcome.agreements.values())
    rows = list(page_rows(outcomes))
    lines = [
        "# Conformance",
        "Made by `tests/conformance/conform.py --write`; a test checks that it is up to date. Captures of real exporters, decoded",
        "by Weir and by others, compared datagram by datagram, flow by flow, field by field: addresses, ports, protocol, packets,",
        "bytes, times, interfaces, sampling and its origin, VLANs, MACs, masks, AS numbers, next hop, flags, TOS, ICMP. Every",
        "datagram is decoded or counted with the reason for its refusal; every set without a template is counted as waiting.",
        "",
        f"{len(outcomes)} captures, {flows:,} flows and {fields:,} fields compared with:",
        "",
        *(f"- {ORACLES[oracle]}" for oracle in oracles_used),
        "",
        "| protocol | exporter | captures | datagrams | refused | flows | other records | fields compared | agree |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
        "Other records: options records of NetFlow v9 and IPFIX, counter samples of sFlow.",
        "",
        "## Exceptions",
        "Where we differ, and why. Refused datagrams are those that the captures hold on purpose, and NetFlow v1.",
        "",
        "| capture | what | how many | why |",
        "|---|---|--:|---|",
    ]
    for outcome in outcomes:
        if outcome.refused:
            lines.append(f"| {outcome.case.name} | refused | {sum(outcome.refused.values())} | {outcome.refused_text()} |")
        for what, (count, reason) in known[outcome.case.name].exceptions.items():
            oracle, _, field = what.partition(":")
            lines.append(f"| {outcome.case.name} | {field}, {oracle} | {count} | {reason} |")
    lines += ["", "Captures in `captures/` are ours, made by `tests/conformance/captures/make.py`; the others are not part of Weir."]
    return "\n".join(lines) + "\n"


def parts_of_page():
    """What the page says of captures, and of flow logs (logs.py)."""
    captures, title, logs = PAGE.read_text().partition(LOGS_TITLE)
    return captures, title + logs


def write(outcomes, known):
    _, logs = parts_of_page()
    PAGE.write_text(page(outcomes, known) + logs)


def run(cases, outcome_of, known, write_page, words_are):
    """Compare the cases and do what the words of the command line say. Returns how to exit."""
    parser = argparse.ArgumentParser(description=words_are, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("only", nargs="?", default="", help="cases whose name holds this")
    words = parser.parse_args()
    bad, outcomes = 0, []
    for case in cases:
        if words.only not in case.name:
            continue
        outcome = outcome_of(case)
        if words.cases:
            print(line_for_cases(outcome, known.get(case.name)))
            continue
        for text in outcome.wrong(known.get(case.name)):
            print(f"{case.name}: {text}")
            bad = 1
        outcomes.append(outcome)
    if words.write and not words.only and not bad and CORPUS.exists():
        write_page(outcomes, known)
    return bad


if __name__ == "__main__":
    sys.exit(run(all_cases(), Outcome, known_cases(), write, __doc__))
