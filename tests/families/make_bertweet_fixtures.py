"""Creates the fixtures of BERTweet's tokenizer, and the tables of its normalization, with the Python class of transformers.

The merges and pieces are learned from the training texts of WNUT-17, whose directory WNUT17_DIR names. Of the corpus, hashes of token
ids are kept. Requires the packages of requirements.txt:

    WNUT17_DIR=DIR python tests/families/make_bertweet_fixtures.py
"""

import hashlib
import html.entities
import json
import os
from collections import Counter
from pathlib import Path

from emoji import UNICODE_EMOJI
from transformers import BertweetTokenizer

FAMILIES = Path(__file__).parent
OUT = FAMILIES / "fixtures/bertweet"
TABLES = FAMILIES.parents[1] / "crates/inference/src/tweet_normalizer"
CORPUS = Path(os.environ["WNUT17_DIR"])
MERGES = 1000
# Pieces that are rarer are not in the vocabulary, as with fastBPE, although merges need them.
MIN_FREQUENCY = 5

# Made up for these tests.
SENTENCES = [
    "Ann Lee went to São Paulo .",
    "@ida_99 lol !!! soooo goooood 😀 ❤️ \ufe0f",
    "RT @bob: what's new in #rome? http://t.co/a1B2 www.example.com/x(y) HTTP",
    "an@@ @@ @@@ the@@ x</w> </w> <s> <unk> <pad>",
    "can't don't we’re … it's 'bout A&amp;E &lt;3 hasn&apos; &#39; &#x27; &#150; & &; &nbsp; &hellip;",
    "12-26-14 7.5 $20 68% 1/2 555-123-4567 (800)5551234 +1-800-555-1234 3pm p.m. U.S. N.J.",
    ":-) :P =D 8) <3 XD ^_^ -> <-- <b> ~59 *purrs* \"... ?! ...... ----- !!!!!!!",
    "ann.lee@mail.example.org a.b@c foo.na@example.com example.com/@x site.co.uk https://x.y/z). (https://x.yz)",
    "ééééééé straße 京都 한국 ไทย مرحبا नमस्ते o'clock well-known rock-n-roll snake_case #a_b-c ## @ @: @@",
    "hahahaha hahahahaha lololol aaaaaaa ththth ininin",
    "😂😂 👩‍👧 🇬🇧 ✌🏽 1️⃣ © ™ ‼ ⁉ \u200d a\u200bb",
    "x İ.com",
]


def corpus(split):
    """The sentences of a file, as lists of words."""
    sentences = [[]]
    for line in (CORPUS / f"{split}.conll").read_text(encoding="utf-8").split("\n"):
        if line.strip():
            sentences[-1].append(line.split("\t")[0])
        elif sentences[-1]:
            sentences.append([])
    return [words for words in sentences if words]


def merged(symbols, left, right):
    result = []
    for symbol in symbols:
        if result and result[-1] == left and symbol == right:
            result[-1] = left + right
        else:
            result.append(symbol)
    return result


def learn(words):
    """Merges with their frequencies, and the symbols of each word with its frequency (Sennrich et al. 2016)."""
    split = [([*word[:-1], word[-1] + "</w>"], count) for word, count in sorted(words.items())]
    merges = []
    for _ in range(MERGES):
        pairs = Counter()
        for symbols, count in split:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        (left, right), frequency = max(pairs.items(), key=lambda item: (item[1], item[0]))
        merges.append((left, right, frequency))
        split = [
            (merged(symbols, left, right) if left in symbols else symbols, count) for symbols, count in split
        ]
    return merges, split


def write_files():
    merges, split = learn(Counter(word for words in corpus("train") for word in words))
    pieces = Counter()
    for symbols, count in split:
        for symbol in symbols[:-1]:
            pieces[symbol + "@@"] += count
        pieces[symbols[-1].removesuffix("</w>")] += count
    kept = sorted(((-count, piece) for piece, count in pieces.items() if count >= MIN_FREQUENCY))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "bpe.codes").write_text("".join(f"{left} {right} {count}\n" for left, right, count in merges))
    (OUT / "vocab.txt").write_text("".join(f"{piece} {-count}\n" for count, piece in kept))


def write_json(path, value):
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main():
    write_files()
    plain, normalizing = (
        BertweetTokenizer(str(OUT / "vocab.txt"), str(OUT / "bpe.codes"), normalization=normalization)
        for normalization in (False, True)
    )
    assert normalizing.demojizer is not None

    def ids(tokenizer, words):
        # A special token in a text is text.
        pieces = [piece for word in words for piece in tokenizer.tokenize(word, split_special_tokens=True)]
        return [tokenizer._convert_token_to_id(piece) for piece in pieces]

    sentences = [
        {"words": words, "ids": ids(plain, words), "normalized": ids(normalizing, words)}
        for words in map(str.split, SENTENCES)
    ]
    write_json(OUT / "sentences.json", sentences)
    expected = []
    for split in ["train", "dev", "test"]:
        entry = {"split": split}
        for name, tokenizer in [("ids", plain), ("normalized", normalizing)]:
            lines = [" ".join(map(str, ids(tokenizer, words))) + "\n" for words in corpus(split)]
            entry[name] = hashlib.sha256("".join(lines).encode()).hexdigest()
            tokens = [token for line in lines for token in line.split()]
            entry[name + "_tokens"] = len(tokens)
            entry[name + "_unknown"] = tokens.count(str(plain.unk_token_id))
        expected.append(entry)
    write_json(OUT / "corpus.json", expected)

    words = dict.fromkeys(word for sentence in SENTENCES for word in sentence.split())
    cases = [[text, normalizing.normalizeTweet(text)] for text in [*words, *SENTENCES]]
    TABLES.mkdir(parents=True, exist_ok=True)
    write_json(TABLES / "expected.json", cases)
    emoji = sorted((text, name[1:-1]) for text, name in UNICODE_EMOJI.items() if len(text) == 1)
    (TABLES / "emoji_names.txt").write_text("".join(f"{text} {name}\n" for text, name in emoji))
    entities = sorted((name, chr(code)) for name, code in html.entities.name2codepoint.items())
    (TABLES / "html_entities.txt").write_text("".join(f"{name} {text}\n" for name, text in entities))


if __name__ == "__main__":
    main()
