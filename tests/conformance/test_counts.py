"""Every capture of the corpus gives as many records as independent decoders count in it (tshark, sflowtool, a second
parser), but for the cases of CASES, each with its reason. Skips, saying how many, where the corpus is absent."""
import csv
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("WEIR_CORPUS", ROOT.parent / "shared" / "corpus")) / "exports"
PROGRAM = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build/dev/bin")) / "weir-decode-pcap"
PROTOCOLS = ("v5", "v9", "ipfix", "sflow5")
KINDS = ("pcap", "payload", "ipfix file")


def captures():
    """Capture file -> the rows of the index that it replays."""
    found = {}
    with open(CORPUS / "INDEX.tsv", newline="") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            if row["protocol"] in PROTOCOLS and any(kind in row["kind"] for kind in KINDS):
                found.setdefault(row["replay_pcap"] or row["path"], []).append(row)
    return found


def cases():
    """Capture file -> (records that we find, reason)."""
    lines = (pathlib.Path(__file__).parent / "CASES").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {path: (int(records), reason) for path, records, reason in rows}


def count(text):
    """"10+1", "4" or "3 samples" as a number."""
    first = text.split()[0] if text.split() else "0"
    return sum(int(part) for part in first.split("+")) if first[0].isdigit() else 0


def decode(path):
    run = subprocess.run([PROGRAM, path], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(run.stdout)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent: 143 captures not compared")
def test_every_capture_has_the_records_that_others_count_in_it():
    exceptions = cases()
    wrong, right = [], 0
    for path, rows in captures().items():
        got = decode(CORPUS / path)
        records = got["flows"] + got["options"]
        if rows[0]["protocol"] == "sflow5":
            records = got["flows"] + got["counter_samples"] + got["skipped_samples"]
        expected = {sum(count(row[by]) for row in rows) for by in ("records_tshark", "records_second_parser")}
        if path in exceptions:
            expected = {exceptions[path][0]}
        if records in expected:
            right += 1
        else:
            wrong.append(f"{path}: {records} records, others say {sorted(expected)}; {got}")
    print(f"{right} captures agree")
    assert right > 0 and not wrong, "\n".join(wrong)
