"""What must be true of the operator's template, beyond its being valid. Each rule yields what breaks it."""

import hashlib
import re

from cloudformation import REGION, TENANT_TEMPLATE, as_list, operator_stack, tenant_template, walk
from policies import allows_to_everybody, over_broad_statements, parameter_faults, queue_faults, statements

# Statements that may name more than single resources, and why.
BROAD = {
    ("ConnectorPolicy", "AssumeTenantRoles"): "tenants' accounts and role names are not known beforehand",
    ("OperatorRole", "Read"): "all repositories of the operator's own account and region",
    ("OperatorRole", "Registry"): "these actions know no narrower resource; narrowed by region",
    ("ConsoleRole", "Report"): "the objects below tenants/",
    ("ScannerRole", "Report"): "the objects below tenants/",
    ("RematcherRole", "ReadAdvisories"): "the editions of the database, and what changed in them",
    ("RematcherRole", "ReadDocuments"): "every tenant's reports and findings",
    ("RematcherRole", "WriteFindings"): "every tenant's findings, and nothing else of them",
    ("ScannerRole", "ReadAdvisories"): "the editions of the advisory database",
    ("VerifierRole", "Purge"): "the objects below tenants/, of removed integrations",
    ("AdvisorRole", "Publish"): "the objects below advisories/",
    ("AdvisorRole", "ReadSource"): "the objects of the one bucket that the operator names",
    ("PublisherRole", "Publish"): "the objects below public-templates/",
    ("PublisherRole", "PublishCopies"): "the same in the operator's own regional buckets, which a condition demands",
    ("PublisherRole", "ListCopies"): "the same buckets",
}

# What the emulator switch may take away: nothing else may differ between the local cloud and AWS.
SWITCHED_OFF = {
    ("ConnectorPolicy", "ExternalIdAlways"),
    ("OperatorEventsDeadLetterQueuePolicy", "TlsOnly"),
    ("QueuePolicy", "TlsOnly"),
    ("ReportBucketPolicy", "TlsOnly"),
    ("TemplateBucketPolicy", "TlsOnly"),
}

FUNCTIONS = {
    "ConsoleFunction": "portwarden-console",
    "AdvisorFunction": "portwarden-advisor",
    "RematcherFunction": "portwarden-rematcher",
    "NotifierFunction": "portwarden-notifier",
    "PublisherFunction": "portwarden-publisher",
    "ReceiverFunction": "portwarden-receiver",
    "ReconcilerFunction": "portwarden-reconciler",
    "ScannerFunction": "portwarden-scanner",
    "VerifierFunction": "portwarden-verifier",
}


def parameters_have_patterns(template):
    yield from parameter_faults(template)


def policies_name_what_they_need(template):
    for stack in (operator_stack(template), operator_stack(template, RegionalTemplateBucketPrefix="acme")):
        for resource, statement, fault in over_broad_statements(stack):
            if (resource, statement.get("Sid")) not in BROAD:
                yield f"{resource}: {fault}"


def the_advisor_reaches_no_tenant(template):
    for source in ("", "acme-osv"):
        stack = operator_stack(template, AdvisorySourceBucket=source)
        bucket = stack.arn("ReportBucket")
        allowed = {
            resource
            for statement in statements(stack, "AdvisorRole")
            if any(action.startswith("s3:") for action in as_list(statement["Action"]))
            for resource in as_list(statement["Resource"])
        }
        wanted = {bucket, f"{bucket}/advisories/*"}
        if source:
            wanted |= {"arn:aws:s3:::acme-osv", "arn:aws:s3:::acme-osv/*"}
        if allowed != wanted:
            yield f"AdvisorRole: reaches {sorted(allowed)} with the source {source!r}"
        for statement in statements(stack, "AdvisorRole"):
            if any(action.startswith("dynamodb:") for action in as_list(statement["Action"])) and statement.get(
                "Condition"
            ) != {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["D#advisories"]}}:
                yield "AdvisorRole: reaches more of the table than the advisories' items"


def nobody_is_everybody(template):
    for fault in allows_to_everybody(operator_stack(template)):
        # Judged to the letter below.
        if not fault.startswith("TemplateBucketPolicy: "):
            yield fault


