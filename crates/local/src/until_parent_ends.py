"""Runs a program until it ends or standard input does, then ends it and every process that it started.

The parent holds the other end of the pipe, so nothing survives it, however it ends.
"""

import os
import signal
import subprocess
import sys
import threading


def end_with_program():
    # The code only: whoever reads it looks into the log for the reason.
    os._exit(program.wait() & 0xFF)


program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=end_with_program, daemon=True).start()
while sys.stdin.buffer.read(1):
    pass
# The group: what the program starts stays in its process group.
os.killpg(0, signal.SIGKILL)
