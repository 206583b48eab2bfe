"""A whole river for a test: real programs of this build, on free ports, in a folder of its own.

    with River(tmp_path, aggregators=2) as river:
        river.send(datagrams)
        river.settle()
        assert river.ask("top", "-g", "src_ip")["rows"]

Everything is killed when the block ends, by pid, whatever happened in it; the logs stay in the folder, and their last
lines are printed when a test fails. Every wait ends: it fails with what was waited for and what the program said.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import exporters

BIN = Path(os.environ.get("WEIR_BIN", Path(__file__).parents[2] / "build" / "dev" / "bin")).resolve()
WAIT_S = 60  # the longest wait for anything; sanitizers and a busy machine are slow


def wait_for(what, condition, timeout_s=WAIT_S, every_s=0.05):
    """Wait until condition() is true and return its value; fail with what() or the text otherwise."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for: {what() if callable(what) else what}")
        time.sleep(every_s)


ports_given = set()


def free_port():
    """A port that is free for TCP and UDP, below those that the system gives to outgoing connections; none twice."""
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        if port in ports_given:
            continue
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as s:
                    s.bind(("127.0.0.1", port))
            ports_given.add(port)
            return port
        except OSError:
            pass
    raise AssertionError("no free port")


def sent_by(generator):
    """Wait for weir-gen's end: the totals of what it sent."""
    try:
        out, _ = generator.communicate(timeout=4 * WAIT_S)
    finally:
        generator.kill()
    assert generator.returncode == 0
    return json.loads(out)


def conf_text(value, indent=0):
    """A libconfig value. Groups are dicts, lists are Python lists, strings are quoted."""
    pad = "    " * indent
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        inner = [f"{pad}    {conf_text(item, indent + 1)}" for item in value]
        return "(\n" + ",\n".join(inner) + f"\n{pad})" if inner else "()"
    lines = [f"{pad}    {key} = {conf_text(item, indent + 1)};\n" for key, item in value.items()]
    return "{\n" + "".join(lines) + pad + "}"


def conf_file(options):
    return "".join(f"{key} = {conf_text(value)};\n" for key, value in options.items())


class Program:
    """One daemon: its configuration, its process and what operators see of it."""

    def __init__(self, river, kind, name, options):
        self.river, self.kind, self.name = river, kind, name
        self.status = f"http://127.0.0.1:{free_port()}"
        self.options = options | {"status": self.status.removeprefix("http://")}
        self.folder = river.folder / name
        self.folder.mkdir()
        self.log_path = self.folder / "log"
        self.config = self.folder / f"{kind}.conf"
        self.process = None
        self.log_from = 0  # where the log of the present process begins

    def command(self, *words):
        return [str(BIN / f"weir-{self.kind}"), "--config", str(self.config), *words]

    def start(self, ready=True):
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        self.config.write_text(conf_file(self.options))
        self.log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        wait_for(lambda: f"{self.name} to be ready\n{self.log_tail()}", lambda: self.alive() and self.http("/readyz")[0] == 200)

    def run(self, *words):
        """Run the program once with its configuration and these words, to its end."""
        return subprocess.run(self.command(*words), cwd=self.folder, capture_output=True, text=True, timeout=WAIT_S)

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}\n{self.log_tail()}")
        return True

    def kill(self, sig=signal.SIGKILL):
        """Kill it at once (or with another signal) and wait for its end; returns its exit status."""
        self.process.send_signal(sig)
        return self.process.wait(WAIT_S)

    def stop(self):
        return self.kill(signal.SIGTERM)

    def restart(self):
        """kill -9, and up again with the same state."""
        self.kill()
        return self.start()

    # -- what it says ---------------------------------------------------------------------------------------------

    def log(self):
        """The log of the present process."""
        with open(self.log_path, "rb") as f:
            f.seek(self.log_from)
            return f.read().decode("utf-8", "replace")

    def log_tail(self, lines=25):
        return f"--- {self.log_path}\n" + "\n".join(self.log().splitlines()[-lines:])

    def events(self, event):
        """The key=value pairs of each log line of this event."""
        found = []
        for line in self.log().splitlines():
            words = re.findall(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+', line)
            if event in words:
                found.append({k: v.strip('"') for k, _, v in (w.partition("=") for w in words[words.index(event) + 1 :])})
        return found

    def logged(self, event, key=None, timeout_s=WAIT_S):
        """Wait for a log line of this event; the value of @key in the first one, or all its pairs."""
        found = wait_for(
            lambda: f"{self.name} to log {event}\n{self.log_tail()}", lambda: self.events(event) or not self.alive(), timeout_s
        )
        return found[0][key] if key else found[0]

    def http(self, path, timeout_s=5):
        """GET a path of the status listener: (status code, text); code 0 when nobody listens."""
        try:
            with urllib.request.urlopen(self.status + path, timeout=timeout_s) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def metrics(self):
        """All samples: {(family, ((label, value), ...)): number}."""
        code, text = self.http("/metrics")
        assert code == 200, f"{self.name}: /metrics says {code}\n{self.log_tail()}"
        samples = {}
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? ([-+.\deE]+|NaN)", text, re.M):
            pairs = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))
            samples[name, pairs] = float(value)
        return samples

    def counter(self, family, **labels):
        """The sum of a family's samples that have these labels. A family that does not exist fails."""
        samples = self.metrics()
        values = [v for (name, pairs), v in samples.items() if name == family and set(labels.items()) <= set(pairs)]
        families = sorted({name for name, _ in samples})
        assert values, f"{self.name} has no counter {family} {labels}; it has: {' '.join(families)}"
        return int(sum(values))

    def counts(self, family, at_least, timeout_s=WAIT_S, **labels):
        """Wait until a counter has reached a number; returns it."""
        last = 0

        def reached():
            nonlocal last
            self.alive()
            last = self.counter(family, **labels)
            return last >= at_least

        wait_for(lambda: f"{self.name}: {family} {labels} >= {at_least}, is {last}\n{self.log_tail()}", reached, timeout_s, 0.1)
        return last


