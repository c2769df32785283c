"""Runs the emulator until its standard input ends, then ends it and every function that it started.

The parent holds the other end of the pipe, so nothing survives it, however it ends.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent():
    while sys.stdin.buffer.read(1):
        pass
    # The group: functions are children of the emulator and stay in its process group.
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=end_with_parent, daemon=True).start()
sys.argv = ["ministack"]
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
