#!/usr/bin/env python3
"""Compares every feature of bench/oracle/project with what DuckDB's window functions say of the same log.

    oracle.py LOG.ndjson OUTPUT.parquet

The log is in order of time and no two times are equal, so that SQL and a stream mean the same. A window of 5 minutes at an
event of time t is (t - 5 m, t]: `range between interval '299999999 microseconds' preceding and current row`, as times are whole
microseconds. Integers, texts and truth values have to be equal, floats within 1e-9. Exit 1 if a row differs.
"""

import sys

import duckdb

SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000
SHOWN = 3  # differing rows per column


def over(by: str, within: int, before: bool = False) -> str:
    """The window of an event; `before`: without the event itself."""
    end = "interval '1 microsecond' preceding" if before else "current row"
    return f"over (partition by {by} order by event_time range between interval '{within - 1} microseconds' preceding and {end})"


def since(earlier: str) -> str:
    return f"(epoch_us(event_time) - epoch_us({earlier})) / 1e6"


def at_least(events: int, counted: str, value: str) -> str:
    return f"case when {counted} >= {events} then {value} end"


def ewma(by: str, weight: str, half_life: int) -> str:
    """Each event decays to the log's first time, into the future, and their sum back to the event's."""
    age = f"(epoch_us(event_time) - first_us) / {half_life}.0::double"
    whole = f"over (partition by {by} order by event_time rows between unbounded preceding and current row)"
    return f"sum({weight} * pow(2.0::double, {age})) {whole} * pow(2.0::double, -{age}) * ln(2.0::double) / ({half_life} / 1e6)"


IP, C, CP = "ip", "customer", "customer, path"

# Column, key, SQL.
FEATURES = [
    ("ip_count", IP, f"count(*) {over(IP, MINUTE)}"),
    ("ip_errors", IP, f"count(*) filter (where status >= 400) {over(IP, 5 * MINUTE)}"),
    ("ip_labelled", IP, f"count(label) {over(IP, 5 * MINUTE)}"),
    ("ip_bytes", IP, f"(sum(bytes) {over(IP, 10 * MINUTE)})::bigint"),
    ("ip_bytes_mean", IP, f"avg(bytes) {over(IP, 5 * MINUTE)}"),
    ("ip_agents", IP, f"count(distinct user_agent) {over(IP, 10 * MINUTE)}"),
    ("ip_idle", IP, since(f"max(event_time) {over(IP, 90 * DAY, before=True)}")),
    ("ip_last_path", IP, f"last_value(path ignore nulls) {over(IP, 5 * MINUTE, before=True)}"),
    ("ip_pace", IP, ewma(IP, "1.0::double", MINUTE)),
    ("c_count", C, f"count(*) {over(C, 10 * SECOND)}"),
    ("c_seconds", C, f"sum(seconds) {over(C, MINUTE)}"),
    ("c_seconds_mean", C, f"avg(seconds) {over(C, 30 * SECOND)}"),
    ("c_stddev", C, f"stddev_samp(bytes) {over(C, MINUTE)}"),
    ("c_stddev_errors", C, f"stddev_samp(seconds) filter (where status >= 400) {over(C, 5 * MINUTE)}"),
    ("c_min", C, f"min(bytes) {over(C, 30 * SECOND)}"),
    ("c_max", C, f"max(seconds) {over(C, MINUTE)}"),
    ("c_max_errors", C, f"max(bytes) filter (where status >= 400) {over(C, 2 * MINUTE)}"),
    ("c_sessions", C, f"count(distinct session) {over(C, 5 * MINUTE)}"),
    ("c_paths_posted", C, f"count(distinct path) filter (where method = 'POST') {over(C, 5 * MINUTE)}"),
    ("c_median", C, f"quantile_cont(bytes, 0.5) {over(C, MINUTE)}"),
    ("c_p95", C, at_least(20, f"count(seconds) {over(C, 5 * MINUTE)}", f"quantile_cont(seconds, 0.95) {over(C, 5 * MINUTE)}")),
    ("c_new_ip", C, f"count(*) {over('customer, ip', 5 * MINUTE)} = 1"),
    ("c_new_ip_age", C, since(f"min(event_time) {over('customer, ip', 5 * MINUTE)}")),
    ("c_last_label", C, f"last_value(label ignore nulls) {over(C, 2 * MINUTE, before=True)}"),
    ("c_labelled", C, since(f"max(event_time) filter (where label is not null) {over(C, 5 * MINUTE, before=True)}")),
    ("c_share", C, f"count(*) {over('customer, country', 2 * MINUTE)} / (count(country) {over(C, 2 * MINUTE)})::double"),
    ("c_entropy", C, f"entropy(path) {over(C, MINUTE)}"),
    ("c_bytes_pace", C, ewma(C, "bytes", 30 * SECOND)),
    ("cp_count", CP, at_least(3, f"count(*) {over(CP, 5 * MINUTE)}", f"count(*) {over(CP, 5 * MINUTE)}")),
    ("cp_bytes", CP, f"(sum(bytes) {over(CP, 5 * MINUTE)})::bigint"),
    ("cp_new", CP, f"count(*) {over(CP, 2 * MINUTE)} = 1"),
    ("cp_new_age", CP, since(f"min(event_time) {over(CP, 2 * MINUTE)}")),
    ("cp_last_bytes", CP, f"last_value(bytes ignore nulls) {over(CP, 90 * DAY, before=True)}"),
]


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    log, output = sys.argv[1:]
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    read_log(db, log)
    db.execute("create table found as select file_row_number as n, * from read_parquet(?, file_row_number = true)", [output])
    events, rows = (db.execute(f"select count(*) from {table}").fetchone()[0] for table in ("log", "found"))
    wrong = 0
    if events != rows:
        print(f"oracle: {events} events in the log, {rows} rows in the output")
        wrong += 1
    elsewhere = db.execute("select count(*) from log join found using (n) where log.request_id is distinct from found.request_id").fetchone()[0]
    if elsewhere:
        print(f"oracle: {elsewhere} rows are not in the order of the log")
        wrong += 1
    wrong += not_compared(db)
    for name, key, sql in FEATURES:
        wrong += compare(db, name, key, sql) > 0
    print(f"oracle: {rows} rows, {len(FEATURES)} features, {'all as DuckDB has them' if wrong == 0 else f'{wrong} problems'} (DuckDB {duckdb.__version__})")
    return 1 if wrong else 0


