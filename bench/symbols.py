"""Counts the entities without a letter or digit that a model finds in files of text, such as `symbols.txt` beside this program."""

import argparse
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def entities(arguments, path):
    """The entities that the model finds in a file."""
    command = [arguments.binaries / "nerve-trainer", "tag", f"--{arguments.kind}", arguments.model, "--output", "ndjson", path]
    if arguments.unconstrained:
        command.append("--unconstrained")
    tagged = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [entity for line in tagged.stdout.splitlines() for entity in json.loads(line)["entities"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path, help="a bundle, or a checkpoint with --kind checkpoint")
    parser.add_argument("files", type=pathlib.Path, nargs="*", default=[HERE / "symbols.txt"])
    parser.add_argument("--kind", choices=["bundle", "checkpoint"], default="bundle")
    parser.add_argument("--binaries", type=pathlib.Path, default=HERE.parent / "target/release")
    parser.add_argument("--unconstrained", action="store_true", help="take each word's most probable label")
    parser.add_argument("--most", type=int, metavar="N", help="exit with 1 if a file has more than N such entities")
    parser.add_argument("--show", action="store_true", help="print the entities, too")
    arguments = parser.parse_args()
    exceeded = False
    for path in arguments.files:
        found = entities(arguments, path)
        symbols = [entity for entity in found if not any(map(str.isalnum, entity["text"]))]
        print(f"{path.name}: {len(symbols)} of {len(found)} entities have no letter or digit")
        if arguments.show:
            for entity in symbols:
                print(f"  {entity['text']}  {entity['type']}")
        exceeded = exceeded or (arguments.most is not None and len(symbols) > arguments.most)
    raise SystemExit(1 if exceeded else 0)


if __name__ == "__main__":
    main()
