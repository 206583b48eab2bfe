"""The weir command against a console with canned answers: formats, exit statuses, stdout and stderr, keys, replay."""

import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from river import River

BIN = Path(os.environ.get("WEIR_BIN", Path(__file__).parents[2] / "build" / "dev" / "bin")).resolve()

META = {"from": "2026-03-04T15:00:00.000Z", "to": "2026-03-04T16:00:00.000Z", "rollup": "1m", "exact": True,
        "sampled": False, "partial": False, "total": {"flows": 1204, "packets": 99000, "bytes": 116_600_000_000},
        "sources": [{"id": "agg1", "ok": True}, {"id": "agg2", "ok": True}], "elapsed_ms": 41}
TOP = {"meta": META,
       "columns": [{"name": "dst_ip", "type": "ip"}, {"name": "service", "type": "text"},
                   {"name": "flows", "type": "integer", "unit": "flows"},
                   {"name": "bytes", "type": "integer", "unit": "bytes"}, {"name": "share", "type": "number"}],
       "rows": [{"dst_ip": "10.2.0.11", "service": 'a,"b"', "flows": 91214, "bytes": 48110233891, "share": 0.4127},
                {"dst_ip": "2001:db8::1", "flows": 7, "bytes": 9007199254740993, "share": 0.05}]}
FLOWS = {"meta": META,
         "columns": [{"name": "t_first", "type": "time"}, {"name": "src_ip", "type": "ip"},
                     {"name": "bytes", "type": "integer", "unit": "bytes"}],
         "rows": [{"t_first": "2026-03-04T15:00:02.118Z", "src_ip": "10.1.4.88", "bytes": 1184}]}
NODES = {"meta": META, "columns": [{"name": "name", "type": "text"}, {"name": "up", "type": "boolean"}],
         "rows": [{"name": "agg1", "up": True}]}
EXPORTERS = {"meta": META, "columns": [{"name": "exporter", "type": "ip"}, {"name": "domain", "type": "integer"}],
             "rows": [{"exporter": "192.0.2.1", "domain": 0}]}
SICK = {"meta": META, "columns": [{"name": "exporter", "type": "ip"}, {"name": "flows", "type": "integer"}],
        "rows": [{"exporter": "192.0.2.1", "domain": 7, "site": "fra", "agent": "edge", "protocol": "ipfix", "flows": 9,
                  "templates": 2, "sets_waiting": 3, "clock_skew_ms": -90412, "sampling": 64, "sampling_origin": "record",
                  "first_heard": "2026-03-04T15:00:02.118Z", "last_heard": "2026-03-04T15:10:00.000Z"}]}
DROPS = {"meta": META, "columns": [{"name": n, "type": "text"} for n in ("exporter", "reason", "example")],
         "rows": [{"exporter": "192.0.2.1", "domain": 7, "site": "fra", "agent": "edge", "protocol": "ipfix",
                   "reason": "truncated", "count": 1, "unit": "datagrams", "first": "2026-03-04T15:00:02.118Z",
                   "last": "2026-03-04T15:00:02.118Z", "meaning": "a set runs past the end",
                   "advice": "Look at the MTU. " * 8 + "Then ask.", "example_at": "2026-03-04T15:00:02.118Z",
                   "example_bytes": 1400, "example": "000a" + "ab" * 34}]}
SERIES = {"meta": META | {"step_ms": 600000},
          "columns": [{"name": "time", "type": "time"}, {"name": "proto", "type": "text"}]
          + [{"name": n, "type": "integer", "unit": n} for n in ("flows", "packets", "bytes")],
          "rows": [{"time": f"2026-03-04T15:{m:02}:00.000Z", "proto": "tcp", "flows": 1, "packets": 2, "bytes": b}
                   for m, b in ((0, 10), (10, 80), (30, 40))]}


def problem(status, kind, **more):
    return status, {"type": f"https://weir.invalid/problems/{kind}", "title": "Said no", "status": status, **more}


