"""Runs queries with Spark over Delta tables: `spark_read.py JARS LAKE`, queries on standard input, one a line; of each a line of JSON, its rows sorted."""
import json
import os
import sys

from pyspark.sql import SparkSession

jars, lake = sys.argv[1:]
# The others are Spark's own.
named = [os.path.join(jars, jar) for jar in os.listdir(jars) if jar.startswith(("delta-", "unitycatalog-", "jackson-datatype-jdk8"))]
settings = {
    "spark.jars": ",".join(named),
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
builder = SparkSession.builder.master("local[2]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
for table in os.listdir(lake):
    if os.path.isdir(os.path.join(lake, table, "_delta_log")):
        spark.read.format("delta").load(os.path.join(lake, table)).createOrReplaceTempView(table)
for query in sys.stdin:
    rows = spark.sql(query.replace("LAKE", lake)).selectExpr("to_json(struct(*), map('ignoreNullFields', 'false'))").collect()
    print(json.dumps(sorted(row[0] for row in rows)), flush=True)
spark.stop()
