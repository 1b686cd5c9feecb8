"""Reads Parquet, tags a column of texts, and writes Parquet:

spark-submit --py-files nerve_tag.py,nerve_spark.py tag_parquet.py [--program PATH] INPUT OUTPUT [OPTIONS OF nerve-server tag]
"""

import argparse

from pyspark.sql import SparkSession

from nerve_spark import tag


def main() -> None:
    parser = argparse.ArgumentParser(description="Tags a column of a Parquet data set with Spark.", allow_abbrev=False)
    parser.add_argument("--program", default="nerve-server", help="path of nerve-server on the workers [default: %(default)s]")
    parser.add_argument("input", help="path or URL of the Parquet data set")
    parser.add_argument("output", help="path or URL of the data set to write; it must not exist")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of `nerve-server tag`, such as --model and --text-column")
    arguments = parser.parse_args()

    spark = SparkSession.builder.appName("nerve").getOrCreate()
    frame = spark.read.parquet(arguments.input)
    tag(frame, arguments.options, program=arguments.program).write.parquet(arguments.output)
    spark.stop()


if __name__ == "__main__":
    main()