class Console:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self):
        self.replies = []
        self.asked = []
        console = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                size = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(size)) if size else None
                console.asked.append((self.command, url.path, parse_qs(url.query), body, dict(self.headers)))
                status, reply = console.replies.pop(0) if len(console.replies) > 1 else console.replies[0]
                text = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def body(self):
        return self.asked[-1][3]


@pytest.fixture
def console():
    it = Console()
    it.replies = [(200, TOP)]
    yield it
    it.server.shutdown()
    it.server.server_close()


@pytest.fixture
def weir(console, tmp_path):
    def run(*words, env=None, **more):
        clean = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "WEIR_URL": console.url, "TZ": "Europe/Berlin",
                 "LC_ALL": "C.UTF-8"}
        return subprocess.run([BIN / "weir", *words], env=clean | (env or {}), capture_output=True, text=True,
                              timeout=30, **more)
    return run


def test_a_table_is_aligned_and_its_footer_goes_to_stderr(weir):
    done = weir("top", "-g", "dst_ip,service")
    assert done.returncode == 0
    assert done.stdout == (
        "DST_IP       SERVICE  FLOWS    BYTES               SHARE\n"
        "10.2.0.11    a,\"b\"    91.2k  48.1 GB  ████▏       41.3 %\n"
        "2001:db8::1  -            7  9.01 PB  ▌            5.0 %\n")
    assert done.stderr == ("-- 2 rows · 117 GB in 1.20k flows · 2026-03-04 16:00:00 to 2026-03-04 17:00:00 CET · "
                           "exact (1m) · 2/2 aggregators · 41 ms\n")


def test_numbers_are_exact_outside_of_tables(weir):
    csv = weir("top", "-o", "csv")
    assert csv.stdout == ('dst_ip,service,flows,bytes,share\n10.2.0.11,"a,""b""",91214,48110233891,0.4127\n'
                          "2001:db8::1,,7,9007199254740993,0.05\n")
    assert weir("top", "-o", "tsv", "-q", "-F", "bytes,dst_ip").stdout == (
        "48110233891\t10.2.0.11\n9007199254740993\t2001:db8::1\n")
    assert [json.loads(line) for line in weir("top", "-o", "ndjson").stdout.splitlines()] == TOP["rows"]
    assert json.loads(weir("top", "-o", "json").stdout) == TOP
    assert weir("top", "-N").stdout.splitlines()[1].split() == ["10.2.0.11", 'a,"b"', "91214", "48110233891", "41.3", "%"]


@pytest.mark.parametrize("verb", ["top", "flows", "series", "exporters", "status"])
@pytest.mark.parametrize("form", ["table", "wide", "json", "ndjson", "csv", "tsv"])
def test_every_verb_that_asks_knows_every_format(weir, console, verb, form):
    console.replies = [(200, {"status": NODES, "exporters": EXPORTERS}.get(verb, FLOWS))]
    done = weir(verb, "-o", form)
    assert done.returncode == 0, done.stderr
    assert {"status": "agg1", "exporters": "192.0.2.1"}.get(verb, "10.1.4.88") in done.stdout


def test_what_is_asked_is_what_was_typed(weir, console):
    weir("top", "-s", "src_ip,dst_port/flows", "-n", "3", "-t", "2026-03-04T09:00+1h", "-S", "fra", "-S", "nyc",
         "--timeout", "5s", "port", "53", "and", "udp")
    method, path, _, body, _ = console.asked[-1]
    assert (method, path) == ("POST", "/api/v1/query")
    assert body == {"time": {"from": "2026-03-04T08:00:00.000Z", "to": "2026-03-04T09:00:00.000Z"}, "shape": "table",
                    "filter": "port 53 and udp", "group": ["src_ip", "dst_port"], "order": "flows", "limit": 3,
                    "sites": ["fra", "nyc"], "budget": {"ms": 5000}}
    weir("exporters", "-S", "fra", "-n", "7", "-t", "2026-03-04T09:00+1h", "exporter 10.0.0.1 or port > 5")
    method, path, query, body, _ = console.asked[-1]
    assert (method, path, body) == ("GET", "/api/v1/exporters", None)
    assert query == {"from": ["2026-03-04T08:00:00.000Z"], "to": ["2026-03-04T09:00:00.000Z"], "limit": ["7"],
                     "filter": ["exporter 10.0.0.1 or port > 5"], "sites": ["fra"]}
    weir("top", "--utc", "-t", "2026-03-04T09:00+1h")
    assert console.body["time"]["from"] == "2026-03-04T09:00:00.000Z"
    weir("top", "--tz", "America/New_York", "-t", "2026-03-04T09:00+1h")
    assert console.body["time"]["from"] == "2026-03-04T14:00:00.000Z"


