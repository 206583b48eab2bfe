"""The map store in a real etcd of three members: compare and swap, watches, leases, users, and members that die."""

import subprocess
import time

import pytest

from etcd import Etcd, needs_etcd
from river import BIN, WAIT_S, wait_for

pytestmark = needs_etcd
PREFIX = "/weir/test/"


class Store:
    """weir-mapstore, one command after the other."""

    def __init__(self, etcd, user="", password="", prefix=PREFIX, timeout_ms=2000, urls=None):
        words = [str(BIN / "weir-mapstore"), prefix, user, password, str(timeout_ms), *(urls or etcd.urls)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.end()[1] == "done 0"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            assert self.process.wait(WAIT_S) == 0
        finally:
            self.process.kill()

    def send(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def end(self):
        """The items of an answer, and its last line."""
        items = []
        while True:
            line = self.process.stdout.readline()
            assert line, "weir-mapstore ended"
            if line.startswith(("done ", "error ")):
                return items, line.rstrip("\n")
            items.append(tuple(line.rstrip("\n").split(" ", 3)))

    def ask(self, *words):
        self.send(*words)
        return self.end()

    def code(self, *words):
        """ "done", or the name of the error. """
        last = self.ask(*words)[1].split(" ")
        return last[0] if last[0] == "done" else last[1]

    def get(self, prefix, stale=""):
        items, last = self.ask("get", prefix, stale)
        assert last.startswith("done "), last
        return {item[1]: (int(item[2]), item[3]) for item in items}, int(last.split()[1])


@pytest.fixture(name="etcd", scope="module")
def one_etcd(tmp_path_factory):
    with Etcd(tmp_path_factory.mktemp("etcd")) as etcd:
        yield etcd


def test_a_key_is_made_once_and_changed_by_who_knows_its_revision(etcd):
    with Store(etcd) as first, Store(etcd) as second:
        assert first.code("cas", "cas/1", 0, 0, "one") == "done"
        assert second.code("cas", "cas/1", 0, 0, "another") == "EEXIST"
        kept, _ = second.get("cas/")
        revision = kept["cas/1"][0]
        assert kept["cas/1"][1] == "one"
        assert second.code("cas", "cas/1", revision, 0, "two") == "done"
        assert first.code("cas", "cas/1", revision, 0, "three") == "EEXIST"
        assert first.get("cas/")[0]["cas/1"][1] == "two"


def test_prefixes_of_two_clusters_do_not_see_each_other(etcd):
    with Store(etcd, prefix="/weir/a/") as a, Store(etcd, prefix="/weir/b/") as b:
        assert a.code("cas", "map/1", 0, 0, "of a") == "done"
        assert b.get("map/")[0] == {}
        assert b.code("cas", "map/1", 0, 0, "of b") == "done"
        assert a.get("map/")[0]["map/1"][1] == "of a"


def test_a_watch_tells_what_others_change_in_order_and_goes_on(etcd):
    with Store(etcd) as watcher, Store(etcd) as writer:
        _, revision = watcher.get("watch/")
        assert watcher.ask("watch", "watch/", revision + 1, 50) == ([], "done 0")
        seen = []
        for number in range(20):
            assert writer.code("cas", f"watch/{number}", 0, 0, f"epoch={number + 1} members=a,b") == "done"
        assert writer.code("cas", "elsewhere", 0, 0, "x") == "done"

        def all_came():
            items, last = watcher.ask("watch", "watch/", revision + 1, 200)
            assert last.startswith("done "), last
            seen.extend(items)
            return len(seen) >= 20

        wait_for("all changes", all_came)
        assert [item[1] for item in seen] == [f"watch/{number}" for number in range(20)]
        assert seen[7][3] == "epoch=8 members=a,b"
        revisions = [int(item[2]) for item in seen]
        assert revisions == sorted(revisions) and revisions[0] > revision


def test_a_watch_from_a_revision_that_was_compacted_away_says_so(etcd):
    with Store(etcd) as store:
        assert store.code("cas", "compact", 0, 0, "1") == "done"
        _, revision = store.get("compact")
        assert store.code("cas", "compact", store.get("compact")[0]["compact"][0], 0, "2") == "done"
        etcd.call("/v3/kv/compaction", {"revision": str(store.get("compact")[1])})

        def told():
            code = store.code("watch", "compact", revision, 500)
            assert code in ("done", "ENOTFOUND")
            return code == "ENOTFOUND"

        wait_for("the watch to say that it cannot begin there", told)


def test_a_lease_keeps_its_keys_as_long_as_it_is_kept_alive(etcd):
    with Store(etcd) as store:
        lease = int(store.ask("lease", 2, 0)[1].split()[1])
        assert store.code("cas", "live/agg-1", 0, lease, "here") == "done"
        _, revision = store.get("live/")
        until = time.monotonic() + 5
        while time.monotonic() < until:  # longer than the lease lasts by itself
            assert store.ask("lease", 2, lease)[1] == f"done {lease}"
            assert store.ask("watch", "live/", revision + 1, 500) == ([], "done 0")
        seen = []
        wait_for("the key to go", lambda: seen.extend(store.ask("watch", "live/", revision + 1, 500)[0]) or seen)
        assert seen[0][:2] == ("gone", "live/agg-1")
        assert store.get("live/")[0] == {}
        assert store.code("lease", 2, lease) == "ENOTFOUND"


def test_without_its_leader_etcd_goes_on_and_so_does_the_store(tmp_path):
    with Etcd(tmp_path) as etcd:
        leader = etcd.leader()
        urls = [leader.url] + [url for url in etcd.urls if url != leader.url]  # the one that dies is asked first
        with Store(etcd, urls=urls) as store, Store(etcd, urls=urls) as watcher:
            assert store.code("cas", "map/1", 0, 0, "epoch=1 members=a") == "done"
            kept, revision = watcher.get("map/")
            assert watcher.ask("watch", "map/", revision + 1, 100) == ([], "done 0")
            leader.kill()
            began = time.monotonic()
            wait_for("a change to go through", lambda: store.code(
                "cas", "map/1", kept["map/1"][0], 0, "epoch=2 members=b") in ("done", "EEXIST"))
            print(f"changes were back {time.monotonic() - began:.2f} s after kill -9 of the leader")
            wait_for("the watch to say that it has ended", lambda: watcher.code(
                "watch", "map/", revision + 1, 500) == "EUNREACHABLE" or watcher.get("map/")[0]["map/1"][1] != "epoch=1 members=a")
            assert watcher.get("map/")[0]["map/1"][1] == "epoch=2 members=b"


def test_without_a_quorum_only_what_may_be_old_is_answered(tmp_path):
    with Etcd(tmp_path) as etcd, Store(etcd, timeout_ms=1000) as store:
        assert store.code("cas", "map/1", 0, 0, "epoch=1 members=a") == "done"
        kept, revision = store.get("map/")
        wait_for("every member to have it", lambda: all(
            member.call("/v3/kv/range", {"key": "L3dlaXIvdGVzdC9tYXAvMQ==", "serializable": True}).get("kvs") for member in etcd.members))
        store.ask("watch", "map/", revision + 1, 100)
        for member in etcd.members[:2]:
            member.kill()
        assert store.code("get", "map/") in ("ETIMEOUT", "EUNREACHABLE")
        assert store.code("cas", "map/1", kept["map/1"][0], 0, "epoch=2 members=b") in ("ETIMEOUT", "EUNREACHABLE")
        assert store.get("map/", "stale")[0]["map/1"][1] == "epoch=1 members=a"
        wait_for("the watch to end, which no leader feeds", lambda: store.code("watch", "map/", revision + 1, 1000) == "EUNREACHABLE")
        for member in etcd.members[:2]:
            member.start()
        wait_for("etcd to be back", lambda: store.code("get", "map/") == "done")


def test_a_user_has_a_password_and_its_own_keys_and_gets_a_new_token_when_the_old_one_ends(tmp_path):
    with Etcd(tmp_path, members=1, words=["--auth-token-ttl", "1", "--bcrypt-cost", "4"]) as etcd:
        etcd.add_user("weir", "secret", "/weir/")
        with Store(etcd) as nobody, Store(etcd, "weir", "wrong") as wrong, Store(etcd, "weir", "secret", "/other/") as other:
            assert nobody.code("get", "map/") == "EDENIED"
            assert wrong.code("get", "map/") == "EDENIED"
            assert other.code("get", "map/") == "EDENIED"
        with Store(etcd, "weir", "secret") as store, Store(etcd, "weir", "secret") as watcher:
            assert store.code("cas", "map/1", 0, 0, "epoch=1 members=a") == "done"
            revision = watcher.get("map/")[1]
            token = etcd.call("/v3/auth/authenticate", {"name": "weir", "password": "secret"})["token"]
            body = {"key": "L3dlaXIvdGVzdC9tYXAvMQ=="}
            wait_for("a token as old as the store's to end",
                     lambda: etcd.members[0].call("/v3/kv/range", body, token) is None, every_s=3)
            assert store.get("map/")[0]["map/1"][1] == "epoch=1 members=a"
            assert watcher.code("watch", "map/", revision + 1, 500) in ("done", "EUNREACHABLE")
            assert watcher.ask("watch", "map/", revision + 1, 100)[1] == "done 0"
            assert store.code("cas", "map/2", 0, 0, "epoch=1 members=a") == "done"
            assert watcher.ask("watch", "map/", revision + 1, 5000)[1] == "done 1"
            etcd.members[0].kill()  # simple tokens are in memory only
            etcd.members[0].start()
            wait_for("etcd to be back", lambda: etcd.leader() is not None)
            assert store.code("cas", "map/1", store.get("map/")[0]["map/1"][0], 0, "epoch=2 members=a") == "done"


def test_a_password_does_not_leave_the_host_in_the_clear():
    words = [str(BIN / "weir-mapstore"), PREFIX, "weir", "secret", "1000", "http://192.0.2.1:2379"]
    done = subprocess.run(words, input="", capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 1 and "https" in done.stdout
