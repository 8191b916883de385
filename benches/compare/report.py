"""The tables: medians over the rounds, ratios to the rivals, and what was asked for and not met."""

from dataclasses import dataclass, field
from statistics import mean, median

from load import CONNECTIONS, Sample
from scenario import Scenario

RIVALS = ["nginx", "varnish", "haproxy", "bare"]
MIB = 2**20


@dataclass
class Results:
    date: str
    machine: str
    versions: dict[str, str]
    rounds: int
    seconds: int
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)   # scenario, contender
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)            # contender: at start, after 10,000 addresses
    notes: list[str] = field(default_factory=list)

    def disturbance(self) -> float:
        """The share of the machine that other programs took, over all stretches."""
        everything = [sample.others for group in self.samples.values() for samples in group.values() for sample in samples]
        return mean(everything) if everything else 0.0


def markdown(results: Results, scenarios: list[Scenario]) -> str:
    """The whole of RESULTS.md."""
    versions = ", ".join(f"{name} {version}".strip() for name, version in results.versions.items())
    parts = [
        "# Larder beside nginx, Varnish, HAProxy and a bare hyper loop",
        f"Measured on {results.date} by `benches/compare/run`, whose head says how. {results.machine}.",
        f"{versions}. Server on one core, load ({CONNECTIONS} kept connections) and origin on the other; "
        f"{results.rounds} {'rounds' if results.rounds > 1 else 'round'} in turns, {results.seconds} s each; medians, and the lowest and highest µs. "
        f"Other programs took {results.disturbance():.0%} of the machine meanwhile.",
        "\"× nginx\" is this row's CPU per request divided by nginx's. \"Core\" is how much of its core the server used: below about 95 % "
        "the rate is the load generator's limit and not the server's. \"Origin\" is the share of requests that reached the origin. "
        "The bare loop looks nothing up: it sends the same entry whatever the address.",
    ]
    for scenario in scenarios:
        if group := results.samples.get(scenario.name):
            parts += [f"## {scenario.title}", table(group), *targets(scenario, group)]
    if results.memory:
        rows = [[name, f"{start / MIB:.1f}", f"{full / MIB:.1f}"] for name, (start, full) in results.memory.items()]
        parts += ["## Resident memory", "Shared pages counted once. nginx keeps its bodies in files, so in the page cache; "
                  "HAProxy takes its whole cache (64 MiB) at start; the bare loop holds one entry.", grid(["", "MiB at start", "MiB after 10,000 addresses"], rows)]
    if results.notes:
        parts += ["## Not as it should be", "\n".join(f"- {note}" for note in results.notes)]
    return "\n\n".join(parts) + "\n"


def table(group: dict[str, list[Sample]]) -> str:
    """One row per contender, in the order of measuring."""
    cost = {name: median(sample.cpu_us for sample in samples) for name, samples in group.items()}
    rivals = [name for name in RIVALS if name in cost]
    header = ["", "µs CPU", "low–high", *(f"× {name}" for name in rivals), "req/s", "p50 ms", "p99 ms", "core", "origin"]
    rows = []
    for name, samples in group.items():
        def middle(value):
            return median(map(value, samples))
        spread = [sample.cpu_us for sample in samples]
        rows.append([name, f"{cost[name]:.2f}", f"{min(spread):.2f}–{max(spread):.2f}",
                     *(f"{cost[name] / cost[rival]:.2f}" for rival in rivals),
                     f"{middle(lambda s: s.rate):,.0f}", f"{middle(lambda s: s.p50_ms):.2f}", f"{middle(lambda s: s.p99_ms):.2f}",
                     f"{middle(lambda s: s.busy):.0%}", f"{middle(lambda s: s.origin):.0%}"])
    return grid(header, rows)


def targets(scenario: Scenario, group: dict[str, list[Sample]]) -> list[str]:
    """What Larder was to reach here, and whether it did."""
    if "larder" not in group:
        return []
    own = median(sample.cpu_us for sample in group["larder"])
    said = []
    for rival, most in scenario.targets.items():
        if rival in group:
            ratio = own / median(sample.cpu_us for sample in group[rival])
            said.append(f"{ratio:.2f} × {rival} ({'met' if ratio <= most else 'MISSED'}: ≤ {most})")
    return [f"Larder: {', '.join(said)}."] if said else []


def grid(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that also reads well in a terminal."""
    widths = [max(3, *(len(row[column]) for row in [header, *rows])) for column in range(len(header))]
    lines = [[cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths))]
             for row in [header, *rows]]
    rule = ["-" * width if n == 0 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [lines[0], rule, *lines[1:]])