def test_why_an_exporters_data_is_missing_is_told_in_words(weir, console):
    console.replies = [(200, DROPS), (200, SICK)]
    done = weir("exporters", "why", "192.0.2.1", "-t", "2026-03-04T16:00..17:00", "-S", "fra", "protocol", "ipfix")
    assert [(path, query["filter"], query["sites"]) for _, path, query, _, _ in console.asked] == [
        (path, ["exporter 192.0.2.1 and (protocol ipfix)"], ["fra"]) for path in ("/api/v1/drops", "/api/v1/exporters")]
    assert done.stdout == (
        "192.0.2.1  domain 7  ipfix  site fra  agent edge\n"
        "  heard 2026-03-04 16:00:02 to 2026-03-04 16:10:00, last flows -\n"
        "  9 flows, 2 templates known, sampling 1:64 (record), its clock is 90 s behind the agent's\n"
        "\n"
        "  3 data sets wait for their template\n"
        "    -> They are decoded when it comes, and are lost when it does not come within five minutes. The\n"
        "       exporter repeats its templates, after up to 30 minutes: set it to one minute or so.\n"
        "\n"
        "  1 datagram: truncated\n"
        "    a set runs past the end\n"
        "    first 2026-03-04 16:00:02, last 2026-03-04 16:00:02\n"
        "    the example of 2026-03-04 16:00:02, 1400 bytes\n"
        "      000aabab abababab abababab abababab abababab abababab abababab abababab\n"
        "      abababab\n"
        "    -> Look at the MTU. Look at the MTU. Look at the MTU. Look at the MTU. Look at the MTU. Look at\n"
        "       the MTU. Look at the MTU. Look at the MTU. Then ask.\n")
    assert done.stderr.startswith("-- 1 row · ")

    console.replies = [(200, DROPS | {"rows": []}), (200, SICK)]
    assert "\n  Nothing of it was dropped in this time.\n" in weir("exporters", "why", "192.0.2.1").stdout
    console.replies = [(200, DROPS | {"rows": []}), (200, SICK | {"rows": []})]
    assert weir("exporters", "why", "192.0.2.1").stdout.startswith("192.0.2.1  not heard in this time\n  -> No agent had")

    console.replies = [(200, DROPS)]
    assert weir("exporters", "why", "192.0.2.1", "-o", "csv").stdout == (
        f"exporter,reason,example\n192.0.2.1,truncated,000a{'ab' * 34}\n")
    assert weir("exporters", "why", "192.0.2.1", "-F", "reason", "-q").stdout == "truncated\n"


def test_times_are_local_in_tables_and_utc_elsewhere(weir, console):
    console.replies = [(200, FLOWS)]
    assert "2026-03-04 16:00:02" in weir("flows").stdout
    assert "2026-03-04 15:00:02" in weir("flows", "--utc").stdout
    assert "2026-03-04 10:00:02" in weir("flows", "--tz", "America/New_York").stdout
    assert "2026-03-04T15:00:02.118Z" in weir("flows", "-o", "csv").stdout


def test_a_series_of_groups_is_drawn_with_its_gaps(weir, console):
    console.replies = [(200, SERIES)]
    done = weir("series", "-g", "proto")
    assert done.stdout == ("PROTO  TREND   FLOWS  PACKETS  BYTES\n"
                           "tcp    ▁█ ▄        3        6  130 B\n")
    assert len(weir("series", "-g", "proto", "-o", "csv").stdout.splitlines()) == 4


