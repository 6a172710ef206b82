"""worker.py: what the peers' workers share: texts as ids, and one JSON line out for each line in."""
import json
import sys

from tokenizers import Tokenizer


def open_tokenizer(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_ids(folder, path):
    texts = [line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [encoding.ids for encoding in open_tokenizer(folder).encode_batch(texts)]


def serve(make):
    """make() returns the function that answers. The first line that is written says that it is there."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    answer = make()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