class River:
    """Agents, brokers, aggregators and a console that know each other. Names: agent1, broker1, aggregator1 ... console."""

    def __init__(self, folder, agents=1, brokers=1, aggregators=2, console=True, replication=1, options=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replication = replication
        self.extra = options or {}  # {"agent": {...}}: more options for all programs of a kind
        self.keys = self.folder / "keys"
        self.keys.mkdir(mode=0o700)
        self.allowed = []
        self.programs = {}
        self.names = {
            "aggregator": [f"aggregator{i + 1}" for i in range(aggregators)],
            "broker": [f"broker{i + 1}" for i in range(brokers)],
            "agent": [f"agent{i + 1}" for i in range(agents)],
            "console": ["console"] if console else [],
        }
        self.cluster = self.folder / "cluster.conf"
        self.allow = self.folder / "allow.conf"
        self.tokens = self.folder / "tokens"
        self.token = self.folder / "token"

    # -- life -------------------------------------------------------------------------------------------------------

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end(failed=True)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.end(failed=kind is not None and not issubclass(kind, pytest.skip.Exception))

    def start(self):
        """Keys and files, then those who listen before those who connect."""
        for kind, names in self.names.items():
            for name in names:
                self.make_key(name)
                self.enrol(name, kind)
        self.write_allow()
        self.make_token()
        brokers = [
            {"name": name, "endpoint": f"tcp://127.0.0.1:{free_port()}", "key": self.public_key(name)} for name in self.names["broker"]
        ]
        aggregators = [
            {
                "name": name,
                "endpoint": f"tcp://127.0.0.1:{free_port()}",
                "ask_endpoint": f"tcp://127.0.0.1:{free_port()}",
                "key": self.public_key(name),
            }
            for name in self.names["aggregator"]
        ]
        self.members = {"epoch": 1, "tenant": "default", "replication": self.replication, "brokers": brokers, "aggregators": aggregators}
        self.members |= self.extra.get("cluster", {})
        self.cluster.write_text(conf_file(self.members))
        for kind, names in self.names.items():
            for name in names:
                self.add(kind, name).start(ready=False)
        if self.members.get("map") == "etcd":
            self.place()
        for program in self.programs.values():
            program.wait_ready()

    def place(self):
        """Give every shard its members: with a map in etcd nobody has any before."""
        self.programs["console"].logged("http.listening")
        self.weir("cluster", "rebalance")

    def add(self, kind, program, /, **options):
        """A program that is not started yet, with the options of its kind."""
        own = {"key": str(self.keys / f"{program}.key"), "cluster": str(self.cluster)}
        folder = self.folder / program
        if kind == "agent":
            own |= {"name": program, "listen": [f"127.0.0.1:{free_port()}"], "state": str(folder / "state")}
        elif kind == "broker":
            (member,) = (m for m in self.members["brokers"] if m["name"] == program)
            own |= {"name": program, "listen": member["endpoint"], "allow": str(self.allow), "map_cache": str(folder / "map")}
        elif kind == "aggregator":
            (member,) = (m for m in self.members["aggregators"] if m["name"] == program)
            own |= {"name": program, "listen": member["endpoint"], "ask": member["ask_endpoint"]}
            own |= {"allow": str(self.allow), "state": str(folder / "state"), "map_cache": str(folder / "map")}
        else:
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            own |= {"name": program, "listen": f"127.0.0.1:{port}", "tokens": str(self.tokens), "map_cache": str(folder / "map")}
        self.programs[program] = Program(self, kind, program, own | self.extra.get(kind, {}) | options)
        return self.programs[program]

    def end(self, failed):
        for program in self.programs.values():
            if program.process and program.process.poll() is None:
                program.process.kill()
                program.process.wait()
        if failed:
            for program in self.programs.values():
                if program.process:
                    print(program.log_tail())

    def __getattr__(self, name):
        """river.agent1, river.aggregator2 ..."""
        try:
            return self.__dict__["programs"][name]
        except KeyError:
            raise AttributeError(name) from None

    # -- keys -------------------------------------------------------------------------------------------------------

    def make_key(self, name):
        self.tool("keys", "make", name, "--dir", str(self.keys))

    def public_key(self, name):
        return (self.keys / f"{name}.pub").read_text().strip()

    def enrol(self, name, kind, key_of=None, site="here", tenant="default"):
        self.allowed.append({"name": name, "role": kind, "site": site, "tenant": tenant, "key": self.public_key(key_of or name)})

    def write_allow(self):
        self.allow.write_text(conf_file({"allow": self.allowed}))

    def make_token(self):
        self.token.write_text(self.tool("keys", "token", "test", "--role", "admin", "--file", str(self.tokens)))

    def tool(self, *words):
        return subprocess.run([str(BIN / "weir"), *words], check=True, capture_output=True, text=True, timeout=WAIT_S).stdout

    # -- flows ------------------------------------------------------------------------------------------------------

    def udp_port(self, agent="agent1"):
        return int(self.programs[agent].options["listen"][0].rpartition(":")[2])

    def send(self, datagrams, agent="agent1", pause_s=0.0005):
        """Send datagrams to an agent from one socket, slowly enough for its buffer."""
        exporters.send(datagrams, self.udp_port(agent), pause_s=pause_s)

    def generator(self, flows, rate, agent="agent1", **options):
        """Start weir-gen towards an agent; Popen. Its output is one JSON object with what it sent."""
        words = [f"--{key}={value}" for key, value in ({"flows": flows, "rate": rate} | options).items()]
        return subprocess.Popen([str(BIN / "weir-gen"), *words, f"127.0.0.1:{self.udp_port(agent)}"], stdout=subprocess.PIPE, text=True)

    def generate(self, flows, rate, agent="agent1", **options):
        """Send made-up flows and return what was sent: {"flows": ..., "packets": ..., "bytes": ...}."""
        return sent_by(self.generator(flows, rate, agent, **options))

    def spooled(self, agent="agent1"):
        """Wait until an agent has spooled all that it received: what is in the spool survives a kill."""
        program = self.programs[agent]
        seen = None

        def all_spooled():
            nonlocal seen
            before, seen = seen, program.counter("weir_agent_datagrams_total")
            families = "flows_spooled", "flows_dropped", "feed_flows_again"
            made = program.counter("weir_agent_flows_decoded_total") + program.counter("weir_agent_feed_flows_total")
            return before == seen and made == sum(program.counter(f"weir_agent_{family}_total") for family in families)

        wait_for(lambda: f"{agent} to have spooled what it decoded\n{program.log_tail()}", all_spooled, every_s=0.3)

    def settle(self):
        """Wait until every agent has spooled what was sent to it, and all of that is acknowledged: stored."""
        for name in self.names["agent"]:
            self.spooled(name)
            program = self.programs[name]
            wait_for(
                lambda: f"{name} to be rid of {program.counter('weir_agent_spool_batches')} batches\n{program.log_tail()}",
                lambda: program.counter("weir_agent_spool_batches") == 0,
                timeout_s=2 * WAIT_S,
                every_s=0.2,
            )

    # -- asking -----------------------------------------------------------------------------------------------------

    def weir(self, *words, status=0, token=None):
        """Run the command; it must end with this exit status (None: any)."""
        env = {**os.environ, "WEIR_URL": self.url, "WEIR_TOKEN_FILE": str(token or self.token)}
        done = subprocess.run(
            [str(BIN / "weir"), *map(str, words)], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S
        )
        assert status is None or done.returncode == status, f"weir {words} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ask(self, *words):
        """The JSON answer of a verb: {"meta": ..., "rows": [...]}."""
        return json.loads(self.weir(*words, "-o", "json").stdout)

    def http(self, path, body=None, token=True):
        """A request to the HTTP API: (status code, JSON or text)."""
        request = urllib.request.Request(self.url + path, data=None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", "Bearer " + (token if isinstance(token, str) else self.token.read_text().strip()))
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
                code, text = reply.status, reply.read().decode()
        except urllib.error.HTTPError as e:
            code, text = e.code, e.read().decode()
        try:
            return code, json.loads(text)
        except ValueError:
            return code, text

    def up_to_date(self, *words):
        """The answer of a verb, or None while rollups are behind what is stored, as the answer itself says."""
        answer = self.ask(*words)
        return None if answer["meta"]["behind"] else answer

    def totals(self, range_="1h", *filter_):
        """Exact sums over a time range, from `weir series --sum`: (flows, packets, bytes)."""
        answer = wait_for("rollups to catch up", lambda: self.up_to_date("series", "--sum", "-t", range_, *filter_), every_s=0.5)
        assert not answer["meta"]["partial"], answer["meta"]
        assert len(answer["rows"]) <= 1, answer["rows"]
        return tuple(answer["rows"][0][key] if answer["rows"] else 0 for key in ("flows", "packets", "bytes"))