def test_rates_have_human_units_too(weir, console):
    columns = [{"name": "bps", "type": "integer", "unit": "bit/s"}, {"name": "pps", "type": "integer", "unit": "packets/s"}]
    console.replies = [(200, SERIES | {"columns": columns, "rows": [{"bps": 57693488, "pps": 1200}]})]
    assert weir("series").stdout.splitlines()[1].split() == ["57.7M", "1.20k"]
    assert weir("series", "-N").stdout.splitlines()[1].split() == ["57693488", "1200"]


def test_a_sum_is_one_row_over_the_range(weir, console):
    weir("series", "--sum", "-t", "yesterday", "udp")
    assert (console.body["shape"], console.body["group"]) == ("table", [])
    assert "step" not in console.body


def test_limit_0_of_flows_follows_the_pages(weir, console):
    later = FLOWS | {"meta": META | {"total": {"flows": 1, "packets": 1, "bytes": 1}}}
    console.replies = [(200, FLOWS | {"next": "c1"}), (200, later | {"next": "c2"}), (200, later)]
    done = weir("flows", "-n", "0", "-o", "csv")
    assert done.stdout.splitlines() == ["t_first,src_ip,bytes"] + ["2026-03-04T15:00:02.118Z,10.1.4.88,1184"] * 3
    assert [it[3].get("cursor") for it in console.asked] == [None, "c1", "c2"]
    assert "-- 3 rows · 117 GB in 1.20k flows" in done.stderr and "123 ms" in done.stderr


def test_a_later_page_that_is_partial_makes_the_answer_so(weir, console):
    sources = [{"id": "agg2", "ok": False, "reason": "timeout"}]
    part = FLOWS | {"meta": META | {"partial": True, "exact": False, "sources": sources}}
    console.replies = [(200, FLOWS | {"next": "c1"}), (200, part)]
    done = weir("flows", "-n", "0", "--partial", "fail", "-o", "json")
    assert done.returncode == 5 and "partial: agg2 (timeout)" in done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 2 and json.loads(done.stdout)["meta"]["partial"] is True


def test_a_real_console_gives_every_flow_once(tmp_path):
    with River(tmp_path, aggregators=2) as river:
        river.generate(12_500, 10_000)
        river.settle()
        lines = river.weir("flows", "-n", "0", "-o", "csv", "-q").stdout.splitlines()
        assert len(lines) == 12_500
        rows = river.ask("flows", "-n", "11000")["rows"]
        assert len(rows) == 11_000
        whole = river.ask("series", "--sum")["rows"][0]
        assert sum(row["bytes"] for row in river.ask("flows", "-n", "0")["rows"]) == whole["bytes"]


def test_a_filter_error_points_at_its_place(weir, console):
    console.replies = [problem(400, "filter-syntax", errors=[{
        "pointer": "#/filter", "column": 5, "length": 3, "message": 'unknown word "ipp"',
        "expected": ["ip", "host", "net"], "suggest": "ip"}])]
    done = weir("top", "src ipp 10.1.2.3 and port 443")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ('weir: filter: unknown word "ipp" at column 5\n'
                           "  src ipp 10.1.2.3 and port 443\n"
                           '      ^^^  did you mean "ip"?  expected: ip, host, net\n')


def test_a_time_range_error_points_at_its_place(weir, console):
    done = weir("top", "-t", "09:00..15x")
    assert (done.returncode, done.stdout, console.asked) == (2, "", [])
    assert re.match(r"weir: time range, column \d+: .*\n  09:00\.\.15x\n  +\^+\n$", done.stderr)


@pytest.mark.parametrize("status, kind, code", [
    (400, "bad-parameter", 2), (400, "time-range", 2), (401, "unauthenticated", 3), (403, "forbidden", 3),
    (503, "not-ready", 4), (503, "partial", 5), (422, "budget-exceeded", 6), (504, "timeout", 6), (500, "internal", 70)])
def test_each_problem_has_its_exit_status(weir, console, status, kind, code):
    console.replies = [problem(status, kind, detail="because of x")]
    done = weir("top")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "weir: Said no: because of x\n")


