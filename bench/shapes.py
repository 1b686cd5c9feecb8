"""Measures whether a server's resident memory grows with the number of different input shapes.

    python3 bench/shapes.py BUNDLE [--shapes 10000]

Sends one text per request, each with another pair of numbers of words and subwords, in random order. A bundle with
--max-length 512 has more than 10,000 such pairs. Needs tokenizers.
"""

import argparse
import http.client
import json
import pathlib
import random
import sys

from stream import resident_mib
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from served import served  # noqa: E402

PARTS = 10
WORDS = "paris berlin reddit hashtags retweets podcasts tweeters youtubers bloggers".split()


def texts(bundle, count):
    """At most `count` texts of one window each. No two have the same numbers of words and of subwords."""
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    pieces = {word: len(tokenizer.encode(word, add_special_tokens=False).ids) for word in WORDS}
    whole, split = (next(word for word in WORDS if pieces[word] == wanted) for wanted in (1, 2))
    room = json.loads((bundle / "manifest.json").read_text())["max_length"] - 2
    pairs = [(words, more) for words in range(1, room + 1) for more in range(min(words, room - words) + 1)]
    for words, more in random.Random(1).sample(pairs, min(count, len(pairs))):
        yield " ".join([split] * more + [whole] * (words - more))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--shapes", type=int, default=10_000)
    options = parser.parse_args()
    made = list(texts(options.bundle, options.shapes))
    with served(model=options.bundle) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        print(f"ready: {resident_mib(server):.1f} MiB", flush=True)
        for number, text in enumerate(made, 1):
            connection.request("POST", "/ner", json.dumps({"text": text}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"a text of {len(text.split())} words was answered with status {answer.status}")
            if number % (len(made) // PARTS) == 0:
                print(f"{number} shapes: {resident_mib(server):.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
