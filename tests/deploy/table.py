"""The table of faults and of the outcomes of requests during each."""

import collections
import dataclasses

from load import Load


@dataclasses.dataclass
class Row:
    """The row of a fault."""

    fault: str
    injected: int = 0
    load: Load | None = None
    # Seconds from each fault until HAProxy sent no more requests to the replica, and until the recovery.
    out: list = dataclasses.field(default_factory=list)
    recovered: list = dataclasses.field(default_factory=list)
    violations: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)

    def check(self, holds, what):
        if not holds:
            self.violations.append(what)


def show(rows):
    """Prints the table. `lost` requests have no outcome."""
    print(f"\n{'fault':34} {'times':>5} {'requests':>8} {'answered':>8} {'refused':>7} {'failed':>6} {'lost':>4} "
          f"{'ms median/max':>14} {'out s':>11} {'recovered s':>11}")
    for row in rows:
        if row.load is None:
            print(f"{row.fault:34} {'-':>5}")
            continue
        load = row.load
        median, most = load.milliseconds()
        out, recovered = (f"{min(of):.2f}-{max(of):.2f}" if of else "-" for of in (row.out, row.recovered))
        print(f"{row.fault:34} {row.injected:>5} {len(load.requests):>8} {load.count('answered'):>8} {load.count('refused'):>7} "
              f"{load.count('failed'):>6} {load.count(None):>4} {f'{median:.0f}/{most:.0f}':>14} {out:>11} {recovered:>11}")
    print("out s: from the fault until HAProxy sends no more requests to the replica; recovered s: until it does again, or until the current version answers")


def say(row):
    """Prints the notes, failures and violations of a row."""
    for note in row.notes:
        print(f"{row.fault}: {note}")
    if row.load is not None:
        for detail, times in collections.Counter(request.detail for request in row.load.failed()).items():
            print(f"{row.fault}: failed {times} times: {detail}")
    for violation in row.violations:
        print(f"{row.fault}: VIOLATION: {violation}")
