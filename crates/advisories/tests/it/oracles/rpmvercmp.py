"""rpm's own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version)."""

import re
import sys

import rpm


def label(text):
    epoch, version, release = re.fullmatch(r"(?:(\d*):)?(.*?)(?:-([^-]*))?", text).groups()
    return epoch or "0", version, release


for line in sys.stdin:
    first, second = (label(text) for text in line.rstrip("\n").split("\t"))
    print("<=>"[rpm.labelCompare(first, second) + 1] if first[1] and second[1] else "!")
