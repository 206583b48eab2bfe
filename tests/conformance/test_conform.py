"""The captures of the corpus decode as independent decoders say, but for the exceptions in CASES, each with its reason.

Skips, saying how many cases, where the corpus is absent."""

import pytest

import conform

KNOWN = conform.known_cases()
absent = pytest.mark.skipif(not conform.CORPUS.exists(), reason=f"the corpus is absent: {len(KNOWN)} captures not compared")


@pytest.fixture(scope="module")
def outcomes():
    return [conform.Outcome(case) for case in conform.corpus_cases()]


@absent
def test_every_capture_decodes_as_others_say_and_every_datagram_is_accounted_for(outcomes):
    wrong = [f"{o.case.name}: {text}" for o in outcomes for text in o.wrong(KNOWN.get(o.case.name))]
    assert outcomes and not wrong, "\n".join(wrong)


@absent
def test_every_case_is_a_capture_of_the_corpus(outcomes):
    assert KNOWN.keys() - {o.case.name for o in outcomes} == set()


@absent
def test_the_page_is_what_the_run_found(outcomes):
    assert conform.PAGE.read_text() == conform.page(outcomes, KNOWN), "run tests/conformance/conform.py --write"


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
