"""Measure everything in one run, or the parts that are named, write `build/bench.json`, print the table."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from marketlake.errors import UsageError, one_of
from tests.bench import bulk, daily, reads, rest, scaling, warehouse
from tests.bench.figures import Figure, print_figures, write_figures
from tests.bench.worlds import bench_world

PARTS = {part.__name__.rpartition(".")[2]: part for part in (daily, bulk, warehouse, reads, rest, scaling)}


def main(names: Sequence[str]) -> int:
    """Measure; a part that raises leaves the others' figures as they are, and the exit code is 1."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise UsageError(one_of("part of the benchmarks", unknown[0], PARTS))
    figures, failed = list[Figure](), list[str]()
    for name in names or PARTS:
        print(f"measuring {name} …", file=sys.stderr)
        try:
            with bench_world() as world:
                figures += PARTS[name].measure(world)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        write_figures(figures)
    print_figures(figures)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
