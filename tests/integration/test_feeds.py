"""Flow logs in watched folders: what comes out is what plain arithmetic over the text says, each file exactly once."""

import gzip
import json
import random
import time

import pytest

from river import River, wait_for

NOW = int(time.time()) // 60 * 60 - 1200


class Sum:
    """Flows, packets and bytes, added up by whoever writes the logs."""

    def __init__(self):
        self.flows = self.packets = self.bytes = 0
        self.by_src = {}

    def add(self, src, packets, octets):
        self.flows += 1
        self.packets += packets
        self.bytes += octets
        self.by_src[src] = self.by_src.get(src, 0) + octets

    def totals(self):
        return self.flows, self.packets, self.bytes


AWS_FIELDS = (
    "version account-id vpc-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)


def aws(rng, lines, sums, header=True):
    text = [AWS_FIELDS] if header else []
    for i in range(lines):
        account, vpc = 123456789012 + rng.randrange(3), f"vpc-0123456789abcde{rng.randrange(8)}f"
        if i % 50 == 49:
            text.append(f"3 {account} {vpc} eni-0a1b2c3d4e5f60718 - - - - - - - {NOW} {NOW + 60} - {rng.choice(['NODATA', 'SKIPDATA'])}")
            continue
        src, packets = f"10.1.{rng.randrange(4)}.{rng.randrange(1, 9)}", rng.randrange(1, 1000)
        octets, action = packets * rng.randrange(40, 1500), rng.choice(["ACCEPT", "ACCEPT", "REJECT"])
        start = NOW + rng.randrange(300)
        sums.add(src, packets, octets)
        text.append(
            f"3 {account} {vpc} eni-0a1b2c3d4e5f60718 {src} 10.2.0.{rng.randrange(1, 9)} {rng.randrange(1024, 65536)} 443 6 "
            f"{packets} {octets} {start} {start + rng.randrange(60)} {action} OK"
        )
    return "\n".join(text) + "\n"


def azure(rng, records, sums):
    out = []
    for _ in range(records):
        tuples = []
        for _ in range(20):
            src, dst = f"10.3.0.{rng.randrange(1, 9)}", f"198.51.100.{rng.randrange(1, 9)}"
            head = f"{NOW * 1000 + rng.randrange(60000)},{src},{dst},{rng.randrange(1024, 65536)},443,6,O"
            state = rng.choice("BCED")
            if state == "B":
                tuples.append(f"{head},B,NX,0,0,0,0")
            elif state == "D":
                tuples.append(f"{head},D,NX,0,0,0,0")
                sums.add(src, 0, 0)
            else:
                there, back = rng.randrange(1, 100), rng.randrange(0, 100)
                tuples.append(f"{head},{state},NX,{there},{there * 100},{back},{back * 60}")
                sums.add(src, there, there * 100)
                if back:
                    sums.add(dst, back, back * 60)
        flows = [{"aclID": "1", "flowGroups": [{"rule": "r", "flowTuples": tuples}]}]
        target = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/vnet1"
        out.append({"macAddress": "000D3AF87856", "targetResourceID": target, "flowRecords": {"flows": flows}})
    return json.dumps({"records": out}, separators=(",", ":"))


def gcp(rng, lines, sums):
    out = []
    for _ in range(lines):
        src, packets = f"10.4.0.{rng.randrange(1, 9)}", rng.randrange(1, 1000)
        sums.add(src, packets, packets * 77)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW + rng.randrange(60)))
        connection = {"src_ip": src, "dest_ip": "10.5.0.1", "src_port": 40000, "dest_port": 53, "protocol": 17}
        payload = {"connection": connection, "reporter": "SRC", "bytes_sent": str(packets * 77), "packets_sent": str(packets)}
        payload |= {"start_time": stamp + ".25Z", "end_time": stamp + ".75Z"}
        out.append(json.dumps({"jsonPayload": payload, "logName": "projects/shop/logs/compute.googleapis.com%2Fvpc_flows"}))
    return "\n".join(out) + "\n"


def zeek(rng, lines, sums):
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto duration history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes"
    text = ["#separator \\x09", "#unset_field\t-", "#path\tconn", "#fields\t" + fields.replace(" ", "\t")]
    for _ in range(lines):
        src, dst, there, back = f"10.6.0.{rng.randrange(1, 9)}", "192.0.2.7", rng.randrange(1, 99), rng.randrange(0, 99)
        row = [f"{NOW + rng.random() * 60:.6f}", "Cx", src, "40000", dst, "443", "tcp", "0.5", "ShADadFf", there, there * 90, back, back * 50]
        text.append("\t".join(map(str, row)))
        sums.add(src, there, there * 90)
        if back:
            sums.add(dst, back, back * 50)
    return "\n".join(text) + "\n"


