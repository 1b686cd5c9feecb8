"""Creates the plain exports of tests/plain_exports.rs, with the expected results of torch and the pipeline.

Each model is tiny and trained from scratch for seconds on generated sentences until it finds their entities. Requires the packages
of requirements.txt:

    python tests/plain/make_fixtures.py
"""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    RobertaConfig,
    XLMRobertaConfig,
    pipeline,
)

OUT = Path(__file__).parent / "fixtures"
PEOPLE = ["Ann Lee", "Bob", "Zoë", "Cy Dahl", "Max van Roe", "Ida"]
PLACES = ["Oslo", "New York", "São Paulo", "Rome", "Port Ra", "京都"]
TEMPLATES = [
    "[{p}|PER] went to [{l}|LOC].",
    "In [{l}|LOC], I met [{p}|PER] today!",
    "[{p}|PER] and [{q}|PER] did not see [{l}|LOC] :) 😀",
    "what a day, [{p}|PER]",
    "[{l}|LOC]  is in the news",
    "nothing happened today 😀",
]
# The texts of the tests, with several spaces, ideographs and an emoji.
TEXTS = [
    "[Max van Roe|PER] and [Ida|PER] went to [Port Ra|LOC].",
    "In [São Paulo|LOC], I met [Zoë|PER] today!",
    "[New York|LOC]  is in the news",
    "what a day, [Bob|PER]",
    "nothing happened",
    "[Cy Dahl|PER] and [Ann Lee|PER] did not see [京都|LOC] :) 😀",
]
MARKED = re.compile(r"\[([^|\]]+)\|([A-Z]+)\]")


def parse(marked):
    """The text of a marked sentence, and its entities as (start, end, type) in code points."""
    text, entities, end = "", [], 0
    for found in MARKED.finditer(marked):
        text += marked[end : found.start()]
        entities.append((len(text), len(text) + len(found[1]), found[2]))
        text += found[1]
        end = found.end()
    return text + marked[end:], entities


def sentences():
    chance = random.Random(1)
    made = []
    for template in TEMPLATES:
        for person in PEOPLE:
            for place in PLACES:
                made.append(template.format(p=person, q=chance.choice(PEOPLE), l=place))
    return sorted(set(made))


# The labels of each scheme for a single, first, inner and last word.
SCHEMES = {
    "iob2": ("B-{}", "B-{}", "I-{}", "I-{}"),
    "io": ("I-{}", "I-{}", "I-{}", "I-{}"),
    "plain": ("{}", "{}", "{}", "{}"),
    "iobes": ("S-{}", "B-{}", "I-{}", "E-{}"),
    "bilou": ("U-{}", "B-{}", "I-{}", "L-{}"),
}


def label_names(scheme):
    names = ["O"]
    for kind in ["PER", "LOC"]:
        names += [name for name in dict.fromkeys(form.format(kind) for form in SCHEMES[scheme])]
    return names


def words_of(encoding, text):
    """The words of a text by the tokenizer's pre-tokens: (first token, start, end), without surrounding white space.

    SentencePiece splits at spaces only, so punctuation around a word is a word by itself if it has its own tokens."""
    pre_tokens = {}
    for token, word in enumerate(encoding.word_ids):
        if word is not None:
            pre_tokens.setdefault(word, []).append(token)
    found = []
    for tokens in pre_tokens.values():
        for part in parts_of(encoding, text, tokens):
            start, end = cover(encoding, text, part)
            if start < end:
                found.append((part[0], start, end))
    return found


def cover(encoding, text, tokens):
    if not tokens:
        return 0, 0
    start, end = encoding.offsets[tokens[0]][0], encoding.offsets[tokens[-1]][1]
    covered = text[start:end]
    return end - len(covered.lstrip()), start + len(covered.rstrip())


