#!/usr/bin/env python3
"""Compares what configuration values mean to us with what they mean to YACS 0.1.8, over listed and random texts.

    python3 tests/parity/config.py build/tests/config_probe [RANDOM_TEXTS] [SEED]

Each text is read as the value of a key in a YAML file and as the value of a KEY VALUE pair; type and value must be equal.
Then keys of five types are offered it. A difference counts as right only where one of the deviations that
docs/configuration.md lists explains it; each is printed with how often it was met.
"""
import collections
import json
import random
import re
import subprocess
import sys

import yaml
from yacs.config import CfgNode, _check_and_coerce_cfg_value_type

TEXTS = """
1 0 -1 +1 007 017 08 0_8 1_000 1__0 1_ 0x1F 0X1F 0x_f 0xg 0b101 0b_ 0o17 0O17 -0x1F +0b1 -017 00 0_0 - 1 --1 -True
1:30 190:20:30
-1:30 1:60 0:30 1:5:9 9223372036854775807 9223372036854775808 -9223372036854775808 99999999999999999999 1.0 1. .5 -.5
+.5 1.5e3
1e-5 1e5 1E+5 1.e5 1.0e5 1.0e+5 1_0.5 1_0e1_0 .5e-3 -1e-5 1e 1e+ e5 .e5 . - + _ 1:30.5 190:20:30.15 .inf -.inf +.Inf
.INF .nan
.NaN inf nan 1e400 1e-400 4.9e-324 0.1 123456789012345678 1.7976931348623157e308 01.5 01e5 1j 1+2j 3-4j 1 + 1
true True TRUE tRue false False yes Yes YES no No NO on off On OFF y n null Null NULL ~ None none NONE nUll ...
a abc a/b.tsv checkpoints/mini-ru a,b a,1 1,2 1,2, (1,2) (1,) () (1) ((1)) [] [1] [1,] [1,2] [1, 2] [a] [a, b] ['a']
['a','b']
("a","b") ("a") ("a" "b") "a" 'a' '' "" '1' "1e-5" 'True' r'a\\n' r"a" u'a' R'\\' b'a' f'a' rb'a' ur'a' '\\n' "\\n"
'\\x41' "\\x41"
"\\u0416" '\\u0416' '\\U0001F600' '\\N{DASH}' '\\0' '\\101' '\\q' "\\q" 'it''s' '''a''' \"\"\"a\"\"\" 'a' "b" 'a'"b"
['a' 'b']
[1e-5] [0.9, 1e-3] [True] [true] [yes, no] [None] [null] [~] [017] [0o17] [1_0] [[1]] [[1],[2]] [(1,2),3] ([1],) {}
{a: b} {'a': 1}
{'a':1} {1: 2} {'a': {'b': 1}} {1,2} {1} set() {a} [1 2] [1,,2] [,] [1 (1 1) 1] {'a' {'a': } {[]: 1} {'a': 1, 'a': 2}
2001-01-01 2001-10-10 2001-12-14t21:59:43.10-05:00 2001-1-1 2001-12-14 21:59:43.10 -5 = << & * &a 1 *a !!str 5 !!int 5
!!float 1 !!bool yes !!python/name:os
! 5 !x 5 | > % @ ` a: b a #b a#b 1 #b 1#b [1#b #a -a - a ? a : a a: -1a 1a 1a2 0x 0b 0o 1if Nonea None.a True1 (None)
(True,) [-1]
[- 1] [+1.5] -1. 1.real 1.0.0 127.0.0.1 Жук 'Жук' ['Жук', 'я'] é 1é Noneé 😀 a\\ \\ "a\\ 'a [a\\] lambda not 1 x=1 x*2
2*3 1/2 os.getcwd() __import__('os')
[1, [2, [3, [4, [5]]]]] ((((((1)))))) [[[[[[]]]]]] 0777 -0 -0.0 +0 0.0 0e0 1e0 1_e5 1e_5 _1 __ 0x__1 0b1_ 0x1_ 0o1_
1_.5 1._5 1.5_ 1_:30
"""
PIECES = ["0", "1", "7", "9", "_", "x", "o", "b", "e", "-", "+", ".", ":", "'", '"', "[", "]", "(", ")", "{", "}", ",", ", ", " ",
          "a", "r", "\\", "\\n", "#", "True", "None", "null", "true", "yes", "1.5", "1e-5", "60", "ж", "u", "inf", "nan", "/"]
