"""Two of three aggregators hold each shard: any one of them may be gone, and its copy is whole when it is back."""

import signal

from river import River, conf_file, sent_by, wait_for

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


def test_an_epoch_that_the_store_has_seen_is_not_gone_back_on_and_a_newer_one_is_followed(tmp_path):
    with River(tmp_path, aggregators=2, replication=2) as river:
        aggregators = [river.aggregator1, river.aggregator2]

        def publish(epoch):
            river.cluster.write_text(conf_file(river.members | {"epoch": epoch}))

        def more(seed):
            sent = river.generate(3_000, RATE, format="v5", exporters=24, seed=seed)
            return tuple(a + sent[key] for a, key in zip(whole, KEYS))

        whole = (0, 0, 0)
        whole = more(1)
        river.settle()
        # A newer map that only the broker was told of: the aggregators read it because of the batches that come under it.
        publish(4)
        river.broker1.process.send_signal(signal.SIGHUP)
        river.broker1.counts("weir_broker_map_epoch", 4)
        whole = more(2)
        river.settle()
        for aggregator in aggregators:
            assert aggregator.logged("map.used", "epoch") == "4"
        assert river.totals("3h") == whole
        # An older one comes back with a restart of everybody, as from a backup: the stores know better.
        publish(3)
        for program in [river.broker1, *aggregators]:
            program.restart()
        for aggregator in aggregators:
            assert aggregator.logged("map.older", "shards") == "128"
            assert aggregator.counter("weir_aggregator_shards_fenced") == 128
        whole = more(3)
        river.spooled()
        for aggregator in aggregators:
            aggregator.counts("weir_aggregator_batches_refused_total", 1, reason="epoch")
            assert aggregator.counter("weir_aggregator_batches_stored_total") == 0
        assert river.agent1.counter("weir_agent_spool_flows") == 3_000
        # An epoch above what they have seen, and all that waited goes through.
        publish(5)
        for aggregator in aggregators:
            aggregator.process.send_signal(signal.SIGHUP)
        river.settle()
        assert river.totals("3h") == whole
        assert all(aggregator.counter("weir_aggregator_shards_fenced") == 0 for aggregator in aggregators)


def answer_of(river, names):
    """The sums of an answer that these aggregators and no others gave, whole; None when it was not so."""
    code, answer = river.http("/api/v1/query", {"tier": "raw", "time": "3h", "budget": {"ms": 30000}})
    assert code == 200, answer
    meta = answer["meta"]
    if {source["id"] for source in meta["sources"]} != names or meta["partial"] or meta["shards_ok"] != meta["shards_total"]:
        return None
    return tuple(answer["rows"][0][key] for key in KEYS)
