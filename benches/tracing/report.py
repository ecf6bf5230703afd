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
    "some": "digests, metrics, 1 % traced",
    "all": "digests, metrics, all traced",
}
base = statistics.median(figures["none"])
print(f"{'':32}{'µs CPU each':>12}{'min':>8}{'max':>8}{'ratio':>8}")
for name, label in LABELS.items():
    values = figures[name]
    middle = statistics.median(values)
    print(f"{label:32}{middle:12.2f}{min(values):8.2f}{max(values):8.2f}{middle / base:8.2f}")
