"""Describes the machine, and watches what else it does during a measurement."""

import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SYNCS = 200
CACHE_READ_BYTES = 4 << 20
# The system keeps some for itself.
CACHE_FREE_BYTES = 700_000_000


def describe(repository: Path, stores: Path) -> dict:
    """Everything that a reader needs to judge the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "kernel": platform.release(),
        "hypervisor": _hypervisor(),
        "disk": _file_system(stores),
        "fdatasync_p50_us": _sync_us(stores),
        "java": _first_line(["java", "-version"]),
        "rustc": _first_line(["rustc", "--version"], repository),
        "commit": _output(["git", "rev-parse", "--short=10", "HEAD"], repository),
        "changed_files": len(_output(["git", "status", "--porcelain", "-uno"], repository).splitlines()),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def need_disk(directory: Path, needed_bytes: int):
    """Ends here, and not in the middle, if the disk has no room."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise SystemExit(f"{directory}: {free / 1e9:.0f} GB are free, {needed_bytes / 1e9:.0f} GB are needed")


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _hypervisor() -> str:
    found = re.search(r"^Hypervisor vendor:\s*(.+)$", _output(["lscpu"]), re.MULTILINE)
    return found[1] if found else "none"


def _file_system(directory: Path) -> str:
    lines = _output(["df", "--output=source,fstype", str(directory)]).splitlines()
    return " ".join(lines[-1].split()) if lines else "unknown"


def _sync_us(directory: Path) -> int:
    """How long the disk takes to make an append of 4 KiB durable: what SYNC_FLUSH waits for."""
    path = directory / "sync-probe"
    times = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        for _ in range(SYNCS):
            os.write(descriptor, bytes(4096))
            started = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return round(statistics.median(times) * 1e6)


def _output(command: list[str], directory: Path | None = None) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


def _first_line(command: list[str], directory: Path | None = None) -> str:
    return (_output(command, directory).splitlines() or ["unknown"])[0]


def memory_bytes(pid: int) -> dict:
    """A process's memory: what it allocated, and with the files that it maps."""
    status = Path(f"/proc/{pid}/status").read_text()
    of = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)}
    return {"anonymous": of["RssAnon"], "resident": of["VmRSS"], "resident_peak": of["VmHWM"]}


class PageCache:
    """Keeps memory that nothing uses full of cache, as it is on a machine that has run for days.

    A virtual machine's host takes free memory back. Whoever touches such a page first waits for the host,
    some 2 µs for a KB, and it counts as its CPU: a log's fresh pages would cost more than all else of a send, in
    a measurement and nowhere else. What is read of a file with nothing in it makes the system use, and then
    reuse, memory that it has.
    """

    def __init__(self, directory: Path):
        self._path = directory / "page-cache"
        self._at = 0

    def fill(self):
        """Until little is free."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        buffer = bytearray(CACHE_READ_BYTES)
        with self._path.open("r+b" if self._path.exists() else "w+b", buffering=0) as file:
            # Beyond the end of what was read before: that may be in memory still.
            os.truncate(self._path, self._at + 2 * _memory_bytes())
            end = self._at + _memory_bytes()
            while _free_bytes() > CACHE_FREE_BYTES and self._at < end:
                self._at += os.preadv(file.fileno(), [buffer], self._at)

    def remove(self):
        """Gives the memory back."""
        self._path.unlink(missing_ok=True)


def _free_bytes() -> int:
    return int(re.search(r"^MemFree:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)[1]) * 1024


class CpuWatch:
    """CPU time since it was made: of the whole machine, and of what we started."""

    def __init__(self, server_pid: int):
        self._server_pid = server_pid
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
        busy = user + nice + system + irq + softirq
        children = os.times()
        server = Path(f"/proc/{self._server_pid}/stat").read_text().rsplit(")", 1)[1].split()
        ours = (int(server[11]) + int(server[12])) / TICKS_PER_S
        ours += children.children_user + children.children_system + children.user + children.system
        return busy / TICKS_PER_S - ours, steal / TICKS_PER_S, time.monotonic()

    def others(self) -> dict:
        """The share of all cores that others took meanwhile (the kernel's write-back among them)."""
        before, after = self._before, self._now()
        cores = (after[2] - before[2]) * (os.cpu_count() or 1)
        return {
            "others_cpu_share": round(max(after[0] - before[0], 0) / cores, 3),
            "stolen_cpu_share": round((after[1] - before[1]) / cores, 3),
        }
