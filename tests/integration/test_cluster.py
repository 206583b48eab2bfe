"""A river whose map is in etcd: followed without a restart, and done without while etcd is gone."""

import json

from etcd import Etcd, base64_of, needs_etcd, text_of
from river import River, conf_file, wait_for

pytestmark = needs_etcd
PREFIX = "/weir/test/"
SHARDS = 128


def options_of(etcd, password):
    return {
        "cluster": {
            "map": "etcd", "etcd": etcd.urls, "etcd_prefix": PREFIX, "etcd_user": "weir", "etcd_password": str(password),
            "etcd_timeout": "1s",
        }
    }


class InEtcd(River):
    """With three members of etcd, which ask for a password and forget tokens quickly."""

    def __init__(self, folder, **options):
        self.etcd = Etcd(folder, words=["--auth-token-ttl", "2", "--bcrypt-cost", "4"])
        self.password = folder / "etcd.password"
        self.password.write_text("secret\n")
        self.password.chmod(0o600)
        super().__init__(folder / "river", options=options_of(self.etcd, self.password), **options)

    def __enter__(self):
        self.etcd.__enter__()
        self.etcd.add_user("weir", "secret", "/weir/")
        return super().__enter__()

    def __exit__(self, *why):
        try:
            super().__exit__(*why)
        finally:
            self.etcd.__exit__()

    def call(self, path, body):
        token = self.etcd.call("/v3/auth/authenticate", {"name": "weir", "password": "secret"})["token"]
        return self.etcd.call(path, body, token)

    def entries(self, below="map/"):
        """{key: value} in etcd, without the prefix."""
        key = PREFIX + below
        reply = self.call("/v3/kv/range", {"key": base64_of(key), "range_end": base64_of(key[:-1] + chr(ord(key[-1]) + 1))})
        return {text_of(kv["key"]).removeprefix(PREFIX): text_of(kv["value"]) for kv in reply.get("kvs", [])}

    def put(self, key, value):
        self.call("/v3/kv/put", {"key": base64_of(PREFIX + key), "value": base64_of(value)})

    def epochs(self):
        """What the fleet goes by: the epochs that its programs say they use."""
        return {p.name: int(p.events("map.used")[-1]["epoch"]) for p in self.programs.values() if p.events("map.used")}


def test_the_map_is_followed_kept_and_never_given_up(tmp_path):
    with InEtcd(tmp_path, aggregators=2) as river:
        fleet = [river.broker1, river.aggregator1, river.aggregator2, river.console]

        # A new cluster: rebalance gave every shard the member that the file alone would give it.
        entries = river.entries()
        assert len(entries) == SHARDS and len(river.entries("desired/")) == SHARDS
        owners = [value.removeprefix("epoch=1 members=") for value in entries.values()]
        assert owners.count("aggregator1") == owners.count("aggregator2") == SHARDS // 2
        status = river.ask("cluster", "status")
        assert status["meta"]["store"] == "etcd" and not status["meta"]["stale"]
        wait_for("both aggregators to be said to live", lambda: all(row["live"] for row in river.ask("cluster", "status")["rows"]))
        again = river.ask("cluster", "rebalance")["meta"]
        assert (again["made"], again["moves"], again["put"]) == (0, 0, 0)

        sent = river.generate(20000, 20000)
        river.settle()
        assert river.totals()[0] == sent["flows"]

        # The second aggregator has nothing of shards that no flows came for, so one of those may change hands by hand.
        moved = next(shard for shard in range(SHARDS) if entries[f"map/{shard}"].endswith("aggregator1"))
        before = river.epochs()
        river.put(f"map/{moved}", "epoch=2 members=aggregator1 joining=aggregator2")
        wait_for("all to follow", lambda: all(river.epochs().get(p.name, 0) > before.get(p.name, 0) for p in fleet))
        shard = river.ask("cluster", "status")["shards"][moved]
        assert (shard["epoch"], shard["members"], shard["joining"]) == (2, ["aggregator1"], ["aggregator2"])
        river.put(f"map/{moved}", "epoch=3 members=aggregator1")
        wait_for("the caches to have it", lambda: all(f"shard {moved} epoch=3 members=aggregator1\n" in (p.folder / "map").read_text() for p in fleet))

        # What is older, or is nonsense, is refused and counted, and changes nothing.
        refused = river.broker1.counter("weir_map_entries_refused_total")
        river.put(f"map/{moved}", "epoch=2 members=aggregator2")
        river.put(f"map/{(moved + 1) % SHARDS}", "epoch=9 members=nobody-has-this-name")
        river.put(f"map/{(moved + 2) % SHARDS}", "nonsense")
        for program in fleet:
            program.counts("weir_map_entries_refused_total", refused + 3)
        assert not [pair for p in fleet for pair in p.events("map.used") if pair["epoch"] == "0"]
        river.put(f"map/{moved}", "epoch=4 members=aggregator1")
        for step, shard in enumerate(((moved + 1) % SHARDS, (moved + 2) % SHARDS)):
            owner = entries[f"map/{shard}"].removeprefix("epoch=1 members=")
            river.put(f"map/{shard}", f"epoch={10 + step} members={owner}")

        # Without etcd everything goes on, and who starts uses what it knew last.
        for member in river.etcd.members:
            member.kill()
        for program in fleet:
            program.counts("weir_map_store_lost", 1)
        more = river.generate(20000, 20000)
        river.settle()
        river.broker1.restart()
        river.aggregator1.restart()
        assert river.broker1.events("map.from_cache") and river.aggregator1.events("map.from_cache")
        last = river.generate(20000, 20000)
        river.settle()
        assert river.totals()[0] == sent["flows"] + more["flows"] + last["flows"]
        alone = river.weir("cluster", "status", "-o", "json", status=1)
        assert "does not answer" in alone.stderr
        assert json.loads(alone.stdout)["shards"][moved]["epoch"] == 4  # what the console goes by

        # And back: what changed meanwhile, and after it, is followed.
        for member in river.etcd.members:
            member.start()
        for program in fleet:
            wait_for(f"{program.name} to find etcd", lambda p=program: p.counter("weir_map_store_lost") == 0)
        before = river.epochs()
        river.put(f"map/{moved}", "epoch=5 members=aggregator1")
        wait_for("all to follow again", lambda: all(river.epochs().get(p.name, 0) > before.get(p.name, 0) for p in fleet))


