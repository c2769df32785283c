"""Runs a program and writes what it took as JSON.

Rust has no safe way to wait4(2). This process is small and does nothing else: what it has in memory when the program
starts is counted for the program.
"""

import json
import os
import sys
import time

command = sys.argv[1:]
start = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
program = os.posix_spawnp(command[0], command, os.environ, file_actions=quiet)
# Of the program and of all that it has waited for.
_, status, usage = os.wait4(program, 0)
wall = time.monotonic() - start
cost = {
    "wall_ms": wall * 1e3,
    "processor_ms": (usage.ru_utime + usage.ru_stime) * 1e3,
    # In KiB, and in blocks of 512 bytes: getrusage(2).
    "memory_mb": usage.ru_maxrss * 1024 / 1e6,
    "written_mb": usage.ru_oublock * 512 / 1e6,
    "status": os.waitstatus_to_exitcode(status),
}
print(json.dumps(cost))
