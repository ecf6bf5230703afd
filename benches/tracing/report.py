"""Compares the figures of benches/tracing.sh: a file with lines "NAME TICKS", the queries of each, and the ticks of a second."""

import collections
import statistics
import sys

figures, queries, second = collections.defaultdict(list), int(sys.argv[2]), int(sys.argv[3])
for line in open(sys.argv[1]):
    name, ticks = line.split()
    figures[name].append(int(ticks) / second * 1e6 / queries)

LABELS = {
    "none": "nothing observed",
    "counted": "digests, metrics",
    "some": "digests, metrics, 1 % traced",
    "all": "digests, metrics, all traced",
}
print(f"{'':32}{'µs CPU each':>12}{'least':>8}{'most':>8}{'ratio':>8}")
for name, label in LABELS.items():
    values = figures[name]
    # Of the same round, in which the machine was as busy.
    ratio = statistics.median(value / base for value, base in zip(values, figures["none"]))
    print(f"{label:32}{statistics.median(values):12.2f}{min(values):8.2f}{max(values):8.2f}{ratio:8.2f}")
