"""Deploys both templates to the AWS emulator, with IAM enforced, and uses every role that they make.

A stand-in for each function answers with the credentials that the emulator gave it, so each role is used as its
function uses it: nothing in the templates is changed but where the code comes from, and the two types that the emulator's
CloudFormation does not know (AWS::Events::Connection and AWS::Events::ApiDestination).
"""

import contextlib
import copy
import functools
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from cloudformation import (
    CONNECTOR_MARKER,
    EXTERNAL_ID,
    OPERATOR_ACCOUNT,
    OPERATOR_TEMPLATE,
    REGION,
    ROOT,
    TENANT_ACCOUNT,
    recorded_event,
    tenant_template,
    transformed,
)

WORK = ROOT / "target/template"

STAND_IN = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as invocation:
        request = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.load(invocation)
    if "ResponseURL" in event:
        answer = {{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}}
        answer |= {{"Status": "SUCCESS", "PhysicalResourceId": "x", "Data": {{"Url": "u", "VersionUrl": "v"}}}}
        body = json.dumps(answer).encode()
        urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], body, method="PUT")).close()
    answer = json.dumps(dict(os.environ)).encode()
    urllib.request.urlopen(urllib.request.Request(api + request + "/response", answer)).close()
"""


@contextlib.contextmanager
def emulator():
    """Runs the emulator on a free loopback port and yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    state = WORK / "emulator"
    state.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | {
        "AUTH": "true",
        "AWS_ENDPOINT_URL": endpoint,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # That listener does not heed BIND_HOST.
        "IOT_MTLS_ENABLED": "0",
        "MINISTACK_ACCOUNT_ID": OPERATOR_ACCOUNT,
        "MINISTACK_HOST": "localhost",
        "S3_DATA_DIR": str(state / "s3"),
        "STATE_DIR": str(state / "state"),
        "TMPDIR": str(state),
    }
    with (WORK / "emulator.log").open("w") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "ministack")],
            cwd=state,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, endpoint)
        yield endpoint
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_up(process, endpoint):
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the emulator ended with {process.returncode}; see {WORK / 'emulator.log'}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("the emulator did not come up within 30 s")


