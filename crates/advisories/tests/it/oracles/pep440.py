"""Python's own order: two versions a line, separated by a tab; answers <, =, > or ! (not a version)."""

import sys

from packaging.version import InvalidVersion, Version

for line in sys.stdin:
    try:
        first, second = (Version(text) for text in line.rstrip("\n").split("\t"))
        print("<" if first < second else ">" if first > second else "=")
    except InvalidVersion:
        print("!")
