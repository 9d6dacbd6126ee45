#!/usr/bin/env python3
"""Reads every Delta table below the given folder with a reader that is not ours. Exit code 1 if there is none, or an empty one."""

import os
import sys
from pathlib import Path

from deltalake import DeltaTable

logs = sorted(Path(sys.argv[1]).rglob("_delta_log"))
if not logs:
    sys.exit(f"no Delta table below {sys.argv[1]}")
for log in logs:
    table = DeltaTable(str(log.parent))
    rows = table.to_pyarrow_table()
    print(f"{log.parent}: version {table.version()}, {rows.num_rows:,} rows, {rows.num_columns} columns: {', '.join(rows.column_names)}")
    if "decision" in rows.column_names:
        counts = rows.group_by("decision").aggregate([([], "count_all")]).to_pylist()
        print("  " + ", ".join(f"{row['decision']} {row['count_all']:,}" for row in sorted(counts, key=lambda row: str(row["decision"]))))
    if rows.num_rows == 0:
        sys.exit(f"{log.parent} is empty")
# Not by taking the interpreter down: threads of deltalake abort it now and then, after everything has been read.
sys.stdout.flush()
os._exit(0)
