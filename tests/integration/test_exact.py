"""Nothing is lost and nothing counted twice: every generated flow comes back to the last byte, whoever is killed."""

import os

import pytest

from river import BIN, River, sent_by

# A million flows, as promised. A sanitized build is ten times slower: it gets a part of them unless WEIR_TESTS_LONG is set.
SANITIZED = "release" not in str(BIN) and "WEIR_TESTS_LONG" not in os.environ
FLOWS = 200_000 if SANITIZED else 1_000_000
RATE = 50_000 if SANITIZED else 150_000
FORMATS = ["v5", "v9", "ipfix", "sflow"]
KEYS = ("flows", "packets", "bytes")


class Sent:
    """The generators' totals so far."""

    def __init__(self):
        self.totals = dict.fromkeys(KEYS, 0)

    def add(self, report):
        for key in KEYS:
            self.totals[key] += report[key]

    def expect(self, river):
        """All of it is there, exactly: for the command, and in each stored form."""
        river.settle()
        expected = tuple(self.totals[key] for key in KEYS)
        assert river.totals("3h") == expected
        for tier in ("raw", "1m", "1h"):
            code, answer = river.http("/api/v1/query", {"tier": tier, "time": "3h", "budget": {"ms": 30000}})
            assert code == 200 and answer["meta"]["rollup"] == tier, answer
            assert tuple(answer["rows"][0][key] for key in KEYS) == expected, tier
        for agent in river.names["agent"]:
            assert river.programs[agent].counter("weir_agent_receive_drops_total") == 0


@pytest.mark.parametrize("replication", [1, 2])
def test_every_generated_flow_comes_back_exactly(replication, tmp_path):
    with River(tmp_path, aggregators=2, replication=replication) as river:
        sent = Sent()
        for i, format_ in enumerate(FORMATS):
            sent.add(river.generate(FLOWS // 4, RATE, format=format_, exporters=16, seed=i, ipv6=0 if format_ == "v5" else 30))
        sent.expect(river)
        for aggregator in river.names["aggregator"]:
            assert river.programs[aggregator].counter("weir_aggregator_flows_rolled_total") > 0
            assert river.programs[aggregator].counter("weir_aggregator_sum_mismatches_total") == 0


@pytest.mark.parametrize("replication", [1, 2])
def test_every_generated_flow_comes_back_exactly_though_each_daemon_is_killed_in_turn(replication, tmp_path):
    with River(tmp_path, aggregators=2, replication=replication) as river:
        sent = Sent()
        slice_ = FLOWS // 6

        def under_fire(victim, number):
            """A slice of flows, amid which a daemon other than the agent dies and comes back."""
            generator = river.generator(slice_, RATE, format=FORMATS[number % 4], exporters=16, seed=number)
            try:
                before = river.agent1.counter("weir_agent_flows_decoded_total")
                river.agent1.counts("weir_agent_flows_decoded_total", before + slice_ // 3)
                victim.restart()
            except BaseException:
                generator.kill()
                raise
            sent.add(sent_by(generator))

        for number, victim in enumerate(["broker1", "aggregator1", "aggregator2", "console"]):
            under_fire(river.programs[victim], number)

        # The agent's turn. While it is dead datagrams go nowhere, so it dies between two slices: with everything in its
        # spool and nobody to take it, and again while the broker takes it.
        river.broker1.kill()
        sent.add(river.generate(slice_, RATE, format="v5", exporters=16, seed=8))
        river.spooled()
        assert river.agent1.counter("weir_agent_spool_flows") >= slice_
        river.agent1.restart()
        assert river.agent1.counter("weir_agent_flows_found_total") >= slice_
        river.broker1.start(ready=False)
        river.agent1.counts("weir_agent_batches_acked_total", 1)
        river.agent1.restart()
        sent.add(river.generate(slice_, RATE, format="ipfix", exporters=16, seed=9))

        sent.expect(river)
        for aggregator in river.names["aggregator"]:
            assert river.programs[aggregator].counter("weir_aggregator_sum_mismatches_total") == 0
