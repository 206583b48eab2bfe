"""Two of three aggregators hold each shard: any one of them may be gone, and its copy is whole when it is back."""

from river import River, sent_by, wait_for

FLOWS, RATE = 60_000, 20_000
KEYS = ("flows", "packets", "bytes")
NAMES = ("aggregator1", "aggregator2", "aggregator3")


def stored(river):
    return {name: river.programs[name].counter("weir_aggregator_flows_rolled_total") for name in NAMES}


def test_each_shard_is_held_twice_asked_once_and_whole_after_a_kill(tmp_path):
    with River(tmp_path, aggregators=3, replication=2) as river:
        sent = river.generate(FLOWS, RATE, format="ipfix", exporters=24, seed=1)
        river.settle()
        whole = tuple(sent[key] for key in KEYS)
        assert river.totals("3h") == whole  # each shard was asked of one member: nothing is doubled
        rolled = stored(river)
        assert sum(rolled.values()) == 2 * sent["flows"] and all(rolled.values()), rolled

        # One dies amid the flow. Its shards are acknowledged by nobody until it is back; then the agent is rid of all.
        generator = river.generator(FLOWS, RATE, format="v9", exporters=24, seed=2)
        try:
            before = river.agent1.counter("weir_agent_flows_decoded_total")
            river.agent1.counts("weir_agent_flows_decoded_total", before + FLOWS // 3)
            river.aggregator2.kill()
            more = sent_by(generator)
        finally:
            generator.kill()
        whole = tuple(sent[key] + more[key] for key in KEYS)
        river.spooled()
        assert river.agent1.counter("weir_agent_spool_flows") > 0
        river.aggregator2.start()
        river.settle()
        assert river.totals("3h") == whole

        # Each copy is whole: whichever one is gone, the other members of its shards answer for it, to the byte.
        for name in NAMES:
            river.programs[name].kill()
            wait_for(
                lambda: f"{whole} without {name}; is {answer_of(river, set(NAMES) - {name})}",
                lambda: answer_of(river, set(NAMES) - {name}) == whole,
                every_s=0.5,
            )
            river.programs[name].start()
            wait_for(f"{name} to be asked again", lambda: answer_of(river, set(NAMES)) == whole, every_s=0.5)
        for name in NAMES:
            assert river.programs[name].counter("weir_aggregator_sum_mismatches_total") == 0


def answer_of(river, names):
    """The sums of an answer that these aggregators and no others gave, whole; None when it was not so."""
    code, answer = river.http("/api/v1/query", {"tier": "raw", "time": "3h", "budget": {"ms": 30000}})
    assert code == 200, answer
    meta = answer["meta"]
    if {source["id"] for source in meta["sources"]} != names or meta["partial"] or meta["shards_ok"] != meta["shards_total"]:
        return None
    return tuple(answer["rows"][0][key] for key in KEYS)