class Cloud:
    """The emulator's clients, for an account's root or for credentials."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def root(self, account, service):
        return self._client(service, account, "any", None)

    def as_session(self, credentials, service):
        return self._client(service, *credentials)

    def _client(self, service, key, secret, token):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 1}),
        )

    def assume(self, credentials, role, name, **external_id):
        """Opens a role; returns the session's credentials."""
        taken = self.as_session(credentials, "sts").assume_role(RoleArn=role, RoleSessionName=name, **external_id)
        return tuple(taken["Credentials"][key] for key in ("AccessKeyId", "SecretAccessKey", "SessionToken"))

    def deploy(self, account, name, body, capabilities, **parameters):
        """Creates a stack; returns its outputs and the physical ids of its resources."""
        cloudformation = self.root(account, "cloudformation")
        s3 = self.root(account, "s3")
        bucket = f"templates-{account}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=bucket, Key=name, Body=body.encode())
        cloudformation.create_stack(
            StackName=name,
            TemplateURL=f"{self.endpoint}/{bucket}/{name}",
            Capabilities=capabilities,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        return self._deployed(cloudformation, name, "CREATE_COMPLETE")

    def update(self, account, name, capabilities, **parameters):
        """Updates a stack with its own template and some other parameters."""
        cloudformation = self.root(account, "cloudformation")
        known = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Parameters"]
        kept = [
            {"ParameterKey": parameter["ParameterKey"], "UsePreviousValue": True}
            for parameter in known
            if parameter["ParameterKey"] not in parameters
        ]
        changed = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        cloudformation.update_stack(
            StackName=name, UsePreviousTemplate=True, Capabilities=capabilities, Parameters=kept + changed
        )
        return self._deployed(cloudformation, name, "UPDATE_COMPLETE")

    @staticmethod
    def _deployed(cloudformation, name, wanted):
        for _ in range(240):
            stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                break
            time.sleep(0.25)
        if stack["StackStatus"] != wanted:
            reasons = [
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
                for event in cloudformation.describe_stack_events(StackName=name)["StackEvents"]
                if event["ResourceStatus"].endswith("_FAILED")
            ]
            raise RuntimeError(f"{name} is {stack['StackStatus']}: {'; '.join(reasons)}")
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        return (
            {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
            {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
        )

    def delete(self, account, name):
        """Deletes a stack and waits until it is gone."""
        cloudformation = self.root(account, "cloudformation")
        cloudformation.delete_stack(StackName=name)
        for _ in range(240):
            try:
                status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            except ClientError:
                return
            if status in ("DELETE_COMPLETE", "DELETE_FAILED"):
                return
            time.sleep(0.25)


def operator_body(cloud):
    """Returns the operator's template with the stand-in for code."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        writer.writestr(entry, STAND_IN)
    s3 = cloud.root(OPERATOR_ACCOUNT, "s3")
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="code", Key="stand-in.zip", Body=archive.getvalue())
    return OPERATOR_TEMPLATE.read_text().replace("CodeUri: .", "CodeUri: s3://code/stand-in.zip")


def tenant_body(connector_arn):
    """Returns the tenants' template without the two types that the emulator's CloudFormation does not know."""
    template = copy.deepcopy(tenant_template())
    for kind in ("Connection", "ApiDestination"):
        del template["Resources"][kind]
    destination = f"arn:aws:events:{REGION}:{TENANT_ACCOUNT}:api-destination/portwarden/0"
    text = json.dumps(template).replace('{"Fn::GetAtt": ["ApiDestination", "Arn"]}', json.dumps(destination))
    return yaml.safe_dump(json.loads(text.replace(CONNECTOR_MARKER, connector_arn)))


def denied(call, *arguments, **named):
    """Tells whether a call is refused: yes, no, or what else happened."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return True if code.startswith("AccessDenied") else code
    return False


def faults():
    """Returns what went otherwise than it must, and how many answers were compared."""
    with emulator() as endpoint:
        cloud = Cloud(endpoint)
        answers = list(_answers(cloud, endpoint))
    return [f"{name}: {answer}, not {expected}" for name, answer, expected in answers if answer != expected], len(
        answers
    )


def _answers(cloud, endpoint):
    outputs, resources = cloud.deploy(
        OPERATOR_ACCOUNT,
        "portwarden",
        operator_body(cloud),
        # The third is for the transform, which `sam deploy` expands in a change set instead.
        ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Architecture="x86_64",
        InsecureEmulatorEndpoint=endpoint,
    )
    tenant_outputs, tenant_resources = cloud.deploy(
        TENANT_ACCOUNT,
        "tenant",
        tenant_body(outputs["ConnectorRoleArn"]),
        ["CAPABILITY_IAM"],
        Url="https://api.example.com/v1/events/i-0123456789abcdefghjkmnpqrs",
        Username="events",
        Password="a-password-of-24-letters",
        ExternalId=EXTERNAL_ID,
    )
    lambdas = cloud.root(OPERATOR_ACCOUNT, "lambda")
    environments = {
        name: json.load(lambdas.invoke(FunctionName=resources[f"{name}Function"], Payload=b"{}")["Payload"])
        for name in ("Advisor", "Console", "Notifier", "Publisher", "Receiver", "Reconciler", "Rematcher", "Scanner", "Verifier")
    }
    functions = {
        name: tuple(env[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))
        for name, env in environments.items()
    }
    yield from _environments(environments, outputs)
    yield from _chain(cloud, functions, environments, outputs, tenant_outputs)
    yield from _permissions(cloud, functions, environments, outputs)
    yield from _patterns(cloud, resources, tenant_resources)
    yield from _made_password(cloud, functions, outputs)
    yield from _deletion(cloud, outputs)


def _environments(environments, outputs):
    wanted = {
        "Console": {
            "TABLE_NAME",
            "REPORT_BUCKET",
            "VERIFY_QUEUE_URL",
            "NOTIFY_QUEUE_URL",
            "WEBHOOK_KEY_ARN",
            "QUEUES",
            "CONNECTOR_ROLE_ARN",
            "CONSOLE_URL",
            "EVENTS_URL",
            "TEMPLATE_URL",
            "REGIONAL_TEMPLATE_BUCKET_PREFIX",
            "REGIONAL_TEMPLATE_BUCKET_REGIONS",
            "MORE_LAUNCH_REGIONS",
            "OIDC_ISSUER",
            "OIDC_CLIENT_ID",
            "OIDC_AUDIENCE",
        },
        "Advisor": {"TABLE_NAME", "REPORT_BUCKET", "ADVISORY_SOURCE", "ADVISORY_FOLDERS", "REMATCH_QUEUE_URL"},
        "Rematcher": {"TABLE_NAME", "REPORT_BUCKET", "REMATCH_QUEUE_URL", "NOTIFY_QUEUE_URL"},
        "Notifier": {
            "TABLE_NAME",
            "NOTIFY_QUEUE_URL",
            "NOTIFY_DEAD_LETTER_QUEUE_URL",
            "EVENT_BUS_NAME",
            "WEBHOOK_KEY_ARN",
        },
        "Publisher": set(),
        "Receiver": {
            "TABLE_NAME",
            "SCAN_QUEUE_URL",
            "VERIFY_QUEUE_URL",
            "INVENTORY_QUEUE_URL",
            "OPERATOR_ROLE_ARN",
            "OPERATOR_EXTERNAL_ID",
        },
        "Reconciler": {
            "TABLE_NAME",
            "BACKFILL_QUEUE_URL",
            "INVENTORY_QUEUE_URL",
            "VERIFY_QUEUE_URL",
            "EVENT_BUS_NAME",
            "CONNECTOR_ROLE_ARN",
            "MORE_LAUNCH_REGIONS",
        },
        "Scanner": {
            "TABLE_NAME",
            "REPORT_BUCKET",
            "SCAN_QUEUE_URL",
            "VERIFY_QUEUE_URL",
            "NOTIFY_QUEUE_URL",
            "EVENT_BUS_NAME",
            "CONNECTOR_ROLE_ARN",
        },
        "Verifier": {
            "TABLE_NAME",
            "CONNECTOR_ROLE_ARN",
            "CANARY_ROLE_ARN",
            "EVENT_BUS_NAME",
            "REPORT_BUCKET",
            "VERIFY_QUEUE_URL",
            "INVENTORY_QUEUE_URL",
        },
    }
    values = {
        "TABLE_NAME": "TableName",
        "REPORT_BUCKET": "ReportBucketName",
        "SCAN_QUEUE_URL": "ScanQueueUrl",
        "VERIFY_QUEUE_URL": "VerifyQueueUrl",
        "REMATCH_QUEUE_URL": "RematchQueueUrl",
        "NOTIFY_QUEUE_URL": "NotifyQueueUrl",
        "NOTIFY_DEAD_LETTER_QUEUE_URL": "NotifyDeadLetterQueueUrl",
        "WEBHOOK_KEY_ARN": "WebhookKeyArn",
        "BACKFILL_QUEUE_URL": "BackfillQueueUrl",
        "INVENTORY_QUEUE_URL": "InventoryQueueUrl",
        "EVENT_BUS_NAME": "EventBusName",
        "CONNECTOR_ROLE_ARN": "ConnectorRoleArn",
        "CANARY_ROLE_ARN": "CanaryRoleArn",
        "OPERATOR_ROLE_ARN": "OperatorRoleArn",
        "CONSOLE_URL": "ConsoleUrl",
        "EVENTS_URL": "EventsUrl",
        "TEMPLATE_URL": "TemplateUrl",
        "OIDC_ISSUER": "OidcIssuer",
    }
    ours = set().union(*wanted.values())
    for function, names in wanted.items():
        environment = environments[function]
        yield f"{function}'s settings", {name for name in environment if name in ours}, names
        for name in sorted(names & set(values)):
            yield f"{function}'s {name}", environment[name], outputs[values[name]]
    yield "operator's ExternalId", environments["Receiver"]["OPERATOR_EXTERNAL_ID"][:3], "pw-"


def _chain(cloud, functions, environments, outputs, tenant_outputs):
    assume = cloud.assume
    connector, tenant_role = outputs["ConnectorRoleArn"], tenant_outputs["AssumeRoleArn"]
    opens = {("Reconciler", "reconcile-1"), ("Scanner", "scan-1"), ("Verifier", "verify-1")}
    for function in functions:
        for name in ("reconcile-1", "scan-1", "verify-1", "other"):
            refused = denied(assume, functions[function], connector, name)
            yield f"{function} as {name} -> connector refused", refused, (function, name) not in opens
        yield (
            f"{function} -> tenant's role refused",
            denied(assume, functions[function], tenant_role, "scan-1", ExternalId=EXTERNAL_ID),
            True,
        )

    own = environments["Receiver"]
    for function, name in sorted(opens):
        session = assume(functions[function], connector, name)
        for external_id, refused in ((EXTERNAL_ID, False), (EXTERNAL_ID.upper(), True), ("pw-*", True), (None, True)):
            arguments = {} if external_id is None else {"ExternalId": external_id}
            answer = denied(assume, session, tenant_role, name, **arguments)
            yield f"{name} -> tenant's role with {external_id} refused", answer, refused
        yield (
            f"{name} -> operator's role refused",
            denied(assume, session, own["OPERATOR_ROLE_ARN"], name, ExternalId=own["OPERATOR_EXTERNAL_ID"]),
            False,
        )
        yield (
            f"{name} -> operator's role with a tenant's ExternalId refused",
            denied(assume, session, own["OPERATOR_ROLE_ARN"], name, ExternalId=EXTERNAL_ID),
            True,
        )
        yield f"{name} -> canary refused", denied(assume, session, outputs["CanaryRoleArn"], name), False
        yield f"{name} -> itself refused", denied(assume, session, connector, name, ExternalId="pw-x"), True

    session = assume(functions["Scanner"], connector, "scan-1")
    registry = cloud.as_session(assume(session, tenant_role, "scan-1", ExternalId=EXTERNAL_ID), "ecr")
    cloud.root(TENANT_ACCOUNT, "ecr").create_repository(repositoryName="team/app")
    yield (
        "tenant's repositories",
        [repository["repositoryName"] for repository in registry.describe_repositories()["repositories"]],
        ["team/app"],
    )
    yield "listing images refused", denied(registry.list_images, repositoryName="team/app"), False
    yield "describing images refused", denied(registry.describe_images, repositoryName="team/app"), False
    yield "token refused", denied(registry.get_authorization_token), False
    yield "deleting a repository refused", denied(registry.delete_repository, repositoryName="team/app"), True
    yield (
        "pushing an image refused",
        denied(registry.put_image, repositoryName="team/app", imageManifest="{}", imageTag="1"),
        True,
    )


def _made_password(cloud, functions, outputs):
    """A stack that nobody typed a password for makes one, which its role reads; another generation is another one."""
    account = "777788889999"
    tenant_outputs, resources = cloud.deploy(
        account,
        "quick",
        tenant_body(outputs["ConnectorRoleArn"]),
        ["CAPABILITY_IAM"],
        Url="https://api.example.com/v1/events/i-0123456789abcdefghjkmnpqrs",
        ExternalId=EXTERNAL_ID,
        Repositories="team/app,base",
    )
    role = tenant_outputs["AssumeRoleArn"]
    connector = cloud.assume(functions["Verifier"], outputs["ConnectorRoleArn"], "verify-1")
    session = cloud.assume(connector, role, "verify-1", ExternalId=EXTERNAL_ID)

    # The claim says where the secret is.
    events = cloud.root(account, "events")
    (target,) = events.list_targets_by_rule(Rule=resources["HeartbeatRule"])["Targets"]
    envelope = {"id": "1", "time": "2026-11-23T12:00:00Z", "account": account, "region": REGION}
    claim = json.loads(transformed(target["InputTransformer"], envelope))["detail"]
    yield "the heartbeat's role", claim["role-arn"], role
    yield "the heartbeat's repositories", claim["repositories"], "team/app,base"

    secrets = cloud.as_session(session, "secretsmanager")
    other = cloud.root(account, "secretsmanager").create_secret(Name="database", SecretString="x")["ARN"]
    yield "reading another secret refused", denied(secrets.get_secret_value, SecretId=other), True
    made = json.loads(secrets.get_secret_value(SecretId=claim["secret-arn"])["SecretString"])
    yield "the secret's fields", sorted(made), ["generation", "password", "username"]
    yield "the secret's user name", made["username"], "portwarden"
    yield "the secret's password is long", len(made["password"]) >= 43, True
    yield (
        "writing the secret refused",
        denied(secrets.put_secret_value, SecretId=claim["secret-arn"], SecretString="x"),
        True,
    )

    iam = cloud.as_session(session, "iam")
    name = role.split("/")[-1]
    yield "the role reads itself", iam.get_role(RoleName=name)["Role"]["Arn"], role
    yield "reading another role refused", denied(iam.get_role, RoleName=resources["InvokeRole"]), True

    registry, owner = cloud.as_session(session, "ecr"), cloud.root(account, "ecr")
    for repository, refused in (("team/app", False), ("base", False), ("other", True)):
        owner.create_repository(repositoryName=repository)
        yield f"listing images of {repository} refused", denied(registry.list_images, repositoryName=repository), refused
    cloud.update(account, "quick", ["CAPABILITY_IAM"], CredentialGeneration="2")
    rotated = json.loads(secrets.get_secret_value(SecretId=claim["secret-arn"])["SecretString"])
    yield "the new generation", rotated["generation"], 2
    yield "the new password differs", rotated["password"] != made["password"], True
    cloud.delete(account, "quick")
    left = [secret["Name"] for secret in cloud.root(account, "secretsmanager").list_secrets()["SecretList"]]
    yield "secrets afterwards", left, ["database"]


def _permissions(cloud, functions, environments, outputs):
    """Each function does what it must, and what only another does is refused."""
    table, bucket = outputs["TableName"], outputs["ReportBucketName"]
    templates = f"portwarden-templates-{OPERATOR_ACCOUNT}-{REGION}"
    cloud.root(OPERATOR_ACCOUNT, "s3").put_object(Bucket=templates, Key="public-templates/1/x", Body=b"x")
    key = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    bus = [{"Source": "portwarden", "DetailType": "test", "Detail": "{}", "EventBusName": outputs["EventBusName"]}]
    calls = {
        "put item": lambda c: c("dynamodb").put_item(TableName=table, Item=key),
        "update item": lambda c: c("dynamodb").update_item(TableName=table, Key=key),
        "get item": lambda c: c("dynamodb").get_item(TableName=table, Key=key),
        "query": lambda c: c("dynamodb").query(
            TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p"}}
        ),
        "delete item": lambda c: c("dynamodb").delete_item(TableName=table, Key=key),
        "scan table": lambda c: c("dynamodb").scan(TableName=table),
        "send to dead letters": lambda c: c("sqs").send_message(QueueUrl=outputs["ScanDeadLetterQueueUrl"], MessageBody="x"),
        "put report": lambda c: c("s3").put_object(Bucket=bucket, Key="tenants/t/x", Body=b"x"),
        "put template": lambda c: c("s3").put_object(Bucket=templates, Key="public-templates/1/x", Body=b"x"),
        "get template": lambda c: c("s3").get_object(Bucket=templates, Key="public-templates/1/x"),
        "list templates": lambda c: c("s3").list_objects_v2(Bucket=templates, Prefix="public-templates/"),
        "delete template": lambda c: c("s3").delete_object(Bucket=templates, Key="public-templates/1/y"),
        "put beside templates": lambda c: c("s3").put_object(Bucket=templates, Key="x", Body=b"x"),
        "put elsewhere": lambda c: c("s3").put_object(Bucket=bucket, Key="x", Body=b"x"),
        "put findings": lambda c: c("s3").put_object(Bucket=bucket, Key="tenants/t/images/x/1/findings.json", Body=b"x"),
        "put advisories": lambda c: c("s3").put_object(Bucket=bucket, Key="advisories/x", Body=b"x"),
        "delete advisories": lambda c: c("s3").delete_object(Bucket=bucket, Key="advisories/y"),
        "delete report": lambda c: c("s3").delete_object(Bucket=bucket, Key="tenants/t/x"),
        "tell": lambda c: c("events").put_events(Entries=bus),
        "read webhook key": lambda c: c("secretsmanager").get_secret_value(SecretId=outputs["WebhookKeyArn"]),
        "read roles": lambda c: c("iam").list_roles(),
    }
    store = {"update item", "get item", "query"}
    may = {
        # The emulator knows no leading keys; the simulator judges that condition.
        "Advisor": {"update item", "get item", "put advisories", "delete advisories"},
        "Console": store | {"delete item", "read webhook key"},
        "Rematcher": store | {"delete item", "put findings"},
        "Notifier": store | {"tell", "read webhook key"},
        "Publisher": {"put template", "list templates", "delete template"},
        "Receiver": store,
        "Verifier": store | {"delete item", "delete report", "tell"},
        "Reconciler": store | {"delete item", "tell"},
        "Scanner": store | {"delete item", "put report", "put findings", "tell"},
    }
    for function, credentials in functions.items():
        for name, call in calls.items():
            refused = denied(call, functools.partial(cloud.as_session, credentials))
            # Templates are for everybody.
            yield f"{function}: {name} refused", refused, name not in may[function] | {"get template"}
    watched = [queue.split("=") for queue in environments["Console"]["QUEUES"].split()]
    yield "watched queues", [name for name, *_ in watched], ["scan", "backfill", "verify", "rematch", "inventory", "notify"]
    for name, queue, dead in watched:
        sqs = cloud.as_session(functions["Console"], "sqs")
        yield f"Console: depth of {name} refused", denied(sqs.get_queue_attributes, QueueUrl=queue), False
        if dead:
            yield f"Console: depth of dead {name} refused", denied(sqs.get_queue_attributes, QueueUrl=dead), False
            yield f"Console: take dead {name} refused", denied(sqs.receive_message, QueueUrl=dead), False
        yield f"Console: take {name} refused", denied(sqs.receive_message, QueueUrl=queue), True
    for function, queue, refused in (
        ("Console", "ScanQueueUrl", False),
        ("Console", "VerifyQueueUrl", False),
        ("Console", "NotifyQueueUrl", False),
        ("Receiver", "ScanQueueUrl", False),
        ("Receiver", "VerifyQueueUrl", False),
        ("Receiver", "InventoryQueueUrl", False),
        ("Receiver", "BackfillQueueUrl", True),
        ("Reconciler", "BackfillQueueUrl", False),
        ("Reconciler", "InventoryQueueUrl", False),
        ("Reconciler", "ScanQueueUrl", True),
        ("Reconciler", "VerifyQueueUrl", False),
        ("Scanner", "ScanQueueUrl", False),
        ("Scanner", "VerifyQueueUrl", False),
        ("Verifier", "ScanQueueUrl", True),
        ("Advisor", "ScanQueueUrl", True),
        ("Advisor", "RematchQueueUrl", False),
        ("Rematcher", "RematchQueueUrl", False),
        ("Rematcher", "ScanQueueUrl", True),
        ("Rematcher", "NotifyQueueUrl", False),
        ("Scanner", "NotifyQueueUrl", False),
        ("Receiver", "NotifyQueueUrl", True),
        ("Notifier", "NotifyQueueUrl", False),
        ("Notifier", "NotifyDeadLetterQueueUrl", False),
        ("Notifier", "ScanQueueUrl", True),
        ("Scanner", "RematchQueueUrl", True),
        ("Verifier", "InventoryQueueUrl", False),
    ):
        sqs = cloud.as_session(functions[function], "sqs")
        answer = denied(sqs.send_message, QueueUrl=outputs[queue], MessageBody="{}")
        yield f"{function}: send to {queue} refused", answer, refused


def _patterns(cloud, resources, tenant_resources):
    """Every kind of event that ECR sends passes both rules, and nothing else does."""
    kinds = (
        "Image Action",
        "Referrer Action",
        "Replication Action",
        "Pull Through Cache Action",
        "Image Scan",
        "Scan Resource Change",
    )
    for account, rule, scan_rule in (
        (OPERATOR_ACCOUNT, resources["OperatorEventsRule"], resources["OperatorEventsRule"]),
        (TENANT_ACCOUNT, tenant_resources["ImageEventsRule"], tenant_resources["EnhancedScanRule"]),
    ):
        events = cloud.root(account, "events")
        pattern = events.describe_rule(Name=rule)["EventPattern"]

        def passes(**changes):
            event = {
                "id": "1",
                "version": "0",
                "source": "aws.ecr",
                "detail-type": "ECR Image Action",
                "account": account,
                "time": "2026-11-23T12:00:00Z",
                "region": REGION,
                "resources": [],
                "detail": {},
            }
            return events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event | changes))["Result"]

        for kind in kinds:
            yield f"ECR {kind} passes in {account}", passes(**{"detail-type": f"ECR {kind}"}), True
        yield f"an API call passes in {account}", passes(**{"detail-type": "AWS API Call via CloudTrail"}), False
        yield f"another account's event passes in {account}", passes(account="999988887777"), False
        yield f"another source passes in {account}", passes(source="custom.ecr"), False
        pattern = events.describe_rule(Name=scan_rule)["EventPattern"]
        scan = recorded_event("inspector2_scan") | {"account": account, "region": REGION}
        arn = f"arn:aws:ecr:{REGION}:{account}:repository/shop/web"
        scan["detail"]["repository-name"] = arn
        instance = {"scan-status": "INITIAL_SCAN_COMPLETE", "instance-id": "i-0123456789abcdef0"}
        for what, event, expected in (
            ("a scan of Amazon Inspector's", scan, True),
            ("a scan of an instance", scan | {"detail": instance}, False),
            ("a single finding", scan | {"detail-type": "Inspector2 Finding"}, False),
            ("another account's scan", scan | {"account": "999988887777"}, False),
        ):
            answer = events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]
            yield f"{what} passes in {account}", answer, expected
    yield from _tenant_patterns(cloud, tenant_resources)


