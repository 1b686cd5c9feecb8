"""Writes a checkpoint of the width and depth of BERT-base with random weights, for speed alone: 12 layers of 768 dimensions, and the labels
and tokenizer of another checkpoint.

    python bench/wide.py CHECKPOINT OUT
"""

import pathlib
import shutil
import sys

import torch
from transformers import AutoConfig, BertForTokenClassification


def main():
    checkpoint, out = map(pathlib.Path, sys.argv[1:])
    config = AutoConfig.from_pretrained(checkpoint)
    config.update({"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072})
    torch.manual_seed(1)
    BertForTokenClassification(config).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(checkpoint / name, out / name)


if __name__ == "__main__":
    main()