def parts_of(encoding, text, tokens):
    if not any(token.startswith("▁") for token in encoding.tokens):
        return [tokens]
    lettered = [at for at, token in enumerate(tokens) if re.search(r"\w", text[slice(*cover(encoding, text, [token]))])]
    if not lettered:
        return [tokens]
    first, last = lettered[0], lettered[-1] + 1
    before = cover(encoding, text, tokens[:first])
    first = first if before[0] < before[1] else 0
    return [part for part in (tokens[:first], tokens[first:last], tokens[last:]) if part]


def word_labels(words, entities, scheme):
    labels = ["O"] * len(words)
    for start, end, kind in entities:
        inside = [at for at, (_, begin, _) in enumerate(words) if start <= begin < end]
        alone, first, inner, last = (form.format(kind) for form in SCHEMES[scheme])
        for at in inside:
            labels[at] = inner
        labels[inside[-1]] = last
        labels[inside[0]] = first if len(inside) > 1 else alone
    return labels


def train(config, tokenizer, scheme):
    torch.manual_seed(7)
    model = AutoModelForTokenClassification.from_config(config, attn_implementation="eager")
    ids_of = {name: id for id, name in config.id2label.items()}
    rows = []
    for marked in sentences():
        text, entities = parse(marked)
        encoding = tokenizer.encode(text)
        words = words_of(encoding, text)
        target = [-100] * len(encoding.ids)
        for (first, _, _), label in zip(words, word_labels(words, entities, scheme)):
            target[first] = ids_of[label]
        rows.append((encoding.ids, target))
    longest = max(len(ids) for ids, _ in rows)
    pad = config.pad_token_id
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    mask = (torch.arange(longest)[None] < torch.tensor([[len(ids)] for ids, _ in rows])).long()
    target = torch.tensor([target + [-100] * (longest - len(target)) for _, target in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    # Label smoothing keeps the logits small, so that half precision represents them accurately.
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    epochs = 60
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, epochs)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(16):
            logits = model(input_ids=ids[batch], attention_mask=mask[batch]).logits
            loss = loss_of(logits.flatten(0, 1), target[batch].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        decay.step()
    return model.eval()


class Named(torch.nn.Module):
    """A model that takes its inputs in a given order and returns only logits."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names
        # torch.onnx.export restores the mode that the module had before, so dropout would be active afterwards.
        self.eval()

    def forward(self, *values):
        return self.model(**dict(zip(self.names, values))).logits


def inputs_of(ids, inputs):
    values = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return tuple(values[name].to(kind) for name, kind in inputs)


def export(model, path, inputs, sample, output="logits", axes=("batch", "length")):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name, _ in inputs]
    dynamic = {name: {0: axes[0], 1: axes[1]} for name in [*names, output]}
    # Two sequences of seven tokens, so that no dimension equals another.
    ids = torch.tensor([sample[:7], sample[:7]])
    torch.onnx.export(
        Named(model, names),
        inputs_of(ids, inputs),
        str(path),
        input_names=names,
        output_names=[output],
        dynamic_axes=dynamic,
        opset_version=17,
        dynamo=False,
    )
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, path)


def expectations(folder, tokenizer, scheme, names, run):
    """Writes expected.json with the results of `run`, which maps ids to logits, for every text. It must find all entities."""
    cases = []
    for marked in TEXTS:
        text, entities = parse(marked)
        encoding = tokenizer.encode(text)
        logits = run(torch.tensor([encoding.ids]))[0]
        words = words_of(encoding, text)
        found = [names[int(logits[first].argmax())] for first, _, _ in words]
        assert found == word_labels(words, entities, scheme), (folder.name, text, found)
        check_labels(found, words, entities, scheme)
        cases.append(
            {
                "text": text,
                "ids": encoding.ids,
                "logits": [[round(float(x), 6) for x in row] for row in logits],
                "words": [{"text": text[start:end], "label": label} for (_, start, end), label in zip(words, found)],
                "entities": [{"type": kind, "start": start, "end": end} for start, end, kind in entities],
            }
        )
    (folder / "expected.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")


def check_labels(labels, words, entities, scheme):
    """Checks that seqeval finds the same entities in the labels, in the schemes that it supports."""
    if scheme in ("io", "plain"):
        return
    converted = [label.replace("L-", "E-").replace("U-", "S-") for label in labels]
    read = [(words[first][1], words[last][2], kind) for kind, first, last in get_entities(converted)]
    assert read == entities, (labels, read, entities)


def check_pipeline(folder, model, tokenizer):
    """Checks that the transformers pipeline finds the entities of expected.json, in the schemes that it supports."""
    tagger = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first")
    for case in json.loads((folder / "expected.json").read_text()):
        found = [
            {"type": e["entity_group"], "start": e["start"], "end": e["end"]} for e in tagger(case["text"])
        ]
        assert found == case["entities"], (folder.name, case["text"], found)


def start(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def size(model_type, tokenizer, scheme):
    names = label_names(scheme)
    return dict(
        vocab_size=tokenizer.get_vocab_size(),
        id2label=dict(enumerate(names)),
        label2id={name: id for id, name in enumerate(names)},
    )


SMALL = dict(
    hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=40
)


def wordpiece(lowercase):
    """A BERT tokenizer that splits words of more than four letters, so that tests depend on first subwords."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    pieces = dict.fromkeys(specials)
    for marked in sentences():
        text = normalizer.normalize_str(parse(marked)[0])
        for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text):
            pieces[word[:3]] = None
            if word[3:]:
                pieces["##" + word[3:]] = None
    vocab = {piece: id for id, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return tokenizer, list(pieces)


ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        show_progress=False,
        special_tokens=ROBERTA_SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([parse(marked)[0] for marked in sentences()], trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def sentencepiece():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=130, show_progress=False, special_tokens=ROBERTA_SPECIALS, unk_token="<unk>"
    )
    tokenizer.train_from_iterator([parse(marked)[0] for marked in sentences()], trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def torch_run(model, inputs):
    names = [name for name, _ in inputs]

    def run(ids):
        with torch.no_grad():
            return Named(model, names)(*inputs_of(ids, inputs)).float().numpy()

    return run


def sample_of(tokenizer):
    return tokenizer.encode(parse(TEXTS[0])[0]).ids


def save_config(folder, model, **changes):
    config = model.config.to_dict()
    config.pop("_name_or_path", None)
    config.update(changes)
    # The keys of the map are not in the order of the ids.
    if config.get("id2label"):
        config["id2label"] = {str(id): config["id2label"][id] for id in sorted(config["id2label"], reverse=True)}
    write_json(folder / "config.json", config)


def bert(name, scheme, lowercase, inputs, *, half=False, **how):
    folder = start(name)
    tokenizer, pieces = wordpiece(lowercase)
    model = train(BertConfig(**SMALL, **size("bert", tokenizer, scheme), pad_token_id=0), tokenizer, scheme)
    if half:
        model = model.half()
    save_config(folder, model)
    export(model, folder / "model.onnx", inputs, sample_of(tokenizer), **how)
    expectations(folder, tokenizer, scheme, label_names(scheme), torch_run(model, inputs))
    return folder, model, tokenizer, pieces


I64, I32 = torch.int64, torch.int32
IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"


def bert_iob2():
    """Three int64 inputs, uncased, `tokenizer.json` as transformers writes it."""
    inputs = [(IDS, I64), (TYPES, I64), (MASK, I64)]
    folder, model, tokenizer, pieces = bert("bert-iob2", "iob2", True, inputs)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32, "pad_token": "[PAD]"},
    )
    check_pipeline(folder, model, AutoTokenizer.from_pretrained(folder))


def bert_bilou():
    """Two int32 inputs, the mask first, odd names, cased, `vocab.txt` alone, labels by `label2id` alone."""
    inputs = [(MASK, I32), (IDS, I32)]
    folder, model, _, pieces = bert("bert-bilou", "bilou", False, inputs, output="output_0", axes=("N", "T"))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    save_config(folder, model, id2label=None)


def bert_fp16():
    """Half-precision weights and logits, int64 and int32 inputs side by side, IO labels, cased by `tokenizer_config.json` only."""
    inputs = [(IDS, I64), (MASK, I32), (TYPES, I64)]
    folder, model, tokenizer, _ = bert("bert-fp16", "io", False, inputs, half=True)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    check_pipeline(folder, model.float(), AutoTokenizer.from_pretrained(folder))


def distilbert():
    """Optimum's layout: `onnx/model.onnx` and a dynamically quantized one, bare types, truncation and padding in `tokenizer.json`."""
    folder = start("distilbert")
    scheme, inputs = "plain", [(IDS, I64), (MASK, I64)]
    tokenizer, _ = wordpiece(True)
    config = DistilBertConfig(
        dim=24, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=40, pad_token_id=0,
        **size("distilbert", tokenizer, scheme),
    )
    model = train(config, tokenizer, scheme)
    save_config(folder, model)
    graph = folder / "onnx" / "model.onnx"
    export(model, graph, inputs, sample_of(tokenizer))
    expectations(folder, tokenizer, scheme, label_names(scheme), torch_run(model, inputs))
    quantized = folder / "onnx" / "model_quantized.onnx"
    quantize_dynamic(graph, quantized, weight_type=QuantType.QInt8, per_channel=True)
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=16, pad_token="[PAD]", pad_id=0)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})