def read_log(db: duckdb.DuckDBPyConnection, log: str) -> None:
    columns = {name: "varchar" for name in ("request_id", "event_time", "customer", "session", "ip", "method", "path", "user_agent", "country", "label")}
    columns |= {"status": "bigint", "bytes": "bigint"}
    db.execute("set preserve_insertion_order = true")
    db.read_json(log, format="newline_delimited", columns=columns).create("raw")
    db.execute(
        """create table log as
           select rowid as n, * replace (event_time::timestamptz::timestamp as event_time),
                  bytes / 1000.0::double + status / 7.0::double as seconds,
                  (select epoch_us(min(event_time::timestamptz::timestamp)) from raw) as first_us
           from raw"""
    )
    back = db.execute("select count(*) from (select event_time <= lag(event_time) over (order by n) as back from log) where back").fetchone()[0]
    if back:
        sys.exit(f"oracle: {back} events of the log are not later than the one before: SQL has no say there")


def not_compared(db: duckdb.DuckDBPyConnection) -> int:
    """Features of the project that the table above does not have, and the other way round."""
    fields = {"n", "request_id", "event_time", "customer", "session", "ip", "method", "path", "status", "bytes", "user_agent", "country", "label", "seconds", "file_row_number"}
    columns = {row[0] for row in db.execute("describe found").fetchall()}
    of_output = {name for name in columns - fields if not name.startswith("_")}
    problems = of_output ^ {name for name, _, _ in FEATURES}
    for name in sorted(problems):
        print(f"oracle: {name} is not in the {'table of oracle.py' if name in of_output else 'output'}")
    return len(problems)


def compare(db: duckdb.DuckDBPyConnection, name: str, key: str, sql: str) -> int:
    has_key = " and ".join(f"{part} is not null" for part in key.split(", "))
    db.execute(f"create or replace table expected as select n, case when {has_key} then {sql} end as value from log")
    of = db.execute("select typeof(value) from expected limit 1").fetchone()[0]
    differs = "e.value is distinct from f.value"
    if of in ("DOUBLE", "FLOAT"):
        # Where a result is next to nothing (the entropy of one value), so is the difference.
        near = "abs(e.value - f.value) <= 1e-9 * greatest(abs(e.value), abs(f.value)) + 1e-12"
        differs = f"not coalesce({near}, e.value is null and f.value is null)"
    rows = db.execute(
        f"""select e.n, log.event_time, e.value, f.value, count(*) over ()
            from expected e join (select n, "{name}" as value from found) f using (n) join log using (n)
            where {differs} order by n limit {SHOWN}"""
    ).fetchall()
    if not rows:
        return 0
    print(f"oracle: {name}: {rows[0][4]} rows differ")
    for n, time, expected, found, _ in rows:
        print(f"    event {n} at {time}: expected {expected}, found {found}")
    return rows[0][4]


if __name__ == "__main__":
    sys.exit(main())
