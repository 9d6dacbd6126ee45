import datetime, os, sys
import deltalake, duckdb

table = deltalake.DeltaTable(sys.argv[1])
rows = table.to_pyarrow_table()
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.register("t", rows)
assert db.sql("select count(*), sum(n), count(distinct n) from t").fetchall()[0] == (500, 500 * 499 // 2, 500)
wrong = db.sql("""
    select count(*) from t where
        (n % 5 = 0) <> (text is null) or text <> 'text é ' || n
        or (n % 7 = 0) <> (bot is null) or bot <> n / 4.0
        or epoch_us(event_time) <> 1795564800000000 + n
        or late <> (n % 2 = 0)
        or (n % 3 = 0) <> (_implausible is null) or _implausible <> ['field ' || n]
        or nothing is not null
        or (n % 10 = 9) <> (day is null) or day <> date '2026-11-25' + (n // 50 % 2)::int
        or country is distinct from (case n // 100 % 4 when 0 then 'DE' when 1 then 'a/b c=%&?#é' when 3 then 'x"''\\:*' end)
""").fetchall()[0][0]
assert wrong == 0, wrong
schema = {f.name: str(f.type) for f in table.schema().fields}
print(schema)
assert "timestamp" in schema["event_time"] and "ntz" not in schema["event_time"]
assert table.metadata().partition_columns == ["day", "country"]

# Partitions and statistics prune.
files = len(table.file_uris())
one = table.file_uris(partition_filters=[("country", "=", "a/b c=%&?#é")])
assert 0 < len(one) < files
data = table.to_pyarrow_dataset()
import pyarrow.dataset as ds
fragments = list(data.get_fragments(filter=(ds.field("n") >= 480)))
assert 0 < len(fragments) < files, (len(fragments), files)
after = ds.field("event_time") > datetime.datetime(2026, 11, 25, 0, 0, 0, 480, tzinfo=datetime.timezone.utc)
assert 0 < len(list(data.get_fragments(filter=after))) < files
assert data.to_table(filter=(ds.field("n") >= 480)).num_rows == 20

history = table.history()
assert [h["operation"] for h in history] == ["WRITE", "WRITE", "CREATE TABLE"], history
assert history[0]["ouzel"]["sequence"] == 2, history[0]
print(f"{files} files, {len(fragments)} after pruning by n; history {[h['operation'] for h in history]}", flush=True)
# Not by taking the interpreter down: threads of its libraries abort it now and then.
os._exit(0)
