"""Flow logs are parsed as their makers' documents say, but for the exceptions in LOGS, each with its reason.

The logs of logs/ always; those of the corpus are skipped, saying how many, where it is absent."""

import collections
import copy

import pytest

import conform
import logreadings
import logs

KNOWN = logs.known_cases()
OURS = {case.name for case in logs.own_cases()}
absent = pytest.mark.skipif(not conform.CORPUS.exists(), reason=f"the corpus is absent: {len(KNOWN.keys() - OURS)} logs not compared")


@pytest.fixture(scope="module")
def outcomes():
    return [logs.Outcome(case) for case in logs.all_cases()]


def wrong(outcomes):
    return "\n".join(f"{o.case.name}: {text}" for o in outcomes for text in o.wrong(KNOWN.get(o.case.name)))


def test_every_log_of_ours_is_parsed_as_its_makers_documents_say(outcomes):
    mine = [outcome for outcome in outcomes if outcome.case.name in OURS]
    assert not wrong(mine), wrong(mine)
    assert {o.case.format for o in mine} == logs.READERS.keys()
    assert all(o.agreement.flows and o.refused and o.told for o in mine if o.case.name != "logs/zeek_conn.log")
    told = sum((o.told for o in mine), collections.Counter())
    assert told.keys() == {"nodata", "skipdata", "begun", "no_flow"}


@absent
def test_every_log_of_the_corpus_is_parsed_as_its_makers_documents_say(outcomes):
    theirs = [outcome for outcome in outcomes if outcome.case.name not in OURS]
    assert not wrong(theirs), wrong(theirs)
    assert all(o.agreement.flows for o in theirs) and {o.case.format for o in theirs} >= {"aws", "azure", "zeek"}


@absent
def test_every_case_is_a_log(outcomes):
    assert KNOWN.keys() - {o.case.name for o in outcomes} == set()


@absent
def test_the_page_is_what_the_run_found(outcomes):
    assert conform.parts_of_page()[1] == logs.page(outcomes, KNOWN), "run tests/conformance/logs.py --write"


def test_an_exception_has_a_reason():
    for name, case in KNOWN.items():
        for what, (count, reason) in case.exceptions.items():
            assert count > 0 and len(reason.split()) > 3, f"{name}: {what}"


def test_a_difference_is_found_in_whatever_field_or_count_it_is():
    for case in logs.own_cases():
        theirs = logs.READERS[case.format](case.path.read_text())
        assert not logs.compare(theirs, copy.deepcopy(theirs)).differences
        line, flow = next((line, entry.flows[0]) for line, entry in theirs.items() if entry.flows)
        for field in flow:
            ours = copy.deepcopy(theirs)
            ours[line].flows[0][field] = "other"
            assert logs.compare(theirs, ours).differences == {field: 1}
        for change, differences in (
            (lambda entry: entry.flows.pop(), {"missing": 1}),
            (lambda entry: entry.flows.append(flow), {"more": 1}),
            (lambda entry: entry.told.update(["nodata"]), {"nodata": 1}),
            (lambda entry: entry.bad.append("columns"), {"refused": 1}),
        ):
            ours = copy.deepcopy(theirs)
            change(ours[line])
            assert logs.compare(theirs, ours).differences == differences


def test_a_reading_is_what_the_vendors_examples_say():
    """The example of the VPC User Guide: SSH traffic, allowed; RDP traffic, rejected."""
    text = (
        "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK\n"
        "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK\n"
    )
    (ssh,), (rdp,) = (entry.flows for entry in logreadings.aws(text).values())
    assert (ssh["src_ip"], ssh["dst_port"], ssh["packets"], ssh["bytes"], ssh["action"]) == ("172.31.16.139", 22, 20, 4249, 64)
    assert (rdp["dst_ip"], rdp["dst_port"], rdp["t_last"], rdp["action"]) == ("172.31.9.12", 3389, 1418530070000, 129)
