"""Makes the tables of a test's jobs again with DuckDB, and compares them, row by row, with those that delta-rs reads: `recompute.py PROJECT`."""
import glob
import os
import sys

import deltalake
import duckdb

root = sys.argv[1]
# Of the tests' projects: what each table is of, in DuckDB's words.
DAILY = {"day", "country", "customer", "total", "bytes"}
TABLES = {
    "daily": lambda columns: """
        select cast(t as date) as day, country, customer, count(*) as total, sum(bytes) as bytes from requests group by all""" if columns == DAILY else """
        select day, customer, count(*) as total, count(amount) filter (where kind = 'a') as a, count(distinct session) as sessions,
               count(distinct kind) filter (where amount > 0) as kinds, sum(amount) as amount, min(t) as first, max(session) as last,
               quantile_cont(amount, 0.95) as p95, quantile_cont(amount, 0.5) as median
        from clean group by all""",
    "hourly": lambda _: "select date_part('hour', t) as hour, count(*) as total from requests group by all",
    "totals": lambda _: "select country, sum(total) as total from daily group by all",
    "by_country": lambda _: "select country, sum(total) as total from daily group by all",
    "twice": lambda _: "select day, customer, day as again, count(*) as total from clean group by day, customer, session",
    "kinds": lambda _: """
        select nullif(case when amount > 500 then null else kind end, '') as kind, customer, count(*) as total, count(distinct session) as sessions
        from clean group by case when amount > 500 then null else kind end, customer""",
}
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
tables = {}
for log in glob.glob(os.path.join(root, "lake", "*", "_delta_log")):
    name = os.path.basename(os.path.dirname(log))
    tables[name] = deltalake.DeltaTable(os.path.dirname(log)).to_pyarrow_table()
    db.register(name, tables[name])
compared = []
for name, made in tables.items():
    if name not in TABLES:
        continue
    columns = made.column_names
    # Sums are wider here; a place between two values is so near.
    shown = ", ".join(f"round({column}, 9) as {column}" if column in ("p95", "median") else f"cast({column} as varchar) as {column}" for column in columns)
    should = f"select {shown} from ({TABLES[name](set(columns))})"
    there = f"select {shown} from {name}"
    missing = db.sql(f"({should}) except all ({there})").fetchall()
    surplus = db.sql(f"({there}) except all ({should})").fetchall()
    assert not missing and not surplus, (name, len(missing), missing[:3], len(surplus), surplus[:3])
    compared.append((name, made.num_rows))
files = os.path.join(root, "in", "**", "*.parquet")
if "clean" in tables and glob.glob(files, recursive=True):
    # Of each id one row, and all that have none.
    ids = "select count(distinct id), count(*) filter (where id is null), count(*) from"
    named, nameless, _ = db.sql(f"{ids} read_parquet('{files}', hive_partitioning = false)").fetchall()[0]
    there = db.sql(f"{ids} clean").fetchall()[0]
    assert there == (named, nameless, named + nameless), (named, nameless, there)
    compared.append(("clean", named + nameless))
assert compared, f"no table of {list(tables)} is known"
print(compared, flush=True)
# Not by taking the interpreter down: threads of its libraries abort it now and then.
os._exit(0)