KEYS = [False, 1, 1.0, "text", ["list"]]


def listed():
    words = TEXTS.split()
    texts = set(words) | {" ".join(words[i:i + n]) for n in (2, 3) for i in range(len(words) - n)}
    whole = {"", "a b", "['a', 'b']", "[0.9, 1e-3]", "{'a': 1, 'a': 2}", "{a: 1, a: 2}", "{'a': 'b', 'c': None}"}
    return sorted(texts | whole | {line.strip() for line in TEXTS.splitlines()})


def written(draw, depth=0):
    """A random Python value as repr writes it."""
    kind = draw.randrange(9 if depth < 3 else 6)
    if kind >= 6:
        items = [written(draw, depth + 1) for _ in range(draw.randrange(4))]
        blank = draw.choice(["", " ", "  "])
        return {6: "[%s]", 7: "(%s)", 8: "[%s ]"}[kind] % f",{blank}".join(items)
    scalars = [None, draw.random() < 0.5, draw.randint(-10**draw.randrange(1, 25), 10**18),
               draw.gauss(0, 1) * 10.0**draw.randint(-300, 300), draw.choice([0.0, -0.0, 1e5, 1e-5, 1e22]),
               "".join(draw.choices("abжé😀'\"\\\n\t\x7f ", k=draw.randrange(6)))]
    return repr(scalars[kind])


def typed(value):
    """As config_probe shows values."""
    if value is None:
        return None
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)} if -2**63 < value < 2**63 else {"big": True}
    if isinstance(value, float):
        return {"f": value.hex()}
    if isinstance(value, str):
        return {"s": value}
    if isinstance(value, (list, tuple)):
        return {"l": [typed(item) for item in value]}
    if isinstance(value, dict):
        return {"m": [typed(side) for entry in value.items() for side in entry]}
    return {"other": type(value).__name__}


def same(ours, theirs):
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        ((kind, a),), ((_, b),) = ours.items(), theirs.items()
        if kind == "f":
            return float.fromhex(a).hex() == float.fromhex(b).hex()
        if kind in "lm":
            return len(a) == len(b) and all(map(same, a, b))
    return ours == theirs


def literal(text):
    """YACS's second step for any value that is a string."""
    try:
        return typed(CfgNode._decode_cfg_value(text))
    except Exception as error:  # what YACS lets through, such as TypeError for {[]: 1}
        return {"error": type(error).__name__}


def yaml_value(text):
    """(what safe_load gives, that after the second step)."""
    try:
        root = yaml.safe_load(f"K: {text}\n")
    except Exception as error:
        return None, {"error": str(error)}
    if not isinstance(root, dict) or list(root) != ["K"]:
        return None, {"error": "not one key"}
    return root["K"], literal(root["K"]) if isinstance(root["K"], str) else typed(root["K"])


def kinds_in(value):
    """All kinds in a typed value, however deep."""
    if not isinstance(value, dict):
        return {"null"}
    ((kind, inner),) = value.items()
    return {kind}.union(*map(kinds_in, inner)) if kind in "lm" else {kind}


def loaded(text):
    try:
        return yaml.safe_load(text)
    except Exception:
        return None


def list_numbers(value):
    """A list from YAML, its strings that Python reads as numbers being these numbers."""
    if isinstance(value, list):
        return {"l": [list_numbers(item) for item in value]}
    if isinstance(value, dict):
        return {"m": [list_numbers(side) for entry in value.items() for side in entry]}
    bare = isinstance(value, str) and re.fullmatch(r"[-+]?[.\w]+([-+]\w+)?", value)
    decoded = literal(value) if bare else typed(value)
    return decoded if isinstance(decoded, dict) and decoded.keys() & {"i", "f", "big"} else typed(value)


