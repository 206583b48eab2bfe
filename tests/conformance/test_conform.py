"""Captures decode as independent decoders say, but for the exceptions in CASES, each with its reason.

The captures of captures/ always; those of the corpus are skipped, saying how many, where it is absent."""

import pytest

import conform

KNOWN = conform.known_cases()
OURS = {case.name for case in conform.own_cases()}
absent = pytest.mark.skipif(not conform.CORPUS.exists(), reason=f"the corpus is absent: {len(KNOWN.keys() - OURS)} captures not compared")


@pytest.fixture(scope="module")
def outcomes():
    return [conform.Outcome(case) for case in conform.all_cases()]


def test_every_capture_of_ours_decodes_as_tshark_says_and_every_datagram_is_accounted_for(outcomes):
    mine = [outcome for outcome in outcomes if outcome.case.name in OURS]
    wrong = [f"{o.case.name}: {text}" for o in mine for text in o.wrong(KNOWN.get(o.case.name))]
    assert len(mine) >= 10 and not wrong, "\n".join(wrong)
    assert {o.case.protocol for o in mine} == {"v1", "v5", "v7", "v9", "ipfix", "sflow5"}
    assert all(a.flows for o in mine for a in o.agreements.values()), "a capture without flows"


@absent
def test_every_capture_of_the_corpus_decodes_as_others_say_and_every_datagram_is_accounted_for(outcomes):
    theirs = [outcome for outcome in outcomes if outcome.case.name not in OURS]
    wrong = [f"{o.case.name}: {text}" for o in theirs for text in o.wrong(KNOWN.get(o.case.name))]
    assert theirs and not wrong, "\n".join(wrong)


@absent
def test_every_case_is_a_capture(outcomes):
    assert KNOWN.keys() - {o.case.name for o in outcomes} == set()


@absent
def test_the_page_is_what_the_run_found(outcomes):
    assert conform.parts_of_page()[0] == conform.page(outcomes, KNOWN), "run tests/conformance/conform.py --write"


def test_an_exception_has_a_reason():
    for name, case in KNOWN.items():
        for what, (count, reason) in case.exceptions.items():
            assert count > 0 and len(reason.split()) > 3, f"{name}: {what}"


def test_a_difference_is_found_whatever_field_it_is_in():
    ours = {"flows": [{"src_ip": "192.0.2.1", "bytes": 10, "vlan": 7}], "counts": {"options_records": 1}}
    same = {"flows": [{"src_ip": "192.0.2.1", "bytes": 10}], "options": 1, "waiting": 0}
    assert not conform.compare_in_order([same], [ours]).differences
    for field, value in (("src_ip", "192.0.2.2"), ("bytes", 11), ("vlan", 0)):
        other = {**same, "flows": [{**same["flows"][0], field: value}]}
        assert conform.compare_in_order([other], [ours]).differences == {field: 1}
    assert conform.compare_in_order([{**same, "options": 2}], [ours]).differences == {"options": 1}
    assert conform.compare_in_order([{**same, "flows": []}], [ours]).differences == {"more": 1}
    assert conform.compare_in_order([same, same], [ours]).differences == {"datagrams": 1}


def test_counters_that_do_not_add_up_are_found():
    even = {"flows": [{}], "refusal": "none", "counts": {"datagrams_ipfix": 1, "flows_ipfix": 1}}
    assert not list(conform.unbalanced([even]))
    for broken in (
        {**even, "flows": []},
        {**even, "refusal": "short"},
        {**even, "counts": {"flows_ipfix": 1}},
        {**even, "counts": {**even["counts"], "refused_ipfix_short": 1}},
    ):
        assert list(conform.unbalanced([broken])), broken
