"""Tags the texts of a Spark data frame with `nerve-server tag`. Needs ../python/nerve_tag.py; tested with Spark 4.3.

    from nerve_spark import tag
    tagged = tag(frame, ["--model", "dslim/bert-base-NER", "--text-column", "body"])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, StructType

import nerve_tag

# The types of `nerve_tag.ANSWER_FIELDS` in Spark.
ENTITY = StructType().add("type", "string").add("text", "string").add("start", "long").add("end", "long").add("score", "float")


def tag(frame: DataFrame, options: Sequence[str] = (), *, program: str = "nerve-server") -> DataFrame:
    """The rows and columns of a frame, with the columns `entities` and `error`.

    `options` are those of `nerve-server tag`, and `program` is its path on the workers. Each task slot has one process, which uses
    the cores of the slot (`spark.task.cpus`) and answers the slot's tasks one after the other, while Spark reuses the Python
    worker. A process that ends early fails its task with what it wrote to standard error, and Spark runs the task again.
    """
    cores = int(frame.sparkSession.conf.get("spark.task.cpus", "1") or 1)

    def tag_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return nerve_tag.shared_tagger(options, program, cores).tag(batches)

    schema = StructType(list(frame.schema.fields)).add("entities", ArrayType(ENTITY)).add("error", "string")
    return frame.mapInArrow(tag_partition, schema)