def roberta():
    """Byte-level BPE, padding id 1, positions that start after it, weights in `model.onnx_data`."""
    folder = start("roberta")
    scheme, inputs = "iob2", [(IDS, I64), (MASK, I64)]
    tokenizer = byte_level()
    config = RobertaConfig(
        **{**SMALL, "max_position_embeddings": 42}, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        **size("roberta", tokenizer, scheme),
    )
    model = train(config, tokenizer, scheme)
    save_config(folder, model)
    graph = folder / "model.onnx"
    export(model, graph, inputs, sample_of(tokenizer))
    expectations(folder, tokenizer, scheme, label_names(scheme), torch_run(model, inputs))
    inline = onnx.load(graph)
    graph.unlink()
    onnx.save_model(
        inline, graph, save_as_external_data=True, location="model.onnx_data", size_threshold=64
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, "pad_token": "<pad>"},
    )
    # No check_pipeline: without the prefix `##`, the pipeline appends tokens without a space before them to a word: `Port Ra.`
    loaded = AutoTokenizer.from_pretrained(folder)
    assert all(loaded(parse(text)[0])["input_ids"] == tokenizer.encode(parse(text)[0]).ids for text in TEXTS)


def xlm_roberta():
    """SentencePiece Unigram, IOBES labels, no padding id in `config.json`."""
    folder = start("xlm-roberta")
    scheme, inputs = "iobes", [(IDS, I64), (MASK, I64)]
    tokenizer = sentencepiece()
    config = XLMRobertaConfig(
        **{**SMALL, "max_position_embeddings": 42}, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        **size("xlm-roberta", tokenizer, scheme),
    )
    model = train(config, tokenizer, scheme)
    save_config(folder, model, pad_token_id=None)
    export(model, folder / "model.onnx", inputs, sample_of(tokenizer))
    expectations(folder, tokenizer, scheme, label_names(scheme), torch_run(model, inputs))
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": {"content": "<pad>", "lstrip": False}},
    )


