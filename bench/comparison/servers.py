"""Builds, fetches, starts and stops what is measured.

Both brokers get the same settings and a name server of ours in a process of its own, so that a broker's
CPU and memory are the broker's alone. The bare server is its own name server.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison import wire

REPOSITORY = Path(__file__).resolve().parents[2]
JAVA_PEERS = REPOSITORY / "integration-tests/peers/java"
ROCKETMQ_VERSION = "5.5.0"

# As runbroker.sh starts the broker with JDK 9 and later, but for the heap, which is 8 GB there, and
# AlwaysPreTouch, which would count all of the heap as used.
JAVA_HEAP = "4g"
JAVA_OPTIONS = [
    f"-Xms{JAVA_HEAP}",
    f"-Xmx{JAVA_HEAP}",
    "-XX:+UseG1GC",
    "-XX:G1HeapRegionSize=16m",
    "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:SoftRefLRUPolicyMSPerMB=0",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:MaxDirectMemorySize=4g",
    "-XX:-UseLargePages",
]
# What the Java broker's store needs to see of the JDK 17.
JAVA_OPENED = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
]

START_TIMEOUT_S = 60
# Ours ends in order; Java's broker takes long to, and is killed: its store is deleted anyway.
STOP_TIMEOUT_S = 20
POLL_S = 0.1
# Below the range that Linux takes outgoing ports from.
PORTS = range(12_000, 32_000, 5)


@dataclass(frozen=True)
class Binaries:
    """What is started."""

    thrustmq: Path
    bare: Path
    java_class_path: str


def build() -> tuple[Path, Path]:
    """Our release build and the bare server."""
    command = ["cargo", "build", "--release", "-p", "thrustmq-cli", "-p", "thrustmq-bare-server"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return built()


def built() -> tuple[Path, Path]:
    """Where a build leaves them."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release"
    return target / "thrustmq", target / "thrustmq-bare-server"


def fetch_java() -> str:
    """The class path of Apache's published jars, fetched as the integration tests do."""
    pom, fetched = JAVA_PEERS / "pom.xml", JAVA_PEERS / "target/fetched-by-pom.xml"
    if not fetched.exists() or fetched.read_bytes() != pom.read_bytes():
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies"]
        command += ["-DoutputDirectory=target/lib", "-DincludeScope=runtime"]
        subprocess.run(command, cwd=JAVA_PEERS, check=True)
        fetched.write_bytes(pom.read_bytes())
    return str(JAVA_PEERS / "target/lib/*")


def free_port() -> int:
    """A port whose neighbours are free as well: brokers take the one two below and the one above."""
    for port in random.sample(PORTS, len(PORTS)):
        if all(_is_free(port + near) for near in range(-2, 2)):
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class Server:
    """One measured server with a fresh store. Leaving the `with` stops it and deletes the store.

    One of ours may have a `store` that stays, and run `under` another program.
    """

    def __init__(
        self,
        system: str,
        binaries: Binaries,
        stores: Path,
        settings: dict[str, str],
        *,
        store: Path | None = None,
        under: Sequence[str] = (),
    ):
        self.system = system
        self.directory = stores / f"{system}-{os.getpid()}"
        self.port = free_port()
        self.name_server_port = self.port
        self._processes: list[subprocess.Popen] = []
        self._binaries = binaries
        self._settings = settings
        self._store = store or self.directory / "store"
        self._under = list(under)

    @property
    def pid(self) -> int:
        return self._processes[-1].pid

    @property
    def log(self) -> Path:
        return self.directory / f"{self.system}.log"

    def __enter__(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            _stop(process, at_once=self.system == "java")
        shutil.rmtree(self.directory, ignore_errors=True)
        os.sync()

    def _start(self):
        if self.system == "bare":
            self._run([self._binaries.bare, str(self.port), self._store], "bare")
            self._wait("a connection", lambda: wire.Connection(self.port).close() or True)
            return
        self.name_server_port = free_port()
        command = [self._binaries.thrustmq, "namesrv", "--set", f"listenPort={self.name_server_port}"]
        self._run([*command, "--data", self.directory / "namesrv"], "namesrv")
        self._wait("the name server", lambda: wire.Connection(self.name_server_port).close() or True)
        self._run(self._java() if self.system == "java" else self._ours(), self.system)
        self._wait("the broker's registration", self._is_registered)

    def _ours(self) -> list:
        command = [*self._under, self._binaries.thrustmq, "broker", "--data", self._store]
        for key, value in self._broker_settings().items():
            command += ["--set", f"{key}={value}"]
        return command

    def _java(self) -> list:
        home = self.directory / "home"
        (home / "conf").mkdir(parents=True)
        store = self._store
        settings = self._broker_settings()
        settings |= {"storePathRootDir": str(store), "storePathCommitLog": str(store / "commitlog")}
        configuration = self.directory / "broker.conf"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        command = ["java", *JAVA_OPENED, *JAVA_OPTIONS, f"-Duser.home={home}", f"-Drocketmq.home.dir={home}"]
        command += ["-cp", self._binaries.java_class_path]
        return [*command, "org.apache.rocketmq.broker.BrokerStartup", "-c", configuration]

    def _broker_settings(self) -> dict[str, str]:
        return {
            "brokerName": self.system,
            "listenPort": str(self.port),
            "brokerIP1": "127.0.0.1",
            "namesrvAddr": f"127.0.0.1:{self.name_server_port}",
            # A disk that is rather full must not make either of them delete messages.
            "diskMaxUsedSpaceRatio": "95",
            **self._settings,
        }

    def _run(self, command: list, name: str):
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._processes.append(process)

    def _is_registered(self) -> bool:
        with wire.Connection(self.name_server_port) as connection:
            _, body = connection.call(wire.GET_BROKER_CLUSTER_INFO)
        return f'"{self.system}"'.encode() in body

    def _wait(self, what: str, is_there):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._processes[-1].poll() is not None:
                break
            try:
                if is_there():
                    return
            except (OSError, wire.WireError):
                pass
            time.sleep(POLL_S)
        raise RuntimeError(f"{self.system}: no sign of {what}\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The end of what the server said, for whoever has to find out why it failed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-20:])

    def complaints(self) -> int:
        """WARN and ERROR lines of our broker: a run with some deserves a look."""
        if self.system != "ours":
            return 0
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(" WARN " in line or " ERROR " in line for line in lines)


def _stop(process: subprocess.Popen, at_once: bool):
    process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
