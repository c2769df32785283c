#!/usr/bin/env python3
"""Tries the REST API with what its own document allows, and with what it does not: no answer may be a failure of ours, and
none one that the document does not know.

Needs schemathesis (tests/requirements-strict.txt) and the console on loopback (the example `loopback`), which it starts
itself: `run.py PROGRAM`. What cannot run here is named. SECONDS_EACH= is how long each caller tries.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def schemathesis():
    """Finds the program in either virtual environment, or on the path."""
    for place in (".venv/strict/bin", ".venv/bin"):
        program = ROOT / place / "schemathesis"
        if program.exists():
            return str(program)
    return shutil.which("schemathesis")


def main():
    program = schemathesis()
    if program is None:
        print("not run: the contract of the REST API (schemathesis is not installed: tests/requirements-strict.txt)")
        return 0
    seconds = os.environ.get("SECONDS_EACH", "30")
    console = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    failed = []
    try:
        about = json.loads(console.stdout.readline())
        for caller in ("ada", "rex", "olga"):
            if try_as(program, about, caller, seconds) != 0:
                failed.append(caller)
    finally:
        console.terminate()
        console.wait()
    if failed:
        print(f"the API broke its contract for {', '.join(failed)}")
        return 1
    print("the API keeps its contract")
    return 0


def try_as(program, about, caller, seconds):
    """Lets schemathesis call as one of the example's people, within their own tenant."""
    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory) / "schemathesis.toml"
        config.write_text(f'[parameters]\n"path.tenant" = "{about["tenant"]}"\n')
        return subprocess.call(
            [
                program,
                "--config-file",
                str(config),
                "run",
                f"{about['url']}/v1/openapi.json",
                "--header",
                f"Authorization: Bearer {about['tokens'][caller]}",
                "--checks",
                CHECKS,
                "--phases",
                "examples,coverage,fuzzing",
                "--max-time",
                seconds,
                "--rate-limit",
                "18/s",
                "--warnings",
                "off",
                "--continue-on-failure",
            ],
            cwd=directory,
        )


if __name__ == "__main__":
    sys.exit(main())