def _tenant_patterns(cloud, resources):
    """A repository's deletion and the stack's own status pass their rules, and what is like them does not."""
    events = cloud.root(TENANT_ACCOUNT, "events")
    summary = cloud.root(TENANT_ACCOUNT, "cloudformation").describe_stacks(StackName="tenant")["Stacks"][0]
    deletion = {
        "eventSource": "ecr.amazonaws.com",
        "eventName": "DeleteRepository",
        "requestParameters": {"repositoryName": "team/app"},
    }
    status = {"stack-id": summary["StackId"], "status-details": {"status": "UPDATE_COMPLETE"}}
    call, change = "AWS API Call via CloudTrail", "CloudFormation Stack Status Change"
    for rule, source, kind, detail, expected in (
        ("RepositoryDeletionRule", "aws.ecr", call, deletion, True),
        ("RepositoryDeletionRule", "aws.ecr", call, deletion | {"eventName": "CreateRepository"}, False),
        ("RepositoryDeletionRule", "aws.ecr", call, deletion | {"errorCode": "AccessDenied"}, False),
        ("StackStatusRule", "aws.cloudformation", change, status, True),
        ("StackStatusRule", "aws.cloudformation", change, status | {"stack-id": "another"}, False),
    ):
        event = {
            "id": "1",
            "version": "0",
            "source": source,
            "detail-type": kind,
            "account": TENANT_ACCOUNT,
            "time": "2026-11-23T12:00:00Z",
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
        pattern = events.describe_rule(Name=resources[rule])["EventPattern"]
        answer = events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]
        yield f"{rule}: {json.dumps(detail)} passes", answer, expected


