#!/usr/bin/env python3
"""Checks both CloudFormation templates: one line for each check, and how many passed at the end.

Needs the packages of tests/requirements.txt in the Python that runs it; writes below target/ only. What cannot run here
is named with its reason, and is a failure with STRICT=1. A name on the command line runs the checks that contain it.
"""

import os
import sys
import time
import traceback

sys.dont_write_bytecode = True

import broken  # noqa: E402
import cloudformation  # noqa: E402
import emulator  # noqa: E402
import lint  # noqa: E402
import operator_rules  # noqa: E402
import simulate  # noqa: E402
import tenant_rules  # noqa: E402


class NotRun(Exception):
    """A check cannot run on this machine."""


def checks():
    """Yields the name of each check and what returns its faults, or its faults and how much was compared."""
    yield "cfn-lint, operator's template", lint.operator_faults
    yield "cfn-lint, tenants' template", lint.tenant_faults
    yield "cfn-lint finds a warning", lint.escaped
    yield "sam validate --lint", sam_validate
    for rules, whose, template in (
        (operator_rules.RULES, "operator", cloudformation.operator_template()),
        (tenant_rules.RULES, "tenant", cloudformation.tenant_template()),
    ):
        for rule in rules:
            yield (
                f"{whose}: {rule.__name__.replace('_', ' ')}",
                lambda rule=rule, template=template: list(rule(template)),
            )
    yield "broken operator's templates are caught", lambda: (broken.operator_escaped(), len(broken.OPERATOR))
    yield "broken tenants' templates are caught", lambda: (broken.tenant_escaped(), len(broken.TENANT))
    yield "IAM simulator", simulated
    yield "emulator, both templates deployed and used", emulator.faults


def sam_validate():
    if not lint.sam():
        raise NotRun("SAM is not installed; tests/requirements-strict.txt brings it")
    return lint.sam_faults()


def simulated():
    try:
        return simulate.wrong_verdicts()
    except simulate.Missing as reason:
        raise NotRun(reason) from None


def run(name, check):
    """Runs one check, prints its line, and returns its outcome."""
    started = time.monotonic()
    try:
        result = check()
    except NotRun as reason:
        print(f"not run  {name}: {reason}", flush=True)
        return "not run"
    except Exception:
        result = [traceback.format_exc()]
    faults, compared = result if isinstance(result, tuple) else (result, None)
    count = f", {compared} cases" if compared is not None else ""
    print(f"{'FAILED ' if faults else 'passed '}  {name}{count} ({time.monotonic() - started:.1f} s)", flush=True)
    for fault in faults:
        print("         " + str(fault).replace("\n", "\n         "), flush=True)
    return "failed" if faults else "passed"


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    outcomes = [run(name, check) for name, check in checks() if wanted in name]
    passed, failed, skipped = (outcomes.count(outcome) for outcome in ("passed", "failed", "not run"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    strict = os.environ.get("STRICT") == "1"
    sys.exit(1 if failed or not passed or strict and skipped else 0)


if __name__ == "__main__":
    main()
