"""Runs the public linters over both templates, warnings as errors: cfn-lint always, SAM where it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cloudformation import OPERATOR_TEMPLATE, ROOT, STRICT_ENVIRONMENT, tenant_template_text

WORK = ROOT / "target/template"


def _output(command, **environment):
    """Runs a command and returns what it says against the template, or nothing."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return [(result.stdout + result.stderr).strip() or f"exit status {result.returncode}"] if result.returncode else []


def cfn_lint(path):
    """Returns cfn-lint's complaints, information included."""
    program = Path(sys.executable).parent / "cfn-lint"
    return _output([str(program), "--non-zero-exit-code", "informational", "--", str(path)])


def operator_faults():
    """Lints the operator's template, transformed as SAM does."""
    return cfn_lint(OPERATOR_TEMPLATE)


def tenant_faults():
    """Lints the tenants' template as a tenant gets it."""
    WORK.mkdir(parents=True, exist_ok=True)
    rendered = WORK / "ecr-integration.yaml"
    rendered.write_text(tenant_template_text())
    return cfn_lint(rendered)


def escaped():
    """Returns a fault if cfn-lint lets a warning pass: it must not be that it runs and looks at nothing."""
    WORK.mkdir(parents=True, exist_ok=True)
    broken = WORK / "broken.yaml"
    broken.write_text(tenant_template_text() + "\nConditions:\n  Never: !Equals [a, b]\n")
    return [] if cfn_lint(broken) else ["a condition that nothing uses passes"]


def sam():
    """Returns the path of SAM's command line, or nothing."""
    installed = STRICT_ENVIRONMENT / "bin/sam"
    return str(installed) if installed.exists() else shutil.which("sam")


def sam_faults():
    """Returns what `sam validate --lint` says against the operator's template."""
    WORK.mkdir(parents=True, exist_ok=True)
    return _output(
        [sam(), "validate", "--lint", "--template", str(OPERATOR_TEMPLATE)],
        AWS_DEFAULT_REGION="eu-central-1",
        SAM_CLI_TELEMETRY="0",
        __SAM_CLI_APP_DIR=str(WORK / "sam"),
    )
