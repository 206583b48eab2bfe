"""Every answer says how good it is, and every refusal says why."""

import pytest

from netflow import Netflow5
from river import River, wait_for


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    with River(tmp_path_factory.mktemp("river"), aggregators=2) as river:
        for engine in range(16):  # sources enough for both aggregators to have some
            river.send([Netflow5(engine).datagram(30)])
        river.settle()
        yield river


def test_a_wrong_token_is_refused_with_a_problem_and_exit_status_3(river, tmp_path):
    wrong = tmp_path / "token"
    wrong.write_text("weir_viewer_" + "A" * 32 + "\n")
    refused = river.weir("top", status=3, token=wrong)
    assert "token" in refused.stderr and refused.stdout == ""
    for token in (False, "weir_viewer_" + "A" * 32):
        code, problem = river.http("/api/v1/query", {"group": ["ip"]}, token=token)
        assert code == 401 and problem["type"].endswith("/unauthenticated")
    assert river.totals()[0] == 480


def test_a_bad_filter_is_an_error_that_points_at_the_column(river):
    refused = river.weir("top", "src ipp 10.1.2.3", status=2)
    assert "column 5" in refused.stderr and "^" in refused.stderr and refused.stdout == ""
    code, problem = river.http("/api/v1/query", {"group": ["ip"], "filter": "src ipp 10.1.2.3"})
    assert code == 400 and problem["type"].endswith("/filter-syntax")
    assert problem["errors"][0]["column"] == 5


def test_an_answer_without_one_aggregator_is_marked_and_can_be_refused(river):
    whole = river.ask("series", "--sum", "-t", "1h")
    assert whole["meta"]["partial"] is False
    river.aggregator2.kill()
    try:
        part = river.ask("series", "--sum", "-t", "1h")
        assert part["meta"]["partial"] is True
        assert any(not source["ok"] and source["id"] == "aggregator2" for source in part["meta"]["sources"])
        assert sum(row["flows"] for row in part["rows"]) < 480
        refused = river.weir("series", "--sum", "-t", "1h", "--partial", "fail", status=5)
        assert "aggregator2" in refused.stderr
        assert "aggregator2" in river.weir("top", "-g", "ip").stderr  # said even when it is accepted
    finally:
        river.aggregator2.start()
    wait_for("whole answers again", lambda: not river.ask("series", "--sum", "-t", "1h")["meta"]["partial"], every_s=0.2)
    assert river.totals()[0] == 480
