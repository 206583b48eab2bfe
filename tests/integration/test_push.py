"""Flow logs that are handed to the agent: each counts once, however often it is sent, and whoever is killed when."""

import random
import subprocess
import time

from river import WAIT_S, River
from test_feeds import Sum, aws, expect


def agent_with(*feeds, **options):
    return {"agent": {"feeds": [{"name": name, "format": kind} for name, kind in feeds]} | options}


def hand_over(program, feed, data):
    """weir-agent --feed, with the data on its standard input."""
    return subprocess.run(program.command("--feed", feed), input=data, capture_output=True, timeout=WAIT_S)


def test_what_comes_on_standard_input_is_taken_once_to_its_last_byte(tmp_path):
    sums = Sum()
    with River(tmp_path / "river", aggregators=1, options=agent_with(("a", "aws"))) as river:
        text = aws(random.Random(1), 3000, sums).rstrip("\n").encode()  # the last line has no end
        done = hand_over(river.agent1, "a", text)
        assert done.returncode == 0 and done.stdout == b"%d bytes for the feed a\n" % len(text)
        expect(river, sums)
        again = hand_over(river.agent1, "a", text)
        assert again.returncode == 1 and b"before" in again.stderr
        assert hand_over(river.agent1, "b", text).returncode == 1
        river.agent1.restart()
        assert hand_over(river.agent1, "a", text).returncode == 1
        expect(river, sums)
        assert river.agent1.counter("weir_agent_push_waiting_bytes") == 0


def test_a_log_that_was_handed_over_is_taken_exactly_once_though_the_agent_is_killed_in_its_middle(tmp_path):
    rng, sums = random.Random(3), Sum()
    with River(tmp_path / "river", aggregators=1, options=agent_with(("a", "aws"))) as river:
        for _ in range(4):
            assert hand_over(river.agent1, "a", aws(rng, 20000, sums).encode()).returncode == 0
            river.agent1.kill()
            assert hand_over(river.agent1, "a", aws(rng, 300, sums).encode()).returncode == 0  # nobody is there
            river.agent1.start()
            time.sleep(rng.uniform(0.05, 0.6))
            river.agent1.restart()
        expect(river, sums)
        assert river.agent1.events("feed.lost") == []
        assert river.agent1.counter("weir_agent_push_waiting_bytes") == 0
