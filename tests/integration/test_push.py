"""Flow logs that are handed to the agent: each counts once, however often it is sent, and whoever is killed when."""

import base64
import gzip
import json
import random
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid

from river import WAIT_S, River, free_port, wait_for
from test_feeds import AWS_FIELDS, Sum, aws, azure, expect, gcp, zeek

KEY = "a-key-of-32-characters-for-tests"


def agent_with(*feeds, **options):
    return {"agent": {"feeds": [{"name": name, "format": kind, **more} for name, kind, more in feeds]} | options}


def pushed(folder, *feeds, **options):
    """Options of an agent that is posted to."""
    (folder / "push.keys").write_text(KEY + "\n")
    (folder / "push.keys").chmod(0o600)
    listen = {"push_listen": f"127.0.0.1:{free_port()}", "push_keys": str(folder / "push.keys")}
    return agent_with(*feeds, **(listen | options))


def post(program, feed, data, key=KEY, **headers):
    """POST it as it is: (status, text). 0: nobody answered."""
    cert = program.options.get("push_tls_cert")
    url = f"http{'s' if cert else ''}://{program.options['push_listen']}/feeds/{feed}"
    headers = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")
    try:
        trust = ssl.create_default_context(cafile=cert) if cert else None
        with urllib.request.urlopen(request, timeout=WAIT_S, context=trust) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


def firehose(program, feed, *records, request_id=None, zipped=False):
    """Deliver records as Amazon Data Firehose does; the status, after its answer was looked at."""
    request_id = request_id or str(uuid.uuid4())
    records = [{"data": base64.b64encode(record).decode()} for record in records]
    body = json.dumps({"requestId": request_id, "timestamp": int(time.time() * 1000), "records": records}).encode()
    headers = {"X_Amz_Firehose_Request_Id": request_id, "X_Amz_Firehose_Access_Key": KEY, "Content_Type": "application/json"}
    if zipped:
        body, headers = gzip.compress(body), headers | {"Content_Encoding": "gzip"}
    status, text = post(program, feed, body, **headers)
    answer = json.loads(text)
    assert answer["requestId"] == request_id and isinstance(answer["timestamp"], int)
    assert ("errorMessage" in answer) == (status != 200)
    return status


def cloudwatch(lines, kind="DATA_MESSAGE"):
    """What a subscription of CloudWatch Logs puts into a record."""
    events = [{"id": str(i), "timestamp": 1700000000000, "message": line} for i, line in enumerate(lines)]
    head = {"messageType": kind, "owner": "123456789012", "logGroup": "vpc", "logStream": "eni", "subscriptionFilters": ["all"]}
    return gzip.compress(json.dumps(head | {"logEvents": events}).encode())


def hand_over(program, feed, data):
    """weir-agent --feed, with the data on its standard input."""
    return subprocess.run(program.command("--feed", feed), input=data, capture_output=True, timeout=WAIT_S)


