"""Measure everything in one run, write `build/bench.json`, print the table."""

from __future__ import annotations

import sys

from tests.bench import bulk, daily, reads, rest, scaling, warehouse
from tests.bench.figures import Figure, print_figures, write_figures
from tests.bench.worlds import bench_world


def main() -> int:
    figures: list[Figure] = []
    for part in (daily, bulk, warehouse, reads, rest, scaling):
        with bench_world() as world:
            print(f"measuring {part.__name__.rpartition('.')[2]} …", file=sys.stderr)
            figures += part.measure(world)
    write_figures(figures)
    print_figures(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