def feeds(folder, **paths):
    for name in paths:
        (folder / name).mkdir(parents=True)
    return {"agent": {"feeds": [{"name": n, "format": f, "path": str(folder / n)} for n, f in paths.items()]}}


def appear(path, data):
    """Write a file whole: beside its place, then renamed."""
    part = path.with_name("." + path.name)
    part.write_bytes(data)
    part.rename(path)


def expect(river, sums):
    """All of it is there, and stays what it is."""
    wait_for(
        lambda: f"{sums.flows} flows, are {river.totals('3h')[0]}\n{river.agent1.log_tail()}",
        lambda: river.totals("3h")[0] >= sums.flows,
        every_s=0.5,
    )
    river.settle()
    assert river.totals("3h") == sums.totals()


def test_sums_are_those_of_the_text_for_every_format(tmp_path):
    rng, total, each = random.Random(7), Sum(), {}
    with River(tmp_path / "river", aggregators=1, options=feeds(tmp_path, a="aws", z="azure", g="gcp", k="zeek")) as river:
        for name, make, amount in (("a", aws, 3000), ("z", azure, 60), ("g", gcp, 600), ("k", zeek, 1500)):
            each[name] = Sum()
            text = make(rng, amount, each[name]).encode()
            appear(tmp_path / name / f"{name}.log.gz", gzip.compress(text) if name in "ak" else text)
            for src, octets in each[name].by_src.items():
                total.by_src[src] = total.by_src.get(src, 0) + octets
            total.flows += each[name].flows
            total.packets += each[name].packets
            total.bytes += each[name].bytes
        expect(river, total)
        rows = river.ask("top", "-g", "src_ip", "-n", "100", "-t", "3h")["rows"]
        assert {row["src_ip"]: row["bytes"] for row in rows} == total.by_src
        rows = river.ask("top", "-g", "protocol", "-t", "3h")["rows"]
        names = {"a": "aws", "z": "azure", "g": "gcp", "k": "zeek"}
        assert {row["protocol"]: row["bytes"] for row in rows} == {names[n]: s.bytes for n, s in each.items()}
        assert river.agent1.counter("weir_agent_feed_records_bad_total") == 0


def test_a_bad_line_is_named_and_the_rest_is_taken(tmp_path):
    sums = Sum()
    with River(tmp_path / "river", aggregators=1, options=feeds(tmp_path, a="aws")) as river:
        good = aws(random.Random(1), 40, sums)
        appear(tmp_path / "a" / "x.log", (good + "this is no flow log\n").encode())
        expect(river, sums)
        line = river.agent1.logged("feed.bad")
        assert line["file"].endswith("/a/x.log") and line["line"] == "42"
        assert river.agent1.counter("weir_agent_feed_records_bad_total") == 1


def test_a_source_without_flows_is_heard_and_what_aws_skipped_is_a_loss_of_its_source(tmp_path):
    quiet, skipped, busy = "123456789012", "123456789013", "123456789014"
    addresses = {account: f"fd57:4549:5200:1:0:{account[:4]}:{account[4:8]}:{account[8:]}" for account in (quiet, skipped, busy)}

    def line(account, status):
        return f"2 {account} eni-0a1b2c3d4e5f60718 - - - - - - - {NOW} {NOW + 60} - {status}\n"

    flow = f"2 {busy} eni-0a1b2c3d4e5f60718 10.1.0.1 10.2.0.1 40000 443 6 10 840 {NOW} {NOW + 60} ACCEPT OK\n"
    with River(tmp_path / "river", aggregators=1, options=feeds(tmp_path, a="aws")) as river:
        text = 2 * line(quiet, "NODATA") + 2 * line(skipped, "SKIPDATA") + flow + line(busy, "SKIPDATA") + line(busy, "NODATA")
        appear(tmp_path / "a" / "x.log", text.encode())
        rows = wait_for(
            lambda: f"three sources\n{river.agent1.log_tail()}",
            lambda: len(found := river.ask("exporters", "-t", "3h")["rows"]) == 3 and {r["exporter"]: r for r in found},
            every_s=0.5,
        )
        assert {a: (r["flows"], r["lost_sequence"]) for a, r in rows.items()} == {
            addresses[quiet]: (0, 0),
            addresses[skipped]: (0, 2),
            addresses[busy]: (1, 1),
        }
        assert all(row["last_heard"] for row in rows.values())
        why = river.ask("exporters", "why", addresses[skipped], "-t", "3h")["rows"]
        assert [(row["reason"], row["count"], row["unit"]) for row in why] == [("skipdata", 2, "intervals")]
        assert river.ask("top", "-t", "3h")["meta"]["lost"]["sequence"] == 3


