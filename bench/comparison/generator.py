"""Runs `thrustmq bench` and reads its result."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from comparison import rows
from comparison.servers import Server

# A generator that does not end by itself is stuck.
PATIENCE_S = 90


@dataclass(frozen=True)
class Times:
    """Seconds of load before it counts, and of measuring."""

    warm_up: int
    measured: int


class LoadFailed(Exception):
    """The generator failed, or what it measured was not true."""


class Generator:
    """The load generator of a build."""

    def __init__(self, thrustmq: Path):
        self._thrustmq = thrustmq

    def run(self, server: Server, kind: str, arguments: list[str], times: Times) -> dict:
        """What it printed. Arguments name the topic of messages."""
        command = [str(self._thrustmq), "bench", kind, "--json", "--pid", str(server.pid)]
        if kind == rows.CONNECTIONS:
            command += ["--broker", f"127.0.0.1:{server.port}"]
        else:
            command += ["--namesrv", f"127.0.0.1:{server.name_server_port}", "--warm-up", str(times.warm_up)]
            if "--queues" not in arguments:
                command += ["--queues", str(rows.QUEUES)]
        command += ["--seconds", str(times.measured), *arguments]
        timeout_s = times.warm_up + times.measured + PATIENCE_S
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as stuck:
            raise LoadFailed(f"{' '.join(command)}: no end after {timeout_s} s") from stuck
        if done.returncode != 0:
            raise LoadFailed(f"{' '.join(command)}\n{done.stderr.strip()}\n{server.log_tail()}")
        return json.loads(done.stdout)


# Our names of measures, and the generator's.
MEASURES = {
    "rate": "messages_per_s",
    "p50_us": "p50_us",
    "p99_us": "p99_us",
    "p999_us": "p999_us",
    "received_p50_us": "received_p50_us",
    "received_p99_us": "received_p99_us",
    "received_p999_us": "received_p999_us",
    "late_p50_us": "late_p50_us",
    "late_p99_us": "late_p99_us",
    "late_p999_us": "late_p999_us",
    "cpu_us": "server_cpu_us_per_message",
    "generator_cpu_us": "generator_cpu_us_per_message",
    "failures": "failures",
}


def measures(result: dict) -> dict[str, float]:
    """The figures of a result that the report is made of."""
    found = {ours: result[theirs] for ours, theirs in MEASURES.items() if result.get(theirs) is not None}
    if result.get("server_anonymous_bytes"):
        found["anonymous_mb"] = result["server_anonymous_bytes"] / 1e6
    return found