def by_awk(*texts):
    """Flows, packets and bytes of AWS logs, as awk adds them up."""
    program = '$NF == "OK" { n++; p += $10; b += $11 } END { printf "%d %d %d", n, p, b }'
    done = subprocess.run(["awk", program], input="".join(texts), capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_what_is_posted_adds_up_to_what_awk_says_however_it_is_wrapped(tmp_path):
    rng, sums, texts = random.Random(5), Sum(), []

    def log(lines):
        texts.append(aws(rng, lines, sums))
        return texts[-1]

    def lines_of(text):  # without the header line: the feed is told of its fields
        return text.splitlines()[1:]

    options = pushed(tmp_path, ("a", "aws", {"fields": AWS_FIELDS}))
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        agent = river.agent1
        assert post(agent, "a", log(2001).rstrip("\n").encode()) == (200, "taken\n")  # the last line has no end
        assert post(agent, "a", gzip.compress(log(500).encode()))[0] == 200
        assert post(agent, "a", gzip.compress(log(500).encode()), Content_Encoding="gzip")[0] == 200
        assert firehose(agent, "a", *(line.encode() for line in lines_of(log(300)))) == 200
        assert firehose(agent, "a", *(line.encode() for line in lines_of(log(300))), zipped=True) == 200
        assert firehose(agent, "a", *(json.dumps({"message": line}).encode() for line in lines_of(log(100)))) == 200
        assert firehose(agent, "a", cloudwatch(["check"], "CONTROL_MESSAGE")) == 200
        assert firehose(agent, "a", cloudwatch(lines_of(log(400))), cloudwatch(lines_of(log(10)))) == 200
        expect(river, sums)
        assert river.totals("3h") == by_awk(*texts)
        agent.counts("weir_agent_push_requests_total", 7, result="taken")
        agent.counts("weir_agent_push_requests_total", 1, result="empty")
        assert agent.counter("weir_agent_feed_records_bad_total") == 0
        wait_for("the inbox to be empty", lambda: agent.counter("weir_agent_push_waiting_bytes") == 0)


def test_every_format_may_be_posted(tmp_path):
    rng, sums = random.Random(6), Sum()
    made = {"a": ("aws", aws, 300), "z": ("azure", azure, 6), "g": ("gcp", gcp, 60), "k": ("zeek", zeek, 150)}
    options = pushed(tmp_path, *((name, kind, {}) for name, (kind, _, _) in made.items()))
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        for name, (_, make, amount) in made.items():
            assert post(river.agent1, name, make(rng, amount, sums).encode())[0] == 200
        expect(river, sums)


def test_who_has_no_key_or_no_log_is_refused_and_counted(tmp_path):
    with River(tmp_path / "river", aggregators=1, options=pushed(tmp_path, ("a", "aws", {}))) as river:
        agent = river.agent1
        assert post(agent, "a", b"x", key="a-key-of-32-characters-for-testS")[0] == 401
        assert agent.counter("weir_agent_push_requests_total", result="unauthorized") == 1
        assert agent.logged("push.refused", "status") == "401"
        assert post(agent, "a", b"this is no gzip", Content_Encoding="gzip")[0] == 400
        assert post(agent, "a", gzip.compress(aws(random.Random(1), 100, Sum()).encode())[:-9])[0] == 400
        assert firehose(agent, "a", gzip.compress(b"cut off" * 100)[:-9]) == 400
        assert post(agent, "b", b"x")[0] == 404
        assert agent.counter("weir_agent_push_requests_total", result="malformed") == 4
        assert agent.counter("weir_agent_feed_files_total") == 0


def test_a_request_that_comes_again_counts_once(tmp_path):
    rng, sums = random.Random(7), Sum()
    with River(tmp_path / "river", aggregators=1, options=pushed(tmp_path, ("a", "aws", {}))) as river:
        agent = river.agent1
        first, second = aws(rng, 500, sums).encode(), aws(rng, 500, sums).encode()
        for attempt in range(3):
            assert post(agent, "a", first, Idempotency_Key="one") == (200, "taken\n" if attempt == 0 else "taken before\n")
            assert firehose(agent, "a", second, request_id="two") == 200
            expect(river, sums)
            if attempt == 1:
                agent.restart()
        assert agent.counter("weir_agent_push_requests_total", result="known") == 2  # since the restart
        twin = Sum()
        data = aws(rng, 500, twin).encode()
        for key in ("three", "four"):  # the same bytes under two names are two logs
            assert post(agent, "a", data, Idempotency_Key=key) == (200, "taken\n")
            sums.flows, sums.packets, sums.bytes = (a + b for a, b in zip(sums.totals(), twin.totals()))
        expect(river, sums)


def test_what_was_answered_is_neither_lost_nor_doubled_though_the_agent_is_killed_at_any_moment(tmp_path):
    rng, sums = random.Random(8), Sum()
    with River(tmp_path / "river", aggregators=1, options=pushed(tmp_path, ("a", "aws", {}))) as river:
        agent, waiting, sent = river.agent1, {}, []
        for round in range(8):
            for i in range(4):
                waiting[f"{round}-{i}"] = aws(rng, rng.choice([50, 3000]), sums).encode()
            while waiting:
                for key, data in list(waiting.items()):
                    if post(agent, "a", data, Idempotency_Key=key)[0] == 200:
                        sent.append((key, data))
                        del waiting[key]
                    if rng.random() < 0.3:
                        time.sleep(rng.uniform(0, 0.3))
                        agent.restart()
            key, data = rng.choice(sent)  # as a sender does that did not hear the answer
            assert post(agent, "a", data, Idempotency_Key=key)[0] == 200
        expect(river, sums)
        assert agent.events("feed.lost") == []
        wait_for("the inbox to be empty", lambda: agent.counter("weir_agent_push_waiting_bytes") == 0)


def test_while_nothing_can_be_shipped_senders_keep_what_does_not_fit(tmp_path):
    rng, sums = random.Random(9), Sum()
    options = pushed(tmp_path, ("a", "aws", {}), spool="4MiB", push_spool="1MiB")
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        agent = river.agent1
        river.broker1.kill()
        kept = []
        half_full = False  # the spool; the feeds wait then
        for i in range(400):
            data = aws(rng, 2500, sums).encode()
            while (status := post(agent, "a", data, Idempotency_Key=str(i))[0]) != 200 and not half_full:
                assert status == 503
                half_full = agent.counter("weir_agent_spool_bytes") > 2 << 20
                time.sleep(0.1)
            if status != 200:
                kept.append((i, data))
            if len(kept) == 3:
                break
        assert len(kept) == 3
        assert agent.counter("weir_agent_push_requests_total", result="full") >= 3
        assert agent.counter("weir_agent_push_waiting_bytes") > 512 << 10
        assert agent.stop() == 0  # in the middle of a log that it is taking
        agent.start()
        river.broker1.start()
        for i, data in kept:
            wait_for("room", lambda: post(agent, "a", data, Idempotency_Key=str(i))[0] == 200, every_s=0.5)
        expect(river, sums)
        assert agent.counter("weir_agent_flows_lost_total") == 0


def test_who_posts_from_elsewhere_is_met_with_tls(tmp_path):
    sums, cert, key = Sum(), tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=weir -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    options = pushed(tmp_path, ("a", "aws", {}), push_tls_cert=str(cert), push_tls_key=str(key))
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        assert post(river.agent1, "a", aws(random.Random(11), 5000, sums).encode())[0] == 200
        expect(river, sums)
        river.make_key("agent2")
        agent = river.add("agent", "agent2", push_listen=f"0.0.0.0:{free_port()}", push_tls_cert="", push_tls_key="")
        agent.start(ready=False)
        assert agent.process.wait(WAIT_S) == 1 and "tls_cert" in agent.log()


def test_keys_change_and_feeds_go_on_when_the_configuration_is_read_again(tmp_path):
    rng, sums = random.Random(10), Sum()
    (tmp_path / "w").mkdir()
    options = pushed(tmp_path, ("a", "aws", {}), ("w", "aws", {"path": str(tmp_path / "w")}))
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        agent = river.agent1
        (tmp_path / "push.keys").write_text("another-key-is-now-in-the-file\n")
        agent.process.send_signal(signal.SIGHUP)
        agent.logged("reload.done")
        assert post(agent, "a", b"x")[0] == 401
        assert post(agent, "a", aws(rng, 100, sums).encode(), key="another-key-is-now-in-the-file")[0] == 200
        (tmp_path / "w" / "x.log").write_text(aws(rng, 100, sums))
        expect(river, sums)


def test_what_comes_on_standard_input_is_taken_once_to_its_last_byte(tmp_path):
    sums = Sum()
    with River(tmp_path / "river", aggregators=1, options=agent_with(("a", "aws", {}))) as river:
        text = aws(random.Random(1), 3001, sums).rstrip("\n").encode()  # the last line has no end
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
    with River(tmp_path / "river", aggregators=1, options=agent_with(("a", "aws", {}))) as river:
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
