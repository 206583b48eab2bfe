"""What real exporters say, answered by Weir and by nfdump from the same datagrams: hosts, bytes and packets agree."""

import time

import pytest

import exporters
from capture import Capture
from river import River


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A capture of a few minutes ago: TCP, UDP and ICMP over IPv4 and IPv6, some hosts far busier than others."""
    return Capture(seed=20, start=time.time() - 300).office().write(tmp_path_factory.mktemp("capture") / "office.pcap")


@pytest.fixture(scope="module")
def river(tmp_path_factory):
    with River(tmp_path_factory.mktemp("river"), agents=4, aggregators=2) as river:
        yield river


EXPORT = {
    "netflow5": lambda capture, folder: exporters.softflowd(capture, 5, folder),
    "netflow9": lambda capture, folder: exporters.softflowd(capture, 9, folder),
    "ipfix": lambda capture, folder: exporters.softflowd(capture, 10, folder),
    "sflow5": exporters.sfprobe,
}


# Each exporter has an agent to itself, so that all its sources are its own.
@pytest.mark.parametrize("agent, protocol", [(f"agent{i + 1}", protocol) for i, protocol in enumerate(EXPORT)])
def test_top_hosts_agree_with_nfdump_on_hosts_bytes_and_packets(agent, protocol, river, capture, tmp_path):
    datagrams = EXPORT[protocol](capture, tmp_path)
    theirs = exporters.hosts_of(exporters.nfdump_records(datagrams, "sflow" if protocol == "sflow5" else "netflow", tmp_path / "nfdump"))
    assert len(theirs) > 20, "the capture has more hosts than that"

    river.send(datagrams, agent)
    river.settle()
    answer = river.ask("top", "-g", "ip", "-n", 1000, "-t", "1h", f"protocol = {protocol}")
    ours = {row["ip"]: (row["bytes"], row["packets"]) for row in answer["rows"]}

    assert ours == theirs
    assert answer["meta"]["partial"] is False
    assert answer["rows"][0]["ip"] == max(theirs, key=lambda host: theirs[host][0])
