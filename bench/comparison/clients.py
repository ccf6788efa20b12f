"""Our client beside Java's, as applications use them, in turn against the same broker of ours."""

import json
import subprocess
from dataclasses import dataclass

from comparison import rows, servers
from comparison.generator import LoadFailed, Times
from comparison.results import Results
from comparison.servers import Server
from comparison.sessions import FAILURES, Setup, say

NAME = "clients"
# In the order of the columns; results stand under these names.
CLIENTS = ("client-ours", "client-java")
JAVA_SOURCE = servers.REPOSITORY / "bench/java-client/ClientLoad.java"
JAVA_HEAP = "1g"
# Java compiles what runs often; ours is compiled.
WARM_UP_S = {"client-ours": 2, "client-java": 10}
PATIENCE_S = 60
SENT, STORED = "clients-sent", "clients-stored"
# More than either receives until its measuring ends: one that runs out would look slow.
STORED_MESSAGES = 6_000_000


@dataclass(frozen=True)
class ClientWork:
    """What an application does."""

    name: str
    title: str
    kind: str
    arguments: tuple[str, ...]


WORKS = (
    ClientWork("send-1", "send 1 KB, one after the other", "send", ("--topic", SENT, "--in-flight", "1")),
    ClientWork("send-256", "send 1 KB, 256 in flight", "send", ("--topic", SENT, "--in-flight", "256")),
    ClientWork("receive", "receive 1 KB, a listener for each message", "receive", ("--topic", STORED)),
)


def run(setup: Setup, results: Results, number: int):
    """A round: both clients, every second time the other first."""
    missing = [work for work in WORKS if not all(results.has(number, client, work.name) for client in CLIENTS)]
    if not missing:
        return
    say(f"round {number}: clients")
    setup.page_cache.fill()
    try:
        with Server("ours", setup.binaries, setup.stores, {"flushDiskType": rows.ASYNC}) as server:
            _fill(setup, server)
            for work in missing:
                for client in CLIENTS if number % 2 else CLIENTS[::-1]:
                    result = _measure(setup, server, client, work)
                    results.put(number, client, work.name, {"flush": rows.ASYNC, "result": result})
    except FAILURES as why:
        results.miss(f"clients, round {number}", why)


def _fill(setup: Setup, server: Server):
    """The topics are there, and one of them has messages."""
    size = ["--size", "1024"]
    setup.generator.run(server, "send", ["--topic", SENT, *size, "--count", "1000"], Times(0, 1))
    stored = ["--batch", "32", "--in-flight", "16", "--count", str(STORED_MESSAGES)]
    setup.generator.run(server, "send", ["--topic", STORED, *size, *stored], Times(0, 1))


def _measure(setup: Setup, server: Server, client: str, work: ClientWork) -> dict:
    warm_up_s = WARM_UP_S[client]
    if client == "client-ours":
        command = [str(setup.binaries.thrustmq), "bench", "client", work.kind, "--json"]
    else:
        command = ["java", f"-Xmx{JAVA_HEAP}", "-cp", setup.binaries.java_class_path, str(JAVA_SOURCE), work.kind]
    command += ["--namesrv", f"127.0.0.1:{server.name_server_port}", *work.arguments]
    command += ["--size", "1024", "--warm-up", str(warm_up_s), "--seconds", str(setup.seconds)]
    timeout_s = warm_up_s + setup.seconds + PATIENCE_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as stuck:
        raise LoadFailed(f"{' '.join(command)}: no end after {timeout_s} s") from stuck
    if done.returncode != 0:
        raise LoadFailed(f"{' '.join(command)}\n{done.stderr.strip()}")
    # Java's client may print lines of its own before.
    result = json.loads(done.stdout.splitlines()[-1])
    cost = result["generator_cpu_us_per_message"]
    say(f"  {client}, {work.name}: {result['messages_per_s']:,.0f} msg/s, {cost:.2f} µs of its CPU a message")
    if result["failures"]:
        raise LoadFailed(f"{client}, {work.name}: {result['failures']} sends failed")
    if work.kind == "receive" and (result.get("received") or 0) >= STORED_MESSAGES:
        raise LoadFailed(f"{client}, {work.name}: it ran out of messages")
    return result