def test_what_a_feed_keeps_of_its_records_comes_back_with_the_flows(tmp_path):
    options = feeds(tmp_path, a="aws", k="zeek")
    options["agent"]["feeds"][0]["keep"] = "instance-id ecs-task-arn reject-reason"
    options["agent"]["feeds"][1]["keep"] = "uid,service"
    arn, lines = "arn:" + "x" * 300, 3000
    head = "account-id instance-id srcaddr dstaddr dstport protocol packets bytes start end action ecs-task-arn reject-reason\n"
    rows = [
        f"123456789012 i-{i % 7:017x} 10.1.{i // 250}.{i % 250} 10.2.0.1 443 6 1 100 {NOW} {NOW + 9} ACCEPT {arn} {'BPA' if i % 2 else '-'}\n"
        for i in range(lines)
    ]
    conn = f"#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tproto\tservice\torig_pkts\tresp_pkts\n{NOW}\tCa1\t10.6.0.1\t10.6.0.2\ttcp\t-\t1\t1\n"
    with River(tmp_path / "river", aggregators=1, options=options) as river:
        appear(tmp_path / "a" / "x.log", (head + "".join(rows)).encode())
        appear(tmp_path / "k" / "conn.log", conn.encode())
        sums = Sum()
        sums.flows, sums.packets, sums.bytes = lines + 2, lines + 2, lines * 100
        expect(river, sums)
        found = river.ask("flows", "-t", "3h", "-n", "4000", "protocol aws")["rows"]
        assert len(found) == lines, len(found)
        for row in found:
            _, _, high, low = row["src_ip"].split(".")
            i = 250 * int(high) + int(low)
            assert row["extra.instance_id"] == f"i-{i % 7:017x}" and row["extra.ecs_task_arn"] == arn[:255]
            assert row.get("extra.reject_reason") == ("BPA" if i % 2 else None)
        found = river.ask("flows", "-t", "3h", "protocol zeek")["rows"]
        assert [(row["extra.uid"], "extra.service" in row) for row in found] == 2 * [("Ca1", False)]
        assert river.agent1.counter("weir_agent_feed_kept_cut_total") == lines


def test_a_file_is_taken_once_though_it_grows_moves_is_copied_and_compressed(tmp_path):
    rng, sums = random.Random(2), Sum()
    with River(tmp_path / "river", aggregators=1, options=feeds(tmp_path, k="zeek")) as river:
        log = tmp_path / "k" / "conn.log"
        text = zeek(rng, 300, sums)
        cut = text.index("\n", len(text) // 2) - 10  # in the middle of a line
        log.write_text(text[:cut])
        wait_for("the first half", lambda: river.agent1.counter("weir_agent_feed_flows_total") > 0)
        with open(log, "a") as f:
            f.write(text[cut:])
        expect(river, sums)
        log.rename(tmp_path / "k" / "conn.1.log")
        appear(tmp_path / "k" / "copy.log", text.encode())
        appear(tmp_path / "k" / "conn.1.log.gz", gzip.compress(text.encode()))
        river.agent1.counts("weir_agent_feed_files_total", 2, result="known")
        river.agent1.restart()
        more = zeek(rng, 10, sums)
        appear(tmp_path / "k" / "next.log", more.encode())
        expect(river, sums)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_is_taken_exactly_once_though_the_agent_is_killed_in_its_middle(packed, tmp_path):
    rng, sums = random.Random(3), Sum()
    text = aws(rng, 60000, sums).encode()
    with River(tmp_path / "river", aggregators=1, options=feeds(tmp_path, a="aws")) as river:
        appear(tmp_path / "a" / "big.log", gzip.compress(text, 1) if packed else text)
        for _ in range(6):
            time.sleep(rng.uniform(0.05, 0.6))
            river.agent1.restart()
        expect(river, sums)
        assert river.agent1.events("feed.lost") == []
