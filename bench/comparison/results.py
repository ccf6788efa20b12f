"""Raw results on disk, and their medians.

`round-N/SYSTEM/WORK.json` holds what one call of the generator said, and what the machine did beside.
"""

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from comparison.generator import measures

MB = 1_000_000
# What is measured at a point of a curve.
KINDS = ("send", "pull", "spread")


@dataclass(frozen=True)
class Failure:
    """A run of the generator with requests that were refused or lost."""

    round: int
    system: str
    work: str
    result: dict


class Results:
    """The directory of one run."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.failed: list[str] = []
        directory.mkdir(parents=True, exist_ok=True)

    def _path(self, number: int, system: str, name: str) -> Path:
        return self.directory / f"round-{number}" / system / f"{name}.json"

    def has(self, number: int, system: str, name: str) -> bool:
        """Whether this was measured."""
        return self._path(number, system, name).exists()

    def put(self, number: int, system: str, name: str, value: dict):
        """Keeps a result; it is there whole or not at all."""
        path = self._path(number, system, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(value, indent=1) + "\n")
        part.replace(path)

    def miss(self, what: str, why: Exception):
        """Something could not be measured: the rest goes on, and what is missing can be measured later."""
        print(f"not measured: {what}: {why}", file=sys.stderr, flush=True)
        self.failed.append(what)

    def all(self, system: str, name: str) -> list[dict]:
        """This result of every round."""
        paths = sorted(self.directory.glob(f"round-*/{system}/{name}.json"))
        return [json.loads(path.read_text()) for path in paths]

    def rounds(self) -> int:
        """How many rounds have begun."""
        return len(list(self.directory.glob("round-*")))

    def median(self, system: str, work: str) -> dict[str, float]:
        """The median of each measure over the rounds; empty if it was not measured."""
        return _medians([measures(one["result"]) for one in self.all(system, work)])

    def spread(self, system: str, work: str, measure: str) -> tuple[float, float] | None:
        """The smallest and the largest of the rounds."""
        values = [measures(one["result"]).get(measure) for one in self.all(system, work)]
        known = [value for value in values if value is not None]
        return (min(known), max(known)) if known else None

    def memory_mb(self, system: str, name: str) -> dict[str, float]:
        """Medians of the kinds of memory, in MB of 10⁶ bytes."""
        rounds = [one["memory"] for one in self.all(system, name)]
        return {kind: value / MB for kind, value in _medians(rounds).items()}

    def curve(self, name: str) -> list[dict]:
        """The points of a curve, each with the medians of the rounds that reached it."""
        points = [_measured_point(point) for one in self.all("curves", name) for point in one["points"]]
        places = sorted({point["x"] for point in points})
        return [_median_point([point for point in points if point["x"] == place]) for place in places]

    def worst_of_others(self) -> dict[str, float]:
        """The most CPU that others took, or the hypervisor, during a work."""
        shares = [json.loads(path.read_text()) for path in self.directory.glob("round-*/*/*.json")]
        names = ("others_cpu_share", "stolen_cpu_share")
        return {name: max((share.get(name, 0) for share in shares), default=0) for name in names}

    def failures(self) -> list[Failure]:
        """Every run with requests that were refused or lost."""
        found = []
        for path in sorted(self.directory.glob("round-*/*/*.json")):
            round_name, system, work = path.parts[-3], path.parent.name, path.stem
            one = json.loads(path.read_text())
            runs = [(work, one["result"])] if "result" in one else []
            for point in one.get("points", []):
                kinds = [kind for kind in KINDS if isinstance(point.get(kind), dict)]
                runs += [(f"{work} {point['x']:,}, {kind}", point[kind]) for kind in kinds]
            number = int(round_name.removeprefix("round-"))
            found += [Failure(number, system, name, result) for name, result in runs if result.get("failures")]
        return found

    def failed_requests(self, system: str, work: str) -> int:
        """Requests of a work that were refused or lost, in all rounds."""
        return sum(one["result"].get("failures", 0) for one in self.all(system, work))

    def instructions(self, name: str) -> dict[int, dict[str, float]]:
        """What was counted at the points of a curve: instructions of each kind."""
        counted = self.all("instructions", name)
        return {point["x"]: point for point in counted[0]["points"]} if counted else {}

    def whole(self, work: str) -> dict[str, int]:
        """Messages that each system's broker gave whole to one that read all of a topic, in all rounds."""
        systems = sorted({path.parent.name for path in self.directory.glob(f"round-*/*/{work}.json")})
        wholes = {system: [one.get("whole", {}) for one in self.all(system, work)] for system in systems}
        sums = {system: sum(whole.get("received", 0) for whole in of) for system, of in wholes.items()}
        return {system: count for system, count in sums.items() if count}


def _measured_point(point: dict) -> dict:
    measured = {kind: measures(point[kind]) for kind in KINDS if kind in point}
    return {"x": point["x"], "memory": point["memory"], "fill": {"seconds": point["fill_s"]}, **measured}


def _median_point(same: list[dict]) -> dict:
    parts = sorted({part for point in same for part in point if part != "x"})
    return {"x": same[0]["x"], **{part: _medians([point[part] for point in same if part in point]) for part in parts}}


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    names = {name for one in rounds for name in one}
    return {name: statistics.median(one[name] for one in rounds if name in one) for name in sorted(names)}