def test_shards_without_members_are_missed_in_answers_and_rebalance_gives_them_some(tmp_path):
    with InEtcd(tmp_path, aggregators=1) as river:
        river.call("/v3/kv/deleterange", {"key": base64_of(PREFIX), "range_end": base64_of(PREFIX[:-1] + "0")})
        (river.console.folder / "map").unlink()
        river.console.restart()
        assert river.console.events("map.empty")
        assert river.weir("cluster", "status", status=1).stderr.count("shards have no members") == 1
        code, problem = river.http("/api/v1/query?time=1h")
        assert code == 503, problem
        assert "no members" in json.dumps(problem)
        assert river.weir("cluster", "rebalance", "--dry-run", status=None).stderr.count("would get") == 1
        assert not river.entries()
        river.weir("cluster", "rebalance")
        assert len(river.entries()) == SHARDS
        wait_for("the console to follow", lambda: river.http("/api/v1/query?time=1h")[0] == 200)


def old_status(river):
    answer = json.loads(river.weir("cluster", "status", "-o", "json", status=None).stdout or "{}")
    return answer if answer and answer["meta"]["stale"] else None


def test_a_newcomer_is_wanted_for_its_share_and_without_a_quorum_status_says_that_it_is_old(tmp_path):
    with InEtcd(tmp_path, aggregators=2) as river:
        (first, second) = river.members["aggregators"]
        river.make_key("aggregator3")
        third = second | {"name": "aggregator3", "key": river.public_key("aggregator3")}
        river.members["aggregators"] = [first, second, third]
        river.cluster.write_text(conf_file(river.members))
        planned = river.ask("cluster", "rebalance", "--dry-run")["meta"]
        assert planned["moves"] in (SHARDS // 3, SHARDS // 3 + 1) and planned["dry_run"]
        done = river.ask("cluster", "rebalance")
        assert done["meta"]["moves"] == planned["moves"]
        rows = {row["name"]: row for row in done["rows"]}
        assert rows["aggregator3"]["to_join"] == planned["moves"] and rows["aggregator3"]["members"] == 0
        assert rows["aggregator1"]["to_leave"] + rows["aggregator2"]["to_leave"] == planned["moves"]
        assert all(value.startswith("epoch=1 ") for value in river.entries().values())  # nothing moved by that alone

        for member in river.etcd.members[:2]:
            member.kill()
        old = wait_for("an answer that may be old", lambda: old_status(river))
        assert [shard["members"] for shard in old["shards"]] == [shard["members"] for shard in done["shards"]]
        assert river.weir("cluster", "rebalance", status=None).returncode not in (0, 1)