def graphs():
    """Graphs with a single table lookup, each invalid or unusual in one way."""
    folder = start("graphs")
    table = np.zeros((16, 3), dtype=np.float32)
    table[:, 0], table[7], table[8] = 1, [0, 5, 0], [0, 0, 5]
    ids, mask = ("input_ids", TensorProto.INT64, ["batch", "length"]), (
        "attention_mask", TensorProto.INT64, ["batch", "length"],
    )
    logits = ("logits", TensorProto.FLOAT, ["batch", "length", 3])

    def save(name, inputs, outputs, nodes=None, rows=16):
        nodes = nodes or [helper.make_node("Gather", ["table", "input_ids"], ["logits"])]
        graph = helper.make_graph(
            nodes,
            name,
            [value if isinstance(value, onnx.ValueInfoProto) else helper.make_tensor_value_info(*value) for value in inputs],
            [value if isinstance(value, onnx.ValueInfoProto) else helper.make_tensor_value_info(*value) for value in outputs],
            [onnx.numpy_helper.from_array(table[:rows], "table")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")

    gather = helper.make_node("Gather", ["table", "input_ids"], ["logits"])

    def also(op, output, **attributes):
        return [gather, helper.make_node(op, ["logits"], [output], **attributes)]

    save("usual", [ids, mask], [logits])
    save("no_mask", [ids], [logits])
    save("batch_of_one", [(IDS, TensorProto.INT64, [1, "length"]), (MASK, TensorProto.INT64, [1, "length"])], [logits])
    save("batch_of_four", [(IDS, TensorProto.INT64, [4, "length"])], [logits])
    save("fixed_length", [ids, (MASK, TensorProto.INT64, ["batch", 128])], [logits])
    save("position_ids", [ids, mask, ("position_ids", TensorProto.INT64, ["batch", "length"])], [logits])
    save("pixel_values", [("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8])], [logits])
    save("no_ids", [mask], [logits], [helper.make_node("Gather", ["table", "attention_mask"], ["logits"])])
    save("float_ids", [ids, (MASK, TensorProto.FLOAT, ["batch", "length"])], [logits])
    save("flat_ids", [(IDS, TensorProto.INT64, ["length"])], [logits])
    save("few_rows", [ids, mask], [logits], rows=9)
    save("one_row_a_text", [ids, mask], [("mean", TensorProto.FLOAT, ["batch", 3])],
         also("ReduceMean", "mean", axes=[1], keepdims=0))
    save("whole_numbers", [ids, mask], [("best", TensorProto.INT64, ["batch", "length"])], also("ArgMax", "best", axis=-1, keepdims=0))
    save("strings", [ids, mask], [("text", TensorProto.STRING, ["batch", "length", 3])], also("Cast", "text", to=TensorProto.STRING))
    save("sequence", [ids, mask],
         [helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, None)], also("SequenceConstruct", "all"))
    save("two_heads", [ids, mask], [("a", *logits[1:]), ("b", *logits[1:])],
         [helper.make_node("Gather", ["table", "input_ids"], ["a"]), helper.make_node("Neg", ["a"], ["b"])])
    save("two_outputs", [ids, mask], [("hidden", TensorProto.FLOAT, ["batch", "length", 6]), ("scores", *logits[1:])],
         [helper.make_node("Gather", ["table", "input_ids"], ["scores"]),
          helper.make_node("Concat", ["scores", "scores"], ["hidden"], axis=2)])
    save("vocabulary_wide", [ids, mask], [("logits", TensorProto.FLOAT, ["batch", "length", 12])],
         [helper.make_node("Gather", ["table", "input_ids"], ["row"]),
          helper.make_node("Concat", ["row"] * 4, ["logits"], axis=2)])
    save("unknown_width", [ids, mask], [("logits", TensorProto.FLOAT, ["batch", "length", "wide"])],
         [helper.make_node("Gather", ["table", "input_ids"], ["row"]),
          helper.make_node("Concat", ["row"] * 2, ["logits"], axis=2)])
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*specials, "met", "in", "paul", "paris", "a"]) + "\n")
    write_json(
        folder / "config.json",
        {"model_type": "bert", "pad_token_id": 0, "max_position_embeddings": 32, "id2label": {"0": "O", "1": "PER", "2": "LOC"}},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in [bert_iob2, bert_bilou, bert_fp16, distilbert, roberta, xlm_roberta, graphs]:
        make()
        print(make.__name__)
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total} bytes")
