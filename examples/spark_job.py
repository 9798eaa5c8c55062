"""Label a Parquet file with Spark; examples/spark.md tells how to run it."""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from druppel.spark import label


def main() -> None:
    """Read, label, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="Parquet file or folder, on any storage that Spark reads")
    parser.add_argument("target", help="Parquet folder to write; must not exist")
    parser.add_argument("--text", required=True, help="column with the feedback")
    parser.add_argument("--question", help="column with the question")
    parser.add_argument("--score", help="column with the customer's grade")
    parser.add_argument("--score-scale", type=float, default=10, help="the best grade")
    parser.add_argument("--model", help="model folder; by default the one that ships")
    parser.add_argument("--profile", help="nauwkeurig or snel")
    parser.add_argument("--mode", default="gebalanceerd", help="ruim, gebalanceerd or streng")
    parser.add_argument("--partitions", type=int, help="some four for each core of the cluster")
    args = parser.parse_args()

    spark = SparkSession.builder.appName("druppel").getOrCreate()
    answers = spark.read.parquet(args.source)
    if args.partitions:
        # Spark cuts a file by its size, and a few megabytes of text are hours of work: without
        # this, one core would do it all.
        answers = answers.repartition(args.partitions)
    labelled = label(
        answers,
        text=args.text,
        question=args.question,
        score=args.score,
        score_scale=args.score_scale,
        model=args.model,
        profile=args.profile,
        mode=args.mode,
    )
    labelled.write.parquet(args.target)
    spark.stop()


if __name__ == "__main__":
    main()