def _deletion(cloud, outputs):
    """A tenant's stack leaves nothing behind; the operator's leaves what tenants depend on."""
    cloud.delete(TENANT_ACCOUNT, "tenant")
    yield "tenant's roles afterwards", cloud.root(TENANT_ACCOUNT, "iam").list_roles()["Roles"], []
    yield "tenant's rules afterwards", cloud.root(TENANT_ACCOUNT, "events").list_rules()["Rules"], []
    yield "tenant's queues afterwards", cloud.root(TENANT_ACCOUNT, "sqs").list_queues().get("QueueUrls", []), []
    cloud.delete(OPERATOR_ACCOUNT, "portwarden")
    roles = cloud.root(OPERATOR_ACCOUNT, "iam").list_roles()["Roles"]
    yield "operator's roles afterwards", [role["Arn"] for role in roles], [outputs["ConnectorRoleArn"]]
    tables = cloud.root(OPERATOR_ACCOUNT, "dynamodb").list_tables()["TableNames"]
    yield "operator's tables afterwards", tables, [outputs["TableName"]]
    buckets = {bucket["Name"] for bucket in cloud.root(OPERATOR_ACCOUNT, "s3").list_buckets()["Buckets"]}
    yield "operator's buckets afterwards", outputs["ReportBucketName"] in buckets, True
    yield "templates afterwards", f"portwarden-templates-{OPERATOR_ACCOUNT}-{REGION}" in buckets, True
    connector = outputs["ConnectorRoleArn"].split("/")[-1]
    policies = cloud.root(OPERATOR_ACCOUNT, "iam").list_role_policies(RoleName=connector)["PolicyNames"]
    yield "what the connector role may do afterwards", policies, []


if __name__ == "__main__":
    found, _ = faults()
    sys.exit("\n".join(found))
