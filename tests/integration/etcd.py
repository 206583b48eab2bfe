"""Members of etcd on loopback, as Debian's etcd-server has it, each killed by its pid when the block ends."""

import base64
import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from river import free_port, wait_for

BINARY = shutil.which("etcd")
needs_etcd = pytest.mark.skipif(BINARY is None, reason="etcd-server is not installed (tests/packages.txt)")


def text_of(data):
    return base64.b64decode(data).decode()


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


class Member:
    def __init__(self, etcd, number):
        self.etcd, self.name = etcd, f"m{number}"
        self.url, self.peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.folder = etcd.folder / self.name
        self.process = None

    def start(self):
        cluster = ",".join(f"{member.name}={member.peer}" for member in self.etcd.members)
        words = ["--name", self.name, "--data-dir", str(self.folder), "--initial-cluster", cluster,
                 "--initial-advertise-peer-urls", self.peer, "--listen-peer-urls", self.peer,
                 "--advertise-client-urls", self.url, "--listen-client-urls", self.url, *self.etcd.words]
        with open(f"{self.folder}.log", "ab") as log:
            self.process = subprocess.Popen([BINARY, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def call(self, path, body, token=None, timeout_s=10):
        """The answer of the gateway, or None when there is none or it is an error."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return json.load(reply)
        except (urllib.error.URLError, OSError, ValueError):
            return None


class Etcd:
    def __init__(self, folder, members=3, words=()):
        self.folder, self.words = folder / "etcd", list(words)
        self.folder.mkdir()
        self.members = []
        self.members += [Member(self, number) for number in range(members)]

    def __enter__(self):
        try:
            for member in self.members:
                member.start()
            wait_for("etcd to have a leader", lambda: self.leader() is not None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                member.kill()

    @property
    def urls(self):
        return [member.url for member in self.members]

    def leader(self):
        """The member that leads, once all that run agree."""
        for member in self.members:
            status = member.call("/v3/maintenance/status", {}, timeout_s=2) if member.process.poll() is None else None
            if status and status.get("leader", "0") != "0" and status["leader"] == status["header"]["member_id"]:
                return member
        return None

    def call(self, path, body, token=None):
        for member in self.members:
            reply = member.call(path, body, token)
            if reply is not None:
                return reply
        raise AssertionError(f"no member of etcd answers {path}")

    def put(self, key, value, token=None):
        return self.call("/v3/kv/put", {"key": base64_of(key), "value": base64_of(value)}, token)

    def add_user(self, name, password, prefix):
        """A user who may read and write below the prefix; authentication is on from here."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        self.call("/v3/auth/user/add", {"name": "root", "password": "root"})
        self.call("/v3/auth/role/add", {"name": "root"})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.call("/v3/auth/user/add", {"name": name, "password": password})
        self.call("/v3/auth/role/add", {"name": "weir"})
        self.call("/v3/auth/role/grant", {"name": "weir", "perm": {
            "permType": "READWRITE", "key": base64_of(prefix), "range_end": base64_of(end)}})
        self.call("/v3/auth/user/grant", {"user": name, "role": "weir"})
        self.call("/v3/auth/enable", {})