def test_an_answer_that_is_no_json_is_an_error(weir, console):
    for status, text in ((200, b"<html>"), (502, b"<html>Bad Gateway"), (200, b"[]"), (200, b'{"rows":3}')):
        console.replies = [(status, text)]
        done = weir("top")
        assert (done.returncode, done.stdout) == (70, ""), (status, text, done)
        assert done.stderr.startswith("weir: ") and len(done.stderr) > 20, done.stderr


def test_a_console_that_is_not_there_is_exit_status_4(weir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = weir("status", "--url", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (done.returncode, done.stdout) == (4, "")
    assert "cannot reach" in done.stderr


def test_a_partial_answer_is_named_and_may_be_an_error(weir, console):
    sources = [{"id": "agg1", "ok": True}, {"id": "agg2", "ok": False, "reason": "timeout"}]
    console.replies = [(200, TOP | {"meta": META | {"partial": True, "exact": False, "sources": sources}})]
    done = weir("top")
    assert done.returncode == 0 and "partial: agg2 (timeout)" in done.stderr and "1/2 aggregators" in done.stderr
    assert weir("top", "--partial", "ok", "-q").stderr == ""
    done = weir("top", "--partial", "fail")
    assert done.returncode == 5 and "10.2.0.11" in done.stdout


def test_a_closed_pipe_is_no_error(weir, console):
    console.replies = [(200, TOP | {"rows": TOP["rows"] * 5000})]
    read, write = os.pipe()
    os.close(read)
    env = {"WEIR_URL": console.url, "HOME": "/nonexistent"}
    done = subprocess.run([BIN / "weir", "top", "-o", "csv", "-q"], env=env, stdout=write, stderr=subprocess.PIPE, timeout=30)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_an_error(weir, console):
    with open("/dev/full", "wb") as full:
        env = {"WEIR_URL": console.url, "HOME": "/nonexistent"}
        done = subprocess.run([BIN / "weir", "top"], env=env, stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 70 and b"No space left" in done.stderr


def test_an_interrupt_ends_it_at_once(console, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        env = {"WEIR_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", "HOME": str(tmp_path)}
        child = subprocess.Popen([BIN / "weir", "top"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        peer, _ = silent.accept()
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
        peer.close()
    assert (child.returncode, out) == (-signal.SIGINT, b"")  # a shell says 130


def test_the_token_comes_from_an_option_the_environment_or_the_file(weir, console, tmp_path):
    (tmp_path / "a").write_text("weir_viewer_a\n")
    (tmp_path / "b").write_text("weir_viewer_b\n")
    (tmp_path / "c").write_text("weir_viewer_c\n")
    (tmp_path / ".config/weir").mkdir(parents=True)
    (tmp_path / ".config/weir/cli.conf").write_text(f'url = "{console.url}/";\ntoken_file = "{tmp_path}/c";\n')

    def sent(*words, env):
        assert weir("top", *words, env=env).returncode == 0
        return console.asked[-1][4]["Authorization"]

    assert sent(env={"WEIR_URL": ""}) == "Bearer weir_viewer_c"
    assert sent(env={"WEIR_TOKEN_FILE": str(tmp_path / "b")}) == "Bearer weir_viewer_b"
    assert sent("--token-file", str(tmp_path / "a"), env={"WEIR_TOKEN_FILE": "/none"}) == "Bearer weir_viewer_a"
    done = weir("top", "--token-file", str(tmp_path / "none"))
    assert done.returncode == 2 and "none" in done.stderr

    (tmp_path / ".config/weir/cli.conf").write_text("url = 5;\n")
    done = weir("top")
    assert done.returncode == 2 and "cli.conf:1" in done.stderr


@pytest.mark.parametrize("words", [
    ("tpo",), ("top", "--nope"), ("top", "-n", "x"), ("top", "-o", "xml"), ("top", "--to", "x"), ("top", "-t"),
    ("top", "--partial", "maybe"), ("top", "--color", "red"), ("top", "--tz", "Mars/Olympus"), ("keys",),
    ("replay", "x"), ("config", "check"), ("top", "--timeout", "soon"), ("series", "-i", "0s"), ("status", "udp"),
    ("completion", "cmd.exe"), ("exporters", "why"), ("exporters", "why", "nobody")])
def test_wrong_usage_is_exit_status_2_and_one_line(weir, console, words):
    done = weir(*words)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("weir: ") and done.stderr.count("\n") == 1
    assert console.asked == []


def test_help_fits_a_screen_and_has_three_examples(weir):
    assert weir("version").stdout == weir("--version").stdout
    for verb in re.findall(r"^  (\w+) ", weir("help").stdout.split("examples")[0], re.M):
        if verb == "help":
            continue
        done = weir(verb, "-h")
        assert done.returncode == 0 and done.stdout == weir("help", verb).stdout
        lines = done.stdout.split("\n")
        assert len(lines) <= 40 and max(map(len, lines)) <= 120, verb
        assert done.stdout.split("examples:\n")[1].count("\n") == 3, verb


def test_keys_are_made_shown_and_allowed(weir, tmp_path):
    made = weir("keys", "make", "agent-fra", "--dir", str(tmp_path))
    assert made.returncode == 0 and len(made.stdout.strip()) == 40
    assert (tmp_path / "agent-fra.key").stat().st_mode & 0o777 == 0o600
    assert made.stdout.strip() not in (tmp_path / "agent-fra.key").read_text().split("secret")[1]
    assert weir("keys", "show", f"{tmp_path}/agent-fra.pub").stdout == made.stdout
    assert weir("keys", "show", f"{tmp_path}/agent-fra.key").stdout == made.stdout
    assert weir("keys", "make", "agent-fra", "--dir", str(tmp_path)).returncode == 2

    allowed = weir("keys", "allow", "agent-fra", "--role", "agent", "--site", "fra", "--dir", str(tmp_path))
    assert allowed.stdout == ('allow = (\n    { name = "agent-fra"; role = "agent"; site = "fra"; tenant = "default"; '
                              f'key = "{made.stdout.strip()}"; }}\n);\n')
    assert weir("keys", "allow", "nobody", "--role", "agent", "--dir", str(tmp_path)).stdout == ""
    assert weir("keys", "allow", "agent-fra", "--role", "agent", "--site", 'x"; }', "--dir", str(tmp_path)).returncode == 2


def test_a_token_is_shown_once_and_its_hash_is_kept(weir, tmp_path):
    file = tmp_path / "tokens"
    done = weir("keys", "token", "soc", "--role", "analyst", "--site", "fra", "--file", str(file))
    token = done.stdout.strip()
    assert token.startswith("weir_analyst_") and done.stderr == ""
    assert file.read_text() == f"soc analyst fra {hashlib.blake2b(token.encode(), digest_size=32).hexdigest()}\n"
    assert file.stat().st_mode & 0o777 == 0o640
    done = weir("keys", "token", "x")
    assert done.stdout.startswith("weir_viewer_") and "x viewer * " in done.stderr


def pcap(packets, ns=False):
    """A capture of (seconds, source, port, payload) with raw IPv4 packets."""
    head = struct.pack("<IHHiIII", 0xA1B23C4D if ns else 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for at, source, port, payload in packets:
        udp = struct.pack(">HHHH", port, 2055, 8 + len(payload), 0) + payload
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(source),
                         socket.inet_aton("192.0.2.9"))
        packet = ip + udp
        head += struct.pack("<IIII", int(at), int(at % 1 * (1e9 if ns else 1e6)), len(packet), len(packet)) + packet
    return head


def replay(weir, tmp_path, packets, *words, expect):
    (tmp_path / "x.pcap").write_bytes(pcap(packets))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(10)
        done = weir("replay", str(tmp_path / "x.pcap"), "--to", f"127.0.0.1:{sink.getsockname()[1]}", *words)
        got = [sink.recvfrom(2048) for _ in range(expect)]
    return done, got


def test_a_replay_sends_each_exporters_datagrams_from_an_address_of_its_own(weir, tmp_path):
    packets = [(0, "10.0.0.1", 1000, b"a1"), (0, "10.0.0.2", 1000, b"b1"), (0, "10.0.0.1", 1000, b"a2"),
               (0, "10.0.0.1", 1001, b"a3")]
    done, got = replay(weir, tmp_path, packets, "--loop", "2", expect=8)
    assert done.returncode == 0 and done.stdout == "" and "sent 8 datagrams (16 bytes) of 3 senders" in done.stderr
    assert [data for data, _ in got] == [b"a1", b"b1", b"a2", b"a3"] * 2
    a1, b1, a2, a3 = (peer for _, peer in got[:4])
    assert a1 == a2 and a1[0] == a3[0] and a1[1] != a3[1] and a1[0] != b1[0]
    assert all(peer[0].startswith("127.") for _, peer in got)


def test_a_replay_may_keep_the_gaps_of_the_capture(weir, tmp_path):
    packets = [(100.0, "10.0.0.1", 1, b"a"), (102.0, "10.0.0.1", 1, b"b")]
    done, _ = replay(weir, tmp_path, packets, "--speed", "4", expect=2)
    assert done.returncode == 0, done.stderr
    assert 0.5 <= float(re.search(r"in ([0-9.]+) s", done.stderr)[1])
    done, _ = replay(weir, tmp_path, packets, expect=2)
    assert float(re.search(r"in ([0-9.]+) s", done.stderr)[1]) < 0.4


def test_a_replay_of_a_damaged_capture_says_how_far_it_came(weir, tmp_path):
    whole = pcap([(0, "10.0.0.1", 1, b"a"), (0, "10.0.0.1", 1, b"b")])
    for text, says in ((whole[:-1], "after packet 1"), (b"PK\x03\x04", "neither a pcap nor a pcapng")):
        (tmp_path / "y.pcap").write_bytes(text)
        done = weir("replay", str(tmp_path / "y.pcap"), "--to", "127.0.0.1:9")
        assert done.returncode == 2 and says in done.stderr, done.stderr
    assert weir("replay", str(tmp_path / "none"), "--to", "127.0.0.1:9").returncode == 2


def test_a_configuration_is_checked_by_its_daemon(weir, tmp_path):
    (tmp_path / "agent.conf").write_text("spool = 5;\n")
    done = weir("config", "check", str(tmp_path / "agent.conf"))
    assert done.returncode == 1 and "agent.conf:1" in done.stderr
    assert weir("config", "check", str(tmp_path / "other.conf")).returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_and_their_options(weir, shell):
    assert weir("completion", shell).returncode == 0
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "s").stdout.splitlines()]
    assert words == ["series", "status"]
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "top", "--t").stdout.splitlines()]
    assert words == ["--time", "--tz", "--timeout", "--token-file"]
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "top", "-g", "src_ip,dst_i").stdout.splitlines()]
    assert words == ["src_ip,dst_ip"]
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "top", "-n", "5", "src", "i").stdout.splitlines()]
    assert words == ["ip"]
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "flows", "port", "53", "").stdout.splitlines()]
    assert {"and", "or"} <= set(words) and "port" not in words
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "exporters", "w").stdout.splitlines()]
    assert words == ["why"]
    assert weir("__complete", "weir", "exporters", "why", "").stdout == ""
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "exporters", "why", "10.0.0.1", "sit").stdout.splitlines()]
    assert words == ["site"]
    words = [line.split("\t")[0] for line in weir("__complete", "weir", "top", "-o", "").stdout.splitlines()]
    assert words == ["table", "wide", "json", "ndjson", "csv", "tsv"]


def test_bash_completes_with_what_the_command_prints(weir, tmp_path):
    (tmp_path / "weir.bash").write_text(weir("completion", "bash").stdout)
    script = ("source weir.bash; COMP_WORDS=(weir ex); COMP_CWORD=1; _weir; echo \"${COMPREPLY[*]}\"")
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "exporters", done.stderr
