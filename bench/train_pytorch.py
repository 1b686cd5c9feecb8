"""Fine-tunes a token classifier in PyTorch as the Trainer of `transformers` does. bench/train.py compares it with nerve-trainer.

First subwords carry the label. AdamW with weight decay 0.01, except for biases and LayerNorm weights; learning rate 2e-4 with 10%
linear warm-up and linear decay; gradients clipped at norm 1; the given batches, padded to the longest sentence.
"""

import argparse
import json
import pathlib
import time

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, get_linear_schedule_with_warmup

IGNORED = -100


def sentences(path):
    """For each sentence, the line on which it starts, its words and their tags."""
    words, tags = [], []
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        if line.strip():
            word, tag = line.split("\t") if "\t" in line else line.rsplit(" ", 1)
            words.append(word)
            tags.append(tag.strip())
        elif words:
            yield number - len(words), words, tags
            words, tags = [], []


def first_subwords(encoding):
    """The position of the first subword of each word, by word."""
    first = {}
    for token, word in enumerate(encoding.word_ids()):
        if word is not None and word not in first:
            first[word] = token
    return first


class Corpus:
    def __init__(self, path, tokenizer, label2id, max_length):
        self.words, self.examples, self.first, self.at_line = [], [], [], {}
        for line, words, tags in sentences(path):
            self.at_line[line] = len(self.words)
            encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
            first = first_subwords(encoding)
            labels = [IGNORED] * len(encoding["input_ids"])
            for word, token in first.items():
                labels[token] = label2id[tags[word]]
            self.words.append(words)
            self.first.append(first)
            self.examples.append((encoding["input_ids"], labels))

    def batch(self, indices, pad):
        chosen = [self.examples[index] for index in indices]
        longest = max(len(ids) for ids, _ in chosen)
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in chosen])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in chosen])
        labels = torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in chosen])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def write_predictions(model, corpus, id2label, pad, path):
    model.eval()
    lines = [None] * len(corpus.words)
    order = sorted(range(len(corpus.words)), key=lambda index: len(corpus.examples[index][0]))
    with torch.inference_mode():
        for at in range(0, len(order), 32):
            indices = order[at : at + 32]
            batch = corpus.batch(indices, pad)
            batch.pop("labels")
            best = model(**batch).logits.argmax(-1).tolist()
            for index, row in zip(indices, best):
                first = corpus.first[index]
                words = corpus.words[index]
                tags = [id2label[row[first[word]]] if word in first else "O" for word in range(len(words))]
                lines[index] = "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    model.train()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--batches", type=pathlib.Path, required=True, help="JSON: for each epoch a list of batches; a batch is a list of the lines on which its sentences start")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: autocast")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    epochs = json.loads(arguments.batches.read_text())
    tags = sorted({tag for _, _, of in sentences(arguments.data / "train.conll") for tag in of} | {"O"}, key=lambda t: (t != "O", t))
    tags += sorted({tag for _, _, of in sentences(arguments.data / "dev.conll") for tag in of} - set(tags))
    label2id = {tag: index for index, tag in enumerate(tags)}
    id2label = dict(enumerate(tags))
    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    train = Corpus(arguments.data / "train.conll", tokenizer, label2id, 128)
    dev = Corpus(arguments.data / "dev.conll", tokenizer, label2id, 128)
    model = AutoModelForTokenClassification.from_pretrained(
        arguments.base, num_labels=len(tags), id2label=id2label, label2id=label2id
    )
    model.train()
    exempt = ("bias", "LayerNorm.weight")
    parameters = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in parameters if not n.endswith(exempt)], "weight_decay": 0.01},
            {"params": [p for n, p in parameters if n.endswith(exempt)], "weight_decay": 0.0},
        ],
        lr=2e-4,
    )
    steps = sum(map(len, epochs))
    schedule = get_linear_schedule_with_warmup(optimizer, -(-steps // 10), steps)
    seconds = []
    for epoch, batches in enumerate(epochs, 1):
        began, total = time.monotonic(), 0.0
        for lines in batches:
            indices = [train.at_line[line] for line in lines]
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
                loss = model(**train.batch(indices, tokenizer.pad_token_id)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item()
        seconds.append(time.monotonic() - began)
        print(f"pytorch epoch {epoch}: loss {total / len(batches):.4f}, {seconds[-1]:.1f} s", flush=True)
        write_predictions(model, dev, id2label, tokenizer.pad_token_id, arguments.out / f"dev-{epoch}.conll")
    (arguments.out / "pytorch.json").write_text(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
