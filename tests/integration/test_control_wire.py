"""What strangers send to the control port: refused, and the sidecar goes on. Nothing of it is signed, so nothing of it is trusted."""
import re
import socket
import struct

import pytest

from tools import fcgi, handover, paths, wait
from tools.sidecar import Sidecar, secret_file


def record(kind, data=b"", length=None):
    return struct.pack(">BBHHBB", 1, kind, 1, len(data) if length is None else length, 0, 0) + data


BEGIN = record(1, struct.pack(">HB5x", 1, 0))
PARAMS = record(4, bytes([5, 3]) + b"HELLOabc") + record(4)
FORGED = {
    "CVE-2025-23016-name": BEGIN + record(4, struct.pack(">II", 0xfffffffe, 0x80000000) + b"A" * 60000) + record(4),
    "CVE-2025-23016-both": BEGIN + record(4, struct.pack(">II", 0xffffffff, 0xffffffff) + b"A" * 60000) + record(4),
    "CVE-2025-23016-values": record(9, struct.pack(">II", 0xfffffffe, 0x80000000) + b"A" * 5000) + BEGIN + PARAMS,
    "half-a-pair": BEGIN + record(4, bytes([200, 200]) + b"abc") + record(4) + record(5),
    "long-parameters": BEGIN + record(4, bytes([1, 1]) + b"ab" * 5000) * 20,
    "long-body": BEGIN + PARAMS + record(5, b"x" * 65528) * 20,
    "body-before-parameters": BEGIN + record(5, b"x"),
    "second-begin": BEGIN + BEGIN,
    "no-begin": PARAMS,
    "other-role": record(1, struct.pack(">HB5x", 2, 0)) + PARAMS,
    "abort": BEGIN + record(2),
    "noise": b"\xff" * 5000,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "torn": BEGIN + record(4, b"abc", length=600),
}


@pytest.fixture(scope="module")
def instance(module_tmp):
    shared = module_tmp / "shared"
    shared.mkdir()
    paths.give(shared)
    with Sidecar(module_tmp, "a", f"file://{shared}/authority.json", secret_file(module_tmp),
                 seed=handover.seed(module_tmp)) as s:
        s.post_start()
        yield s


@pytest.mark.parametrize("name", FORGED)
def test_forged_request_is_refused_and_harms_nothing(instance, name):
    with socket.create_connection(instance.control, timeout=20) as s:
        try:
            s.sendall(FORGED[name])
            s.shutdown(socket.SHUT_WR)
            assert s.recv(100) == b""
        except TimeoutError:
            raise
        except OSError:
            pass                    # reset, at whatever moment
    assert instance.proc.running()
    assert instance.status()["state"] == "PRIMARY"
    wait.until(lambda: "malformed FastCGI" in instance.log(), 5, "the line that says so")


def test_unsigned_request_gets_an_answer(instance):
    with socket.create_connection(instance.control, timeout=20) as s:
        for byte in BEGIN + PARAMS + record(5):
            s.sendall(bytes([byte]))
        answer = b""
        while piece := s.recv(4096):
            answer += piece
    assert b"Status: 401" in answer and answer.endswith(fcgi.end_request(req_id=1))


def test_probe_without_a_byte_is_no_refusal(instance):
    before = instance.log().count("SC0601")
    for _ in range(5):
        socket.create_connection(instance.control, timeout=5).close()
    assert instance.status()["state"] == "PRIMARY"
    assert instance.log().count("SC0601") == before


@pytest.mark.parametrize("said", [b"", BEGIN + PARAMS[:10]], ids=["nothing", "half-a-head"])
def test_silent_connections_do_not_keep_the_others_out(instance, said):
    """More of them than the port has threads, and nobody else's request waits for long."""
    silent = [socket.create_connection(instance.control, timeout=5) for _ in range(20)]
    for s in silent:
        s.sendall(said)
    assert instance.status()["serving"], "serve answers within --peer-timeout"
    for s in silent:
        s.close()


def test_refusals_do_not_fill_the_log(instance):
    """Anybody who reaches the port can have a request refused."""
    def refused():
        with socket.create_connection(instance.control, timeout=20) as s:
            s.sendall(BEGIN + PARAMS + record(5))
            while s.recv(4096):
                pass
    for _ in range(40):
        refused()
    first = instance.log().count("SC0601")
    assert 0 < first < 40
    count = re.search(r"^sidecar_control_refused_total (\d+)", instance.http("/metrics").text, re.M)
    assert count is None or int(count[1]) >= 40
