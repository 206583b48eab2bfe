#!/usr/bin/python3
"""What the parsers make of flow logs, compared with readings by their makers' documents, record by record, field by field.

    tests/conformance/logs.py           compare all logs; print what differs from LOGS
    tests/conformance/logs.py --write   also write the part "Flow logs" of docs/CONFORMANCE.md
    tests/conformance/logs.py --cases   print lines for LOGS as this run would have them, reasons to be filled in
"""

import collections
import csv
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys

import conform
import logreadings

HERE = pathlib.Path(__file__).resolve().parent
BEHAVIOUR = conform.CORPUS.parent / "behaviour"
PROGRAM = pathlib.Path(os.environ.get("WEIR_BIN", conform.ROOT / "build/dev/bin")) / "weir-parse-log"
READERS = {"aws": logreadings.aws, "azure": logreadings.azure, "gcp": logreadings.gcp, "zeek": logreadings.zeek}
NAMES = {"aws": "AWS VPC flow log", "azure": "Azure flow log", "gcp": "GCP VPC flow log", "zeek": "Zeek conn.log"}


# ---- what there is to compare ----


class Case:
    def __init__(self, name, path, format, origin):
        self.name, self.path, self.format, self.origin = name, path, format, origin


def own_cases():
    for path in sorted((HERE / "logs").iterdir()):
        yield Case(f"logs/{path.name}", path, path.name.split("_")[0], "written by us after its maker's documents")


def corpus_cases():
    """The logs that the index names, and the conn.log files of labelled behaviour."""
    with open(conform.CORPUS / "INDEX.tsv", newline="") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            if row["kind"] == "log":
                yield Case(row["path"], conform.CORPUS / row["path"], row["vendor_exporter"].split()[0].lower(), row["source_repo"])
    for path in sorted(BEHAVIOUR.rglob("*conn*")):
        name = path.relative_to(BEHAVIOUR.parent)
        yield Case(str(name), path, "zeek", name.parts[1])


def all_cases():
    yield from own_cases()
    if conform.CORPUS.exists():
        yield from corpus_cases()


def known_cases():
    return conform.known_cases("LOGS")


# ---- comparing ----


def what_is_bad(reason):
    """The field that a reason of the parser's names, or the kind of damage."""
    if "columns, not" in reason:
        return "columns"
    if reason.startswith("the tuple has"):
        return "tuple"
    if "JSON" in reason or reason.startswith("byte "):
        return "JSON"
    return reason.partition(":")[0]


def parse(case):
    """Line -> entry, of the same form as a reading's."""
    run = subprocess.run([PROGRAM, case.format, case.path], capture_output=True, text=True, timeout=120, check=True)
    found = logreadings.Reading()
    for row in map(json.loads, run.stdout.splitlines()):
        entry = found[row["line"]]
        entry.flows = [{**f["flow"], "exporter": f["exporter"], "domain": f["domain"]} for f in row["flows"]]
        entry.told.update(row["told"])
        for line, reason in row["bad"]:
            found[line].bad.append(what_is_bad(reason))
    return found


def in_one(entries):
    """All that came, in one entry: where lines mean nothing."""
    whole = logreadings.Reading()
    for _, entry in sorted(entries.items()):
        whole[0].flows += entry.flows
        whole[0].told += entry.told
        whole[0].bad += entry.bad
    return whole


def compare(theirs, ours):
    result = conform.Agreement()
    for line in sorted(theirs.keys() | ours.keys()):
        their, our = theirs[line], ours[line]
        for pair in zip(their.flows, our.flows):
            result.pair(*pair)
        more = len(our.flows) - len(their.flows)
        result.differ("more" if more > 0 else "missing", f"line {line}", abs(more))
        for kind in their.told.keys() | our.told.keys():
            result.differ(kind, f"line {line}", abs(their.told[kind] - our.told[kind]))
        if sorted(their.bad) != sorted(our.bad):
            result.differ("refused", f"line {line}: {their.bad}, ours {our.bad}")
    return result


class Outcome:
    def __init__(self, case):
        opened = gzip.open if case.path.suffix == ".gz" else open
        with opened(case.path, "rt", encoding="utf-8") as log:
            text = log.read()
        theirs, ours = READERS[case.format](text), parse(case)
        if theirs.keys() == {0}:
            ours = in_one(ours)
        self.case = case
        self.lines = len(text.splitlines())
        self.flows = sum(len(entry.flows) for entry in ours.values())
        self.told = sum((entry.told for entry in ours.values()), collections.Counter())
        self.refused = collections.Counter(what for entry in ours.values() for what in entry.bad)
        self.agreement = compare(theirs, ours)

    def refused_text(self):
        return ",".join(f"{what.replace(' ', '_')}={count}" for what, count in sorted(self.refused.items()))

    def differences(self):
        agreement = self.agreement
        return {f"reading:{what}": (count, agreement.first[what]) for what, count in sorted(agreement.differences.items())}

    def wrong(self, known):
        return conform.wrong(self, known, "LOGS")


# ---- the page ----


def rows_of_page(outcomes):
    groups = {}
    for outcome in outcomes:
        groups.setdefault((NAMES[outcome.case.format], outcome.case.origin), []).append(outcome)
    for (format, origin), group in sorted(groups.items()):
        fields = sum(outcome.agreement.fields for outcome in group)
        differ = sum(n for o in group for what, n in o.agreement.differences.items() if what in o.agreement.compared)
        yield [
            format,
            origin,
            len(group),
            sum(outcome.lines for outcome in group),
            sum(outcome.flows for outcome in group),
            sum(sum(outcome.told.values()) for outcome in group),
            sum(sum(outcome.refused.values()) for outcome in group),
            f"{fields:,}",
            conform.share(fields - differ, fields),
        ]


def page(outcomes, known):
    flows = sum(outcome.agreement.flows for outcome in outcomes)
    fields = sum(outcome.agreement.fields for outcome in outcomes)
    lines = [
        conform.LOGS_TITLE,
        "Made by `tests/conformance/logs.py --write`. Flow logs of clouds and of Zeek, parsed by Weir and read, without it, by",
        "their makers' documents (`tests/conformance/logreadings.py`); compared line by line, flow by flow, field by field:",
        "addresses, ports, protocol, packets, bytes, times, verdict, direction, interface, MACs, VLAN, TCP flags, ICMP, AS",
        "numbers, and of AWS who saw it (account, VPC). A connection or an Azure tuple is a flow for each direction that had",
        "packets. A line is flows, something else that is counted, or refused with the reason.",
        "",
        f"{len(outcomes)} logs, {flows:,} flows and {fields:,} fields compared.",
        "",
        "| log | from | files | lines | flows | other records | refused | fields compared | agree |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows_of_page(outcomes)),
        "",
        "Other records: NODATA and SKIPDATA of AWS, flows that begin of Azure, entries of another log.",
        "",
        "| log | what | how many | why |",
        "|---|---|--:|---|",
    ]
    for outcome in outcomes:
        if outcome.refused:
            lines.append(f"| {outcome.case.name} | refused | {sum(outcome.refused.values())} | {outcome.refused_text()} |")
        for what, (count, reason) in known[outcome.case.name].exceptions.items():
            lines.append(f"| {outcome.case.name} | {what.partition(':')[2]} | {count} | {reason} |")
    return "\n".join(lines) + "\n"


def write(outcomes, known):
    captures, _ = conform.parts_of_page()
    conform.PAGE.write_text(captures + page(outcomes, known))


if __name__ == "__main__":
    sys.exit(conform.run(all_cases(), Outcome, known_cases(), write, __doc__))
