#!/usr/bin/env python3
"""Events of so many keys, drawn by a zipf law (exponent 0.5), of each at most two; one every 100 microseconds.

    generate.py OUT --keys N --seed S
"""

import argparse
import random
from datetime import datetime, timedelta, timezone

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("out")
arguments.add_argument("--keys", type=int, required=True)
arguments.add_argument("--seed", type=int, default=1)
args = arguments.parse_args()

universe = args.keys * 8 // 5
seen, distinct, event = bytearray(universe), 0, 0
draw = random.Random(args.seed).random
start = datetime(2026, 1, 1, tzinfo=timezone.utc)
second, stamp = -1, ""
with open(args.out, "w", buffering=1 << 20) as out:
    while distinct < args.keys:
        rank = int(universe * draw() ** 2)
        if seen[rank] == 2:
            continue
        distinct += seen[rank] == 0
        seen[rank] += 1
        if event // 10_000 != second:
            second = event // 10_000
            stamp = (start + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        # Neighbours in rank are none as keys.
        out.write(f'{{"key":"{rank * 2654435761 % 4294967296:08x}","time":"{stamp}.{event % 10_000:04d}Z","bytes":{rank % 5000}}}\n')
        event += 1