def deviation(place, text, raw, ours, theirs):
    """The documented deviation that makes `ours` right where YACS has `theirs`; None if there is none."""
    stripped = text.strip()
    if kinds_in(theirs) & {"other"} and "date" in json.dumps(theirs):
        return "dates stay strings"
    if place == "yaml":
        if re.search(r"(^|[\s\[{,:])[&*!]", text) and "error" in ours:
            return "anchors, aliases and foreign tags are refused"
        if stripped[:1] in ("'", '"', "|", ">", "!") and ours == typed(raw):
            return "a quoted scalar stays a string"
        if "{" in text and isinstance(ours, dict) and "duplicate key" in ours.get("error", ""):
            return "duplicates are refused"
        unreadable = "'tag:yaml.org,2002:(merge|value)'|with base"
        if raw is None and ours == {"s": text} and re.search(unreadable, theirs["error"]):
            return "<<, = and digits without a digit (0b_) are strings"
        if isinstance(raw, (list, dict)) and same(ours, list_numbers(raw)):
            return "numbers inside a YAML list"
    else:
        if (theirs == {"s": text} or theirs == {"other": "set"}) and stripped[:1] in ("[", "{"):
            value = loaded(text)
            if same(ours, list_numbers(value)) or "error" in (ours or {}) or kinds_in(typed(value)) & {"other"}:
                return "a pair's value may be a YAML list or map, and must be one if it opens a bracket"
        if "m" in (ours or {}) and len(ours["m"]) > len((theirs or {}).get("m", ours["m"])):
            return "duplicates are refused"  # by the key: no key takes such a map
        plain = loaded(text)
        if theirs == {"s": text} and not isinstance(plain, (str, dict, list)) and same(ours, typed(plain)):
            return "a pair's value may be a YAML scalar"
    if ours == {"s": text if place == "pair" else raw} and (kinds_in(theirs) & {"other", "error"} or "\\" in text):
        return "bytes, complex numbers, sets, ..., \\N{}, NUL and the like are no literals"
    return None


def takes(default, value):
    """Whether YACS lets a decoded value replace `default`."""
    try:
        _check_and_coerce_cfg_value_type(value, default, "KEY", "KEY")
        return True
    except ValueError:
        return False


def take_deviation(default, value, taken):
    """The documented deviation in what a key takes, for a pair's value on which both sides agree."""
    if value is None:
        return "null only where the schema says so" if not taken else None
    if taken:
        return "an int where a float is due" if isinstance(default, float) and isinstance(value, int) else None
    items = value if isinstance(value, (list, tuple)) else []
    if value == "" or any(item in (None, "") or isinstance(item, (list, tuple, dict)) for item in items):
        return "empty strings, and nulls or lists in a list, are refused"
    if isinstance(value, (int, float)) and not 0 <= value < (2**63 if isinstance(value, int) else float("inf")):
        return "numbers out of the key's range are refused"
    return None


def main(probe, count=20000, seed=1):
    draw = random.Random(seed)
    soup = ["".join(draw.choices(PIECES, k=draw.randint(1, 7))) for _ in range(count)]
    texts = listed() + soup + [written(draw) for _ in range(count)]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    result = subprocess.run([probe], input=lines, capture_output=True, text=True, check=True)
    met, wrong, equal, offers = collections.Counter(), 0, 0, 0
    for text, line in zip(texts, result.stdout.splitlines(), strict=True):
        ours = json.loads(line)
        raw, in_file = yaml_value(text)
        in_pair = literal(text)
        for place, theirs in (("yaml", in_file), ("pair", in_pair)):
            mine = ours[place]
            both_refuse = all(isinstance(v, dict) and "error" in v for v in (mine, theirs))
            if both_refuse or same(mine, theirs):
                equal += 1
                continue
            reason = deviation(place, text, raw, mine, theirs)
            met[reason] += 1
            if reason is None:
                wrong += 1
                print(f"{place} {text!r}\n  ours {mine}\n  yacs {theirs}")
        if not same(ours["pair"], in_pair) or kinds_in(in_pair) & {"error", "other", "m"}:
            continue
        value = CfgNode._decode_cfg_value(text)
        for default, taken in zip(KEYS, ours["taken"], strict=True):
            offers += 1
            if taken != takes(default, value):
                reason = take_deviation(default, value, taken)
                met[reason] += 1
                if reason is None:
                    wrong += 1
                    print(f"key of {type(default).__name__}, value {text!r}: {'taken' if taken else 'refused'}")
    for reason, times in met.items():
        print(f"  deviation: {reason}: {times}")
    print(f"config: {len(texts)} texts in 2 places, {equal} equal, {offers} offers to keys, {wrong} unexplained differences")
    return wrong != 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
