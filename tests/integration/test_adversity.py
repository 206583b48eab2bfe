"""What goes wrong is said clearly, counted, and leaves everything else going on."""

import shutil
import signal

import pytest

from netflow import Netflow5
from river import River, wait_for


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    """One river for the tests that leave it as they found it."""
    with River(tmp_path_factory.mktemp("river"), aggregators=1) as river:
        yield river


def flows_go_on(river, agent="agent1", count=30):
    """Good flows still arrive at the store, every one of them."""
    exporter = Netflow5()
    river.settle()  # the whole records of a truncated datagram count too, and may be on their way
    before = river.totals()[0]
    river.send([exporter.datagram(count)], agent)
    wait_for(lambda: f"{count} more flows than {before}, are {river.totals()[0]}", lambda: river.totals()[0] >= before + count, every_s=0.2)
    assert river.totals()[0] == before + count


REFUSED = "weir_agent_decode_errors_total"


@pytest.mark.parametrize(
    "datagram, labels",
    [
        (b"\xde\xad\xbe\xef" * 40, {"protocol": "unknown", "reason": "version"}),
        (b"\x00", {"protocol": "unknown", "reason": "short"}),
        (Netflow5().datagram(30)[:200], {"protocol": "netflow5", "reason": "count"}),
        (b"\x00\x06" + Netflow5().datagram(1)[2:], {"protocol": "unknown", "reason": "version"}),
    ],
    ids=["garbage", "one byte", "truncated", "unknown version"],
)
def test_a_bad_datagram_is_refused_counted_and_said(river, datagram, labels):
    agent = river.agent1
    before = agent.counter(REFUSED, **labels)
    river.send([datagram])
    agent.counts(REFUSED, before + 1, **labels)
    assert agent.counter(REFUSED, **labels) == before + 1
    flows_go_on(river)


def test_an_agent_whose_key_is_not_enrolled_is_refused_and_the_others_go_on(tmp_path):
    with River(tmp_path, aggregators=1) as river:
        river.make_key("stranger")
        stranger = river.add("agent", "stranger").start(ready=False)
        river.broker1.counts("weir_broker_handshakes_total", 1, outcome="unknown_key")
        stranger.logged("broker.silent")
        river.send([Netflow5().datagram(30)], "stranger")
        stranger.counts("weir_agent_flows_spooled_total", 30)  # kept until somebody takes them
        flows_go_on(river)
        # Enrolled later, with nothing but a reload of the broker, it is let in and nothing of it was lost.
        before = river.totals()[0]
        river.enrol("stranger", "agent")
        river.write_allow()
        river.broker1.process.send_signal(signal.SIGHUP)
        wait_for("the stranger's flows", lambda: river.totals()[0] == before + 30, every_s=0.2)


def test_a_second_agent_of_the_same_name_is_refused_while_the_first_lives(tmp_path):
    with River(tmp_path, aggregators=1) as river:
        flows_go_on(river)
        shutil.copy(river.keys / "agent1.key", river.keys / "twin.key")
        twin = river.add("agent", "twin", name="agent1").start(ready=False)
        river.broker1.counts("weir_broker_second_agents_refused_total", 1)
        twin.logged("ship.refused")
        flows_go_on(river)
        # The first one gone, the second takes its place.
        river.agent1.kill()
        river.send([Netflow5().datagram(30)], "twin")
        wait_for("the twin's flows", lambda: river.totals()[0] == 90, every_s=0.2)


def test_a_full_spool_drops_by_its_policy_counts_what_it_drops_and_goes_on(tmp_path):
    small = {"spool": "4MiB", "spool_segment": "2MiB", "codec": "none"}
    with River(tmp_path, aggregators=1, options={"agent": small}) as river:
        agent = river.agent1
        river.broker1.kill()
        sent = river.generate(600_000, rate=100_000)
        river.spooled()
        agent.logged("spool.full")
        lost = agent.counter("weir_agent_flows_lost_total", reason="spool_full")
        assert 0 < lost < sent["flows"]
        assert agent.counter("weir_agent_spool_flows") == sent["flows"] - lost
        assert agent.counter("weir_agent_spool_disk_bytes") <= 4 << 20
        river.broker1.start()
        river.settle()
        # What came is stored, what was dropped is known to who asks.
        stored = river.ask("series", "--sum", "-t", "1h")
        assert stored["rows"][0]["flows"] == sent["flows"] - lost
        assert stored["meta"]["lost"]["spool"] == lost
        flows_go_on(river)


def test_a_line_that_cannot_be_read_is_named_and_a_reload_with_it_keeps_the_old_configuration(tmp_path):
    with River(tmp_path, aggregators=1) as river:
        for program in list(river.programs.values()):
            good = program.config.read_text()
            line = good.count("\n") + 1
            program.config.write_text(good + "nonsense = = 1;\n")
            checked = program.run("--check-config")
            assert checked.returncode != 0
            assert f"{program.config}:{line}" in checked.stdout + checked.stderr
            program.process.send_signal(signal.SIGHUP)
            assert f"{program.config}:{line}" in program.logged("reload.refused")["reason"]
            program.counts("weir_config_reloads_total", 1, result="refused")
            program.config.write_text(good)
        flows_go_on(river)
