"""A small Spark job that touches what the real ones use, so that the class archive holds their classes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from marketlake.settings import load_settings
from spark_jobs.lib.session import build_session


def _as_they_are(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def run(folder: str) -> None:
    spark = build_session("class archive", load_settings())
    path = f"{folder}/table"
    price = F.col("id").cast("decimal(28,12)")
    rows = spark.range(1000).select(
        "id", F.lit("BTC/USDT").alias("symbol"), price.alias("price"), F.current_timestamp().alias("known_at")
    )
    rows = rows.mapInArrow(_as_they_are, rows.schema).cache()
    newest = Window.partitionBy("symbol").orderBy(F.desc("id"))
    checked = rows.withColumn("position", F.row_number().over(newest)).withColumn(
        "reasons",
        F.filter(F.array(F.when(~F.expr("price >= 0"), F.lit("negative"))), lambda reason: reason.isNotNull()),
    )
    write = checked.where(F.size("reasons") == 0).drop("reasons").write.format("delta").partitionBy("symbol")
    write.mode("append").option("txnAppId", "class-archive").option("txnVersion", 0).save(path)
    write.mode("append").option("txnAppId", "class-archive").option("txnVersion", 1).save(path)
    known = spark.read.format("delta").load(path)
    joined = rows.join(known.groupBy("id").agg(F.max("price").alias("known")), on="id", how="left")
    joined.groupBy("symbol").agg(F.count_if(F.expr("price > known")), F.sum("price"), F.sha2("symbol", 256)).collect()
    spark.sql(f"describe history delta.`{path}`").collect()
    spark.stop()


if __name__ == "__main__":
    run(sys.argv[1])