def templates_are_all_that_is_public(template):
    stack = operator_stack(template)
    bucket, arn = stack.properties("TemplateBucket"), stack.arn("TemplateBucket")
    if bucket.get("PublicAccessBlockConfiguration") != {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": False,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": False,
    }:
        yield "TemplateBucket: is public by more or less than its policy"
    if bucket.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
        yield "TemplateBucket: objects can have other owners"
    if not bucket.get("BucketEncryption"):
        yield "TemplateBucket: is not encrypted"
    read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/public-templates/*"}
    clear_text = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    if [{k: v for k, v in s.items() if k != "Sid"} for s in statements(stack, "TemplateBucketPolicy")] != [
        read,
        clear_text,
    ]:
        yield "TemplateBucketPolicy: allows more than reading templates, or clear text"
    other = operator_stack(template, TemplateBucketName="acme-templates")
    if {"TemplateBucket", "TemplateBucketPolicy"} & set(other.resources):
        yield "TemplateBucket: is made beside the one that was named"
    if other.properties("TenantTemplate").get("Bucket") != "acme-templates":
        yield "TenantTemplate: is not published in the bucket that was named"
    for name, resource in (("Publish", "arn:aws:s3:::acme-templates/public-templates/*"), ("List", "arn:aws:s3:::acme-templates")):
        if resource not in [s["Resource"] for s in statements(other, "PublisherRole") if s["Sid"] == name]:
            yield f"PublisherRole: {name} is not for the bucket that was named"


def what_is_published_is_this_template(template):
    stack = operator_stack(template, RegionalTemplateBucketPrefix="acme")
    resource = stack.properties("TenantTemplate")
    digest = hashlib.sha256(TENANT_TEMPLATE.read_bytes()).hexdigest()
    if resource.get("SourceSha256") != digest:
        yield f"TenantTemplate: SourceSha256 must be {digest}; was the version raised?"
    version = tenant_template()["Mappings"]["Portwarden"]["Template"]["Version"]
    if resource.get("Version") != version:
        yield f"TenantTemplate: Version is not {version}"
    if resource.get("ServiceToken") != stack.arn("PublisherFunction"):
        yield "TenantTemplate: is not the publisher's"
    # A repetition by Lambda comes after a minute.
    least = 2 * stack.properties("PublisherFunction")["Timeout"] + 60
    if not least <= int(resource.get("ServiceTimeout", 3600)) <= 300:
        yield f"TenantTemplate: CloudFormation waits {resource.get('ServiceTimeout', 3600)} s"
    if resource.get("ConnectorRoleArn") != stack.arn("ConnectorRole"):
        yield "TenantTemplate: trusts another role than the connector"
    if stack.properties("TenantTemplate").get("RegionalBucketRegions", [])[:1] != ["us-east-1"]:
        yield "TenantTemplate: is not copied to the regions"
    if stack.values["RemoveTemplatesOnDelete"] != "false":
        yield "RemoveTemplatesOnDelete: takes tenants' versions away by default"


def queues_lose_nothing(template):
    stack = operator_stack(template)
    yield from queue_faults(stack)
    for name, function in stack.of_type("AWS::Serverless::Function").items():
        for event in function.get("Events", {}).values():
            source = event["Properties"]
            queue = next(q for q in stack.of_type("AWS::SQS::Queue") if stack.arn(q) == source["Queue"])
            visibility = stack.properties(queue)["VisibilityTimeout"]
            # AWS advises six times the time-out; long scans take the time-out and a margin of a minute or more.
            least = 6 * function["Timeout"] if function["Timeout"] <= 300 else function["Timeout"] + 60
            if visibility < least:
                yield f"{queue}: a message reappears after {visibility} s while {name} may run {function['Timeout']} s"
            if source.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{name}: one failed message would repeat its batch"
            if source.get("BatchSize") != 1:
                yield f"{name}: takes more than one message at a time"
            if not 2 <= source.get("ScalingConfig", {}).get("MaximumConcurrency", 0) <= 1000:
                yield f"{name}: has no limit of concurrency"


def functions_are_alike(template):
    stack = operator_stack(template)
    shared = template["Globals"]["Function"]
    expected = {
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Architectures": [{"Ref": "Architecture"}],
    }
    for key, value in expected.items():
        if shared.get(key) != value:
            yield f"Globals: {key} is {shared.get(key)}"
    if shared.get("LoggingConfig", {}).get("LogFormat") != "JSON":
        yield "Globals: logs are not JSON"
    functions = stack.of_type("AWS::Serverless::Function")
    if set(functions) != set(FUNCTIONS):
        yield f"functions are {sorted(functions)}"
    roles = [function.get("Role") for function in functions.values()]
    if len(set(roles)) != len(roles):
        yield "two functions share a role"
    for name, function in functions.items():
        metadata = template["Resources"][name].get("Metadata", {})
        if metadata.get("BuildMethod") != "rust-cargolambda" or metadata.get("BuildProperties") != {
            "Binary": FUNCTIONS.get(name)
        }:
            yield f"{name}: is not built from its own binary"
        group = template["Resources"][name]["Properties"].get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
        if group not in stack.of_type("AWS::Logs::LogGroup"):
            yield f"{name}: has no log group of its own"
        elif not stack.properties(group).get("RetentionInDays"):
            yield f"{group}: keeps logs for ever"
        else:
            role = template["Resources"][name]["Properties"]["Role"]["Fn::GetAtt"][0]
            written = [
                resource
                for statement in statements(stack, role)
                if any(action.startswith("logs:") for action in as_list(statement["Action"]))
                for resource in as_list(statement["Resource"])
            ]
            if written != [stack.arn(group)]:
                yield f"{role}: writes to {written} instead of the function's own log group"
        if "FunctionUrlConfig" in function:
            yield f"{name}: has a URL beside the API"
        if function.get("Timeout", 901) > 900 or not function.get("MemorySize"):
            yield f"{name}: time-out or memory is not set"


def what_must_outlive_the_stack_does(template):
    for name in ("Table", "ReportBucket", "TemplateBucket", "TemplateBucketPolicy", "ConnectorRole", "WebhookKey"):
        body = template["Resources"][name]
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if body.get(policy) != "Retain":
                yield f"{name}: {policy} is not Retain"
    for name, key in (
        ("Table", "TableName"),
        ("ConnectorRole", "RoleName"),
        ("ReportBucket", "BucketName"),
        ("WebhookKey", "Name"),
    ):
        value = template["Resources"][name]["Properties"].get(key, {})
        refers = ("'Ref'", "${TableName}")
        if not any(isinstance(item, dict) and any(ref in str(item) for ref in refers) for _, item in walk(value)):
            yield f"{name}: its name is no parameter, so no other deployment can adopt it"


def table_is_kept_safe(template):
    table = operator_stack(template).properties("Table")
    wanted = {
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": True,
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"SSEEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    }
    for key, value in wanted.items():
        if table.get(key) != value:
            yield f"Table: {key} is {table.get(key)}"


def bucket_is_private(template):
    stack = operator_stack(template)
    bucket = stack.properties("ReportBucket")
    block = bucket.get("PublicAccessBlockConfiguration", {})
    for key in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"):
        if block.get(key) is not True:
            yield f"ReportBucket: {key} is off"
    if bucket.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
        yield "ReportBucket: objects can have other owners"
    if not bucket.get("BucketEncryption"):
        yield "ReportBucket: is not encrypted"
    if bucket.get("VersioningConfiguration") == {"Status": "Enabled"} and not any(
        "NoncurrentVersionExpiration" in rule for rule in bucket.get("LifecycleConfiguration", {}).get("Rules", [])
    ):
        yield "ReportBucket: what is purged is never gone"
    arn = stack.arn("ReportBucket")
    for statement in statements(stack, "ReportBucketPolicy"):
        clear_text = {"Bool": {"aws:SecureTransport": "false"}}
        everybody = statement["Effect"] == "Deny" and statement["Principal"] == "*"
        if everybody and statement.get("Condition") == clear_text and set(statement["Resource"]) == {arn, f"{arn}/*"}:
            break
    else:
        yield "ReportBucket: accepts clear text"


def api_has_one_way_in(template):
    stack = operator_stack(template)
    routes = [route["RouteKey"] for route in stack.of_type("AWS::ApiGatewayV2::Route").values()]
    if sorted(routes) != ["ANY /", "ANY /v1/{proxy+}", "ANY /{proxy+}", "POST /v1/events/{integration}"]:
        yield f"routes are {routes}"
    targets = {route["RouteKey"]: route["Target"] for route in stack.of_type("AWS::ApiGatewayV2::Route").values()}
    if [key for key, target in targets.items() if "EventsIntegration" in target] != ["POST /v1/events/{integration}"]:
        yield "the receiver takes something else than events"
    for name, integration in stack.of_type("AWS::ApiGatewayV2::Integration").items():
        if integration.get("PayloadFormatVersion") != "2.0":
            yield f"{name}: payload is not 2.0"
        is_receiver = integration.get("IntegrationUri") == stack.arn("ReceiverFunction")
        if is_receiver and not 3500 < integration.get("TimeoutInMillis", 30000) <= 5000:
            yield f"{name}: outlives the 5 s of an API destination, or cuts off the receiver's 3.5 s"
    for name, stage in stack.of_type("AWS::ApiGatewayV2::Stage").items():
        limits = stage.get("DefaultRouteSettings", {})
        if not limits.get("ThrottlingRateLimit") or not limits.get("ThrottlingBurstLimit"):
            yield f"{name}: is not throttled"
        log = stage.get("AccessLogSettings", {})
        if log.get("DestinationArn") != stack.arn("ApiLogGroup"):
            yield f"{name}: access is not logged"
        if re.search(r"header|authoriz|\$context\.path", log.get("Format", ""), re.IGNORECASE):
            yield f"{name}: the access log shows what the sender wrote"
    for name, permission in stack.of_type("AWS::Lambda::Permission").items():
        if not permission.get("SourceArn") or permission.get("SourceAccount") != stack.account:
            yield f"{name}: any caller's API or rule may invoke the function"


def operator_events_are_received(template):
    stack = operator_stack(template)
    rule = stack.properties("OperatorEventsRule")
    repositories = {"prefix": f"arn:aws:ecr:{REGION}:{stack.account}:repository/"}
    scanned = {"source": ["aws.inspector2"], "detail-type": ["Inspector2 Scan"]}
    if rule.get("EventPattern") != {
        "account": [stack.account],
        "$or": [
            {"source": ["aws.ecr"], "detail-type": [{"prefix": "ECR "}]},
            scanned | {"detail": {"repository-name": [repositories]}},
        ],
    }:
        yield f"OperatorEventsRule: pattern is {rule.get('EventPattern')}"
    (target,) = rule["Targets"]
    if target.get("RetryPolicy") != {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}:
        yield "OperatorEventsRule: retry policy is not 24 h and 185"
    dead_letters = stack.arn("OperatorEventsDeadLetterQueue")
    if target.get("DeadLetterConfig") != {"Arn": dead_letters}:
        yield "OperatorEventsRule: what cannot be delivered is dropped"
    failure = stack.properties("ReceiverFunction").get("EventInvokeConfig", {}).get("DestinationConfig", {})
    if failure.get("OnFailure", {}).get("Destination") != dead_letters:
        yield "ReceiverFunction: an event that it fails to handle is dropped"


def people_sign_in_safely(template):
    stack = operator_stack(template)
    pool, client = stack.properties("UserPool"), stack.properties("UserPoolClient")
    if pool.get("AdminCreateUserConfig") != {"AllowAdminCreateUserOnly": True}:
        yield "UserPool: anybody can sign up"
    if client.get("GenerateSecret") or client.get("AllowedOAuthFlows") != ["code"]:
        yield "UserPoolClient: is no public client of the code flow"
    told = stack.properties("ConsoleFunction")["Environment"]["Variables"]
    if client.get("CallbackURLs") != [f"{told['CONSOLE_URL']}/sign-in/callback"]:
        yield f"UserPoolClient: sends people back to {client.get('CallbackURLs')}"
    other = operator_stack(template, OidcIssuer="https://login.example.com", OidcClientId="portwarden")
    if other.of_type("AWS::Cognito::UserPool"):
        yield "UserPool: is made beside the issuer that was named"
    told = other.properties("ConsoleFunction")["Environment"]["Variables"]
    if (told["OIDC_ISSUER"], told["OIDC_CLIENT_ID"]) != ("https://login.example.com", "portwarden"):
        yield "ConsoleFunction: is told of another issuer than was named"


def connector_is_held_short(template):
    stack = operator_stack(template)
    trust = {
        statement["Principal"]["AWS"]: statement.get("Condition")
        for statement in stack.properties("ConnectorRole")["AssumeRolePolicyDocument"]["Statement"]
    }
    wanted = {
        stack.arn("ReconcilerRole"): {"StringLike": {"sts:RoleSessionName": "reconcile-*"}},
        stack.arn("ScannerRole"): {"StringLike": {"sts:RoleSessionName": "scan-*"}},
        stack.arn("VerifierRole"): {"StringLike": {"sts:RoleSessionName": "verify-*"}},
    }
    if trust != wanted:
        yield f"ConnectorRole: trusts {trust}"
    denial = {
        "Sid": "ExternalIdAlways",
        "Effect": "Deny",
        "Action": "sts:AssumeRole",
        "Resource": "*",
        "Condition": {"Null": {"sts:ExternalId": "true"}, "StringNotLike": {"aws:userid": "*:verify-*"}},
    }
    if denial not in statements(stack, "ConnectorPolicy"):
        yield "ConnectorPolicy: does not deny calls without an ExternalId"
    if statements(stack, "CanaryRole"):
        yield "CanaryRole: may do something"
    canary = stack.properties("CanaryRole")["AssumeRolePolicyDocument"]["Statement"]
    if canary != [{"Effect": "Allow", "Principal": {"AWS": stack.arn("ConnectorRole")}, "Action": "sts:AssumeRole"}]:
        yield "CanaryRole: does not trust the connector without a condition"
    operator = stack.properties("OperatorRole")["AssumeRolePolicyDocument"]["Statement"]
    told = stack.properties("ReceiverFunction")["Environment"]["Variables"]["OPERATOR_EXTERNAL_ID"]
    if [statement.get("Condition") for statement in operator] != [{"StringEquals": {"sts:ExternalId": told}}]:
        yield "OperatorRole: does not demand the ExternalId that the receiver is told"
    own = [(s["Action"], s["Resource"]) for s in statements(stack, "OperatorRolePolicy")]
    if own != [("iam:GetRole", stack.arn("OperatorRole"))]:
        yield "OperatorRolePolicy: reads something else than its own trust policy"


def emulator_switch_takes_away_nothing_else(template):
    parameter = template["Parameters"]["InsecureEmulatorEndpoint"]
    if parameter.get("Default") != "":
        yield "InsecureEmulatorEndpoint: is on by default"
    for endpoint in (
        "https://example.com",
        "http://10.0.0.1:4566",
        "http://localhost.example.com:80",
        "http://localhost",
    ):
        if re.search(parameter.get("AllowedPattern", ""), endpoint):
            yield f"InsecureEmulatorEndpoint: accepts {endpoint}"
    endpoint = "http://127.0.0.1:4566"
    on_aws, emulated = operator_stack(template), operator_stack(template, InsecureEmulatorEndpoint=endpoint)
    for name, body in on_aws.resources.items():
        left = {(name, s.get("Sid")): s for s in statements(on_aws, name)}
        kept = {(name, s.get("Sid")): s for s in statements(emulated, name)} if name in emulated.resources else {}
        for key, statement in left.items():
            if kept.get(key) != statement and key not in SWITCHED_OFF:
                yield f"{name}: the emulator switch changes statement {key[1]}"
        if not left and body != emulated.resources.get(name):
            yield f"{name}: differs with the emulator switch"
    if template["Globals"]["Function"]["Environment"]["Variables"] != {
        "INSECURE_EMULATOR_ENDPOINT": {"Ref": "InsecureEmulatorEndpoint"}
    }:
        yield "Globals: functions are not told of the emulator, or of more than that"


# What is measured by whoever should be running: silence is as bad as too much.
AGES = {"AdvisoryAge"}


def alarms_watch_everything(template):
    stack = operator_stack(template)
    topic = "arn:aws:sns:eu-central-1:111122223333:alarms"
    watched = {
        (alarm["Namespace"], alarm["MetricName"], tuple(d["Value"] for d in alarm["Dimensions"]))
        for alarm in operator_stack(template, AlarmTopicArn=topic).of_type("AWS::CloudWatch::Alarm").values()
        if alarm.get("AlarmActions") == [topic]
        and alarm.get("TreatMissingData") == ("breaching" if alarm["MetricName"] in AGES else "notBreaching")
        and alarm.get("ComparisonOperator") == "GreaterThanThreshold"
    }
    wanted = {
        ("Portwarden", "AdvisoryAge", ("advisor",)),
        ("Portwarden", "ProbeRefused", ("verifier",)),
        ("Portwarden", "RequestsFailed", ("console",)),
        ("Portwarden", "ScansFailed", ("scanner", "ours")),
        ("Portwarden", "InventoriesFailed", ("reconciler", "ours")),
        ("Portwarden", "VerificationsFailed", ("verifier",)),
        ("AWS/Lambda", "DestinationDeliveryFailures", (f"{stack.name}-ReceiverFunction",)),
    }
    for rule, properties in stack.of_type("AWS::Events::Rule").items():
        # What a schedule has lost comes again by itself.
        lost = "FailedInvocations" if "ScheduleExpression" in properties else "InvocationsFailedToBeSentToDlq"
        wanted.add(("AWS/Events", lost, (f"{stack.name}-{rule}",)))
    for api in stack.of_type("AWS::ApiGatewayV2::Api"):
        wanted.add(("AWS/ApiGateway", "5xx", (f"{stack.name}-{api}",)))
    for queue, properties in stack.of_type("AWS::SQS::Queue").items():
        metric = (
            "ApproximateAgeOfOldestMessage" if "RedrivePolicy" in properties else "ApproximateNumberOfMessagesVisible"
        )
        wanted.add(("AWS/SQS", metric, (f"{stack.name}-{queue}",)))
    for function in FUNCTIONS:
        for metric in ("Errors", "Throttles"):
            wanted.add(("AWS/Lambda", metric, (f"{stack.name}-{function}",)))
    for namespace, metric, dimensions in sorted(wanted - watched):
        yield f"no alarm on {namespace} {metric} of {', '.join(dimensions)}"


def rounds_are_made(template):
    stack = operator_stack(template)
    rule = stack.properties("RoundsRule")
    # The code counts a day in slots of five minutes.
    if rule.get("ScheduleExpression") != "rate(5 minutes)" or rule.get("State", "ENABLED") != "ENABLED":
        yield "RoundsRule: does not send the verifier round every five minutes"
    targets = [(target.get("Arn"), target.get("Input")) for target in rule.get("Targets", [])]
    if targets != [(stack.arn("VerifierFunction"), '{"do": "round"}')]:
        yield f"RoundsRule: sends {targets}"
    topic = "arn:aws:sns:eu-central-1:111122223333:alarms"
    alarm = operator_stack(template, AlarmTopicArn=topic).of_type("AWS::CloudWatch::Alarm").get("RoundsMissingAlarm", {})
    wanted = ("RoundsMade", "LessThanThreshold", 1, "breaching", [topic])
    settings = ("MetricName", "ComparisonOperator", "Threshold", "TreatMissingData", "AlarmActions")
    if tuple(alarm.get(setting) for setting in settings) != wanted:
        yield "RoundsMissingAlarm: nobody is told when no rounds are made"


RULES = [
    parameters_have_patterns,
    policies_name_what_they_need,
    the_advisor_reaches_no_tenant,
    nobody_is_everybody,
    templates_are_all_that_is_public,
    what_is_published_is_this_template,
    queues_lose_nothing,
    functions_are_alike,
    what_must_outlive_the_stack_does,
    table_is_kept_safe,
    bucket_is_private,
    api_has_one_way_in,
    operator_events_are_received,
    people_sign_in_safely,
    connector_is_held_short,
    emulator_switch_takes_away_nothing_else,
    alarms_watch_everything,
    rounds_are_made,
]
