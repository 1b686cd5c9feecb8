"""Tags the texts of a Ray data set with `nerve-server tag`. Needs ../python/nerve_tag.py and Ray 2.60, with which it is tested, or later.

    from nerve_ray import tag
    tagged = tag(dataset, ["--model", "dslim/bert-base-NER", "--text-column", "body"], slots=16)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from ray.data import ActorPoolStrategy, Dataset

import nerve_tag


class TagActor:
    """Tags tables in a process that lives as long as the actor."""

    def __init__(self, options: Sequence[str], program: str, cores: int) -> None:
        self._tagger = nerve_tag.Tagger(options, program, cores)

    def __call__(self, table: pa.Table) -> pa.Table:
        return self._tagger.tag_table(table)


def tag(
    dataset: Dataset,
    options: Sequence[str] = (),
    *,
    slots: int,
    cores: int = 1,
    program: str = "nerve-server",
    rows_per_task: int = 4096,
    retries: int = 3,
) -> Dataset:
    """The rows and columns of a data set, with the columns `entities` and `error`.

    `options` are those of `nerve-server tag`, and `program` is its path on the nodes. There are `slots` actors, each with one
    process that uses `cores` cores. The cluster needs more cores than these, or reading waits forever. A process that ends early
    fails its task with what it wrote to standard error; Ray runs the task again up to `retries` times.
    """
    # Ray runs a task again after the loss of its actor, and after an exception only if asked to.
    dataset.context.retried_map_errors = [nerve_tag.TagError.__name__]
    dataset.context.max_map_retries = retries
    # Ray's own blocks have up to 128 MiB: hours of tagging, all of which a retry repeats.
    return dataset.repartition(target_num_rows_per_block=rows_per_task).map_batches(
        TagActor,
        fn_constructor_args=(list(options), program, cores),
        batch_format="pyarrow",
        batch_size=None,
        compute=ActorPoolStrategy(size=slots),
        num_cpus=cores,
    )
