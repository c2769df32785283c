"""What must be true of the tenants' template. Each rule yields what breaks it; T1 to T6 are the template's threats."""

import json
import re

import yaml

from cloudformation import (
    CONNECTOR_ARN,
    CONNECTOR_MARKER,
    EXTERNAL_ID,
    REGION,
    TENANT_TEMPLATE,
    as_list,
    recorded_event,
    operator_stack,
    operator_template,
    tenant_stack,
    transformed,
    walk,
)
from policies import allows_to_everybody, over_broad_statements, parameter_faults, queue_faults, statements

# Statements that may name more than single resources, and why.
BROAD = {
    ("RolePolicy", "Read"): "all repositories of the account and region, or named ones of any that the condition names",
    ("RolePolicy", "Registry"): "these actions know no narrower resource; narrowed by region",
    ("RolePolicy", "NamesInAnyRegion"): "names of repositories, so that no region is overlooked",
}

# What a launch link fills in, and what a tenant may change.
FILLED_IN = {"TenantName", "Url", "ExternalId"}
OPTIONAL = {
    "Username",
    "Password",
    "CredentialGeneration",
    "Repositories",
    "HeartbeatMinutes",
    "AlarmTopicArn",
}

READ_ACTIONS = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:DescribeImages",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeRegistry",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:ListImages",
    "ecr:ListTagsForResource",
}

# These know no narrower resource than the registry.
WHOLE_REGISTRY = {"ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:GetAuthorizationToken"}


def parameters_have_patterns(template):
    yield from parameter_faults(template)
    typed = {name for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    if typed != {"Url", "ExternalId"}:
        yield f"a link that fills in Url and ExternalId leaves {sorted(typed)} to be typed"
    if set(template["Parameters"]) != FILLED_IN | OPTIONAL:
        yield f"parameters are {sorted(template['Parameters'])}"
    wrong = {
        "TenantName": ["line\nbreak", "\x1b[2J"],
        "Url": [
            "http://api.example.com/v1/events/" + "i-" + 26 * "0",
            "https://u:p@api.example.com/v1/events/i-" + 26 * "0",
            "https://api.example.com/",
            "https://api.example.com/v1/events/../i-" + 26 * "0",
        ],
        "Username": ["", "with:colon", "with space", "with\ttab", 'with"quote', "with\\backslash"],
        "Password": ["short", "control\x07character of 24 or more", "line\nbreak in 24 characters or more"],
        "Repositories": ["*", "team/*", "UPPER", "a, b", "a//b", "a$b", "a,", ",a"],
        "AlarmTopicArn": ["topic", "arn:aws:sqs:eu-central-1:111122223333:queue"],
        "ExternalId": ["", "*", "pw-*", "mine", EXTERNAL_ID + "x", EXTERNAL_ID.upper()],
    }
    for name, texts in wrong.items():
        pattern = template["Parameters"].get(name, {}).get("AllowedPattern", "")
        for text in texts:
            if re.fullmatch(pattern, text):
                yield f"{name}: accepts {text!r}"
    right = {
        "TenantName": ["", "Shop & Söhne"],
        "ExternalId": [EXTERNAL_ID],
        "Username": ["portwarden", "a.b-c_d@e!"],
        "Password": ["", "a password, 24 long: ok!"],
        "Repositories": ["", "a", "team/app-1.x/deep_er,base"],
    }
    for name, texts in right.items():
        for text in texts:
            if not re.fullmatch(template["Parameters"].get(name, {}).get("AllowedPattern", ""), text):
                yield f"{name}: refuses {text!r}"


def t1_no_fixed_names(template):
    for resource, body in template["Resources"].items():
        for key in body.get("Properties", {}):
            # An inline policy's name lives inside its role, and a metric's is AWS's.
            if key == "Name" or key.endswith("Name") and key not in ("PolicyName", "MetricName"):
                yield f"{resource}: {key} is fixed, so a second region's stack would collide"


def t2_capability_iam_is_enough(template):
    for key in ("Transform", "Hooks"):
        if key in template:
            yield f"{key} needs another capability"
    for resource, body in template["Resources"].items():
        if not body["Type"].startswith("AWS::") or body["Type"].startswith(
            ("AWS::CloudFormation::", "AWS::Serverless::")
        ):
            yield f"{resource}: {body['Type']} needs more than CAPABILITY_IAM, or code of ours"
        for key in ("RoleName", "ManagedPolicyName", "UserName", "GroupName", "InstanceProfileName"):
            if key in body.get("Properties", {}):
                yield f"{resource}: {key} needs CAPABILITY_NAMED_IAM"
    if any("Fn::Transform" in value for _, value in walk(template) if isinstance(value, dict)):
        yield "Fn::Transform needs CAPABILITY_AUTO_EXPAND"


def t3_password_goes_nowhere_else(template):
    password = template["Parameters"]["Password"]
    if password.get("NoEcho") is not True:
        yield "Password: is shown"
    if password.get("Default") != "":
        yield f"Password: its default is {password.get('Default')!r}, so that no password is made"
    home = ("Resources", "Connection", "Properties", "AuthParameters", "BasicAuthParameters", "Password")
    homes = {("Conditions", "MakesPassword", "Fn::Equals", 0), (*home, "Fn::If", 2)}
    for path, value in walk({key: template[key] for key in template if key != "Parameters"}):
        if (value == {"Ref": "Password"} or isinstance(value, str) and "${Password}" in value) and path not in homes:
            yield f"Password: is used in {'.'.join(map(str, path))}"
        if isinstance(value, str) and "{{resolve:" in value and path != (*home, "Fn::If", 1, "Fn::Sub"):
            yield f"Secret: is read in {'.'.join(map(str, path))}"
    chosen, made = tenant_stack(template), tenant_stack(template, Password="")
    for stack, expected in (
        (chosen, chosen.values["Password"]),
        (made, "{{resolve:secretsmanager:%s:SecretString:password}}" % made.attribute(["Secret", "Id"])),
    ):
        sent = stack.properties("Connection")["AuthParameters"]["BasicAuthParameters"]
        if sent != {"Username": "events", "Password": expected}:
            yield f"Connection: signs in with {sent}"
    if "Secret" in chosen.resources:
        yield "Secret: is made although the tenant chose a password"


def a_generation_changes_secret_and_connection(template):
    first, second = (tenant_stack(template, Password="", CredentialGeneration=number) for number in (1, 2))
    made = [stack.properties("Secret").get("GenerateSecretString", {}) for stack in (first, second)]
    for number, secret in enumerate(made, 1):
        expected = {"username": "events", "generation": number}
        if json.loads(secret.get("SecretStringTemplate", "{}")) != expected:
            yield f"Secret: generation {number} holds {secret.get('SecretStringTemplate')}"
        if secret.get("GenerateStringKey") != "password" or secret.get("ExcludePunctuation") is not True:
            yield "Secret: has no password of letters and digits"
        # log2(62) is 5.95 bits for each.
        if secret.get("PasswordLength", 32) < 43:
            yield "Secret: its password has fewer than 256 bits"
    for given in ({"Password": ""}, {}):
        stacks = [tenant_stack(template, CredentialGeneration=number, **given) for number in (1, 2)]
        changed = {
            name for name, body in stacks[0].resources.items() if body != stacks[1].resources.get(name)
        } - {"StackStatusRule", "HeartbeatRule"}
        if changed != {"Connection"} | ({"Secret"} if given else set()):
            yield f"another generation changes {sorted(changed)}"


def t4_output_is_the_role(template):
    output = template["Outputs"].get("AssumeRoleArn", {}).get("Value")
    if output != {"Fn::GetAtt": ["Role", "Arn"]}:
        yield f"AssumeRoleArn is {output}"
    version = template["Mappings"]["Portwarden"]["Template"]["Version"]
    if template["Outputs"].get("TemplateVersion", {}).get("Value") != {
        "Fn::FindInMap": ["Portwarden", "Template", "Version"]
    } or not re.fullmatch(r"[1-9][0-9]*", version):
        yield "TemplateVersion is not told"


def t5_events_are_retried_and_kept(template):
    stack = tenant_stack(template, AlarmTopicArn="arn:aws:sns:eu-central-1:444455556666:alarms")
    yield from queue_faults(stack)
    yield from _dead_letters_are_the_rules(tenant_stack(template, Repositories="team/app,base"))
    dead_letters = stack.arn("DeadLetterQueue")
    rules = stack.of_type("AWS::Events::Rule")
    for name, rule in rules.items():
        # An older heartbeat says nothing that a newer one does not.
        age = 3600 if "ScheduleExpression" in rule else 86400
        for target in rule["Targets"]:
            if target.get("RetryPolicy") != {"MaximumEventAgeInSeconds": age, "MaximumRetryAttempts": 185}:
                yield f"{name}: retry policy is not {age} s and 185"
            if target.get("DeadLetterConfig") != {"Arn": dead_letters}:
                yield f"{name}: what cannot be delivered is dropped"
    yield from _dead_letters_are_the_rules(stack)
    if stack.properties("ApiDestination").get("InvocationRateLimitPerSecond", 0) < 100:
        yield "ApiDestination: a low rate limit builds a backlog that is lost after a day"
    watched = [
        (alarm["MetricName"], alarm["Dimensions"], alarm["Threshold"], alarm["ComparisonOperator"])
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        if alarm.get("AlarmActions") == [stack.values["AlarmTopicArn"]]
    ]
    dimensions = [{"Name": "QueueName", "Value": f"{stack.name}-DeadLetterQueue"}]
    if watched != [("ApproximateNumberOfMessagesVisible", dimensions, 0, "GreaterThanThreshold")]:
        yield "DeadLetterQueue: nobody is told of dead letters"
    if tenant_stack(template).of_type("AWS::CloudWatch::Alarm"):
        yield "DeadLettersAlarm: is made without a topic"


def _dead_letters_are_the_rules(stack):
    rules = [stack.arn(name) for name in stack.of_type("AWS::Events::Rule")]
    sends = {
        "Sid": "RulesSend",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": stack.arn("DeadLetterQueue"),
        "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
    }
    if sends not in statements(stack, "DeadLetterQueuePolicy"):
        yield "DeadLetterQueuePolicy: a rule may not send dead letters, or others may"


def t6_nothing_is_left_behind(template):
    for resource, body in template["Resources"].items():
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if body.get(policy, "Delete") != "Delete":
                yield f"{resource}: {policy} is {body[policy]}"


def role_opens_for_the_connector_alone(template):
    if TENANT_TEMPLATE.read_text().count(CONNECTOR_MARKER) != 1:
        yield "the connector's marker is not there exactly once"
    stack = tenant_stack(template)
    trust = [
        {key: value for key, value in statement.items() if key != "Sid"}
        for statement in stack.properties("Role")["AssumeRolePolicyDocument"]["Statement"]
    ]
    wanted = {
        "Effect": "Allow",
        "Principal": {"AWS": CONNECTOR_ARN},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    if trust != [wanted]:
        yield f"Role: trusts {json.dumps(trust)}"
    yield from allows_to_everybody(stack)


def role_reads_and_nothing_more(template):
    for given in ({}, {"Password": ""}, {"Repositories": "team/app,base"}):
        stack = tenant_stack(template, **given)
        arn = "arn:aws:ecr:%s:repository/"
        here, anywhere = arn % f"eu-central-1:{stack.account}", arn % "*:*"
        repositories = [anywhere + "team/app", anywhere + "base"] if "Repositories" in given else here + "*"
        everything = {(action, json.dumps(repositories)) for action in READ_ACTIONS - WHOLE_REGISTRY}
        everything |= {(action, json.dumps("*")) for action in WHOLE_REGISTRY}
        everything |= {("iam:GetRole", json.dumps(stack.arn("Role")))}
        if "Password" in given:
            secret = stack.attribute(["Secret", "Id"])
            everything |= {("secretsmanager:GetSecretValue", json.dumps(secret))}
        granted = {
            (action, json.dumps(statement["Resource"]))
            for statement in statements(stack, "RolePolicy")
            for action in as_list(statement["Action"])
        }
        for action, resource in sorted(granted - everything):
            yield f"RolePolicy: allows {action} on {resource} with {given}"
        for action, resource in sorted(everything - granted):
            yield f"RolePolicy: lacks {action} on {resource} with {given}"
        for resource, statement, fault in over_broad_statements(stack):
            if (resource, statement.get("Sid")) not in BROAD:
                yield f"{resource}: {fault}"
        region = {"aws:RequestedRegion": "eu-central-1"}
        for statement in statements(stack, "RolePolicy"):
            tests = statement.get("Condition", {}).get("StringEquals", {})
            if statement.get("Sid") == "NamesInAnyRegion":
                if "Repositories" in given or as_list(statement["Action"]) != ["ecr:DescribeRepositories"]:
                    yield f"RolePolicy: {statement.get('Sid')} tells more than names, or of a tenant that named repositories"
            elif statement["Resource"] == "*" and tests != region:
                yield f"RolePolicy: {statement.get('Sid')} reaches other regions"
            if statement["Resource"] == repositories != here + "*" and tests != region | {
                "aws:ResourceAccount": stack.account
            }:
                yield f"RolePolicy: {statement.get('Sid')} reaches other accounts or regions"
    operator = statements(operator_stack(operator_template()), "OperatorRole")
    if {action for s in operator for action in as_list(s["Action"])} != READ_ACTIONS:
        yield "the operator's own role reads something else than a tenant's"


def rules_tell_of_every_event(template):
    for given in ({}, {"Repositories": "team/app,base"}):
        stack = tenant_stack(template, **given)
        names = given.get("Repositories", "").split(",")
        envelope = {"account": [stack.account]}
        deletion = {
            "eventSource": ["ecr.amazonaws.com"],
            "eventName": ["DeleteRepository"],
            "errorCode": [{"exists": False}],
        }
        patterns = {
            "ImageEventsRule": envelope | {"source": ["aws.ecr"], "detail-type": [{"prefix": "ECR "}]},
            "EnhancedScanRule": envelope
            | {
                "source": ["aws.inspector2"],
                "detail-type": ["Inspector2 Scan"],
                "detail": {"repository-name": [{"prefix": f"arn:aws:ecr:{REGION}:{stack.account}:repository/"}]},
            },
            "RepositoryDeletionRule": envelope
            | {"source": ["aws.ecr"], "detail-type": ["AWS API Call via CloudTrail"], "detail": deletion},
            "StackStatusRule": envelope
            | {
                "source": ["aws.cloudformation"],
                "detail-type": ["CloudFormation Stack Status Change"],
                "detail": {"stack-id": [stack.reference("AWS::StackId")]},
            },
            "HeartbeatRule": None,
        }
        if given:
            patterns["ImageEventsRule"] |= {"detail": {"repository-name": names}}
            # It would tell of repositories that the tenant did not name.
            del patterns["EnhancedScanRule"]
            deletion["requestParameters"] = {"repositoryName": names}
        rules = stack.of_type("AWS::Events::Rule")
        if set(rules) != set(patterns):
            yield f"rules are {sorted(rules)}"
        for name, rule in rules.items():
            if rule.get("EventPattern") != patterns.get(name):
                yield f"{name}: pattern is {rule.get('EventPattern')}"
            if "ScheduleExpression" in rule and rule["ScheduleExpression"] != "rate(15 minutes)":
                yield f"{name}: is sent at {rule['ScheduleExpression']}"
            if rule.get("State", "ENABLED") != "ENABLED":
                yield f"{name}: is switched off"
            if [target["Arn"] for target in rule["Targets"]] != [stack.arn("ApiDestination")]:
                yield f"{name}: does not go to the API destination"
            if [target.get("RoleArn") for target in rule["Targets"]] != [stack.arn("InvokeRole")]:
                yield f"{name}: has no role to call the API destination with"
    destination = stack.properties("ApiDestination")
    if destination.get("HttpMethod") != "POST" or destination.get("InvocationEndpoint") != stack.values["Url"]:
        yield "ApiDestination: does not post to the integration's endpoint"
    if statements(stack, "InvokeRole") != [
        {"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": stack.arn("ApiDestination")}
    ]:
        yield "InvokeRole: may do something else than call the endpoint"


def messages_are_what_portwarden_reads(template):
    """What the transformers make of AWS's events is to the letter what the core's own tests parse."""
    stack = tenant_stack(template, Password="")
    scheduled = {
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "resources": ["arn:aws:events:eu-west-1:111122223333:rule/x"],
        "detail": {},
    }
    deleted = {
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.ecr",
        "detail": {
            "userIdentity": {"arn": "arn:aws:iam::111122223333:user/somebody"},
            "sourceIPAddress": "203.0.113.9",
            "eventSource": "ecr.amazonaws.com",
            "eventName": "DeleteRepository",
            "requestParameters": {"repositoryName": "shop/web", "registryId": "111122223333", "force": True},
        },
    }
    for rule, event, recorded in (
        ("HeartbeatRule", scheduled, "heartbeat"),
        ("StackStatusRule", recorded_event("cloudformation_stack_status"), "cloudformation_stack_status_claim"),
        ("RepositoryDeletionRule", deleted, "cloudtrail_delete_repository"),
    ):
        expected = recorded_event(recorded)
        event = event | {name: expected[name] for name in ("version", "id", "time", "account", "region")}
        (target,) = stack.properties(rule)["Targets"]
        if "InputTransformer" not in target:
            yield f"{rule}: sends the event as it is"
            continue
        text = transformed(target["InputTransformer"], event)
        # The recorded stack has other names than the rendered one.
        for ours, theirs in (
            (stack.reference("AWS::StackId"), expected["detail"].get("stack-id")),
            (stack.arn("Role"), expected["detail"].get("role-arn")),
            (stack.attribute(["Secret", "Id"]), expected["detail"].get("secret-arn")),
        ):
            text = text.replace(ours, theirs or ours)
        try:
            made = json.loads(text)
        except ValueError as error:
            yield f"{rule}: sends what is not JSON: {error}"
            continue
        if made != expected:
            yield f"{rule}: sends {json.dumps(made)}, not events/{recorded}.json"


def a19_the_stack_says_whose_it_is(template):
    """Whoever is sent somebody else's link must be able to see it before the stack is there, and after."""
    name = template["Parameters"].get("TenantName", {})
    if "do not create the stack" not in name.get("Description", ""):
        yield "TenantName: does not say what to do when it is somebody else's"
    if name.get("NoEcho") or "AllowedValues" in name or not re.search(name.get("AllowedPattern", "^$"), "Shop & Söhne"):
        yield "TenantName: cannot be shown, or cannot hold a name"
    if any(re.search(name.get("AllowedPattern", ""), text) for text in ("Shop\r\nUrl", "Shop\x00", "Shop\x7f")):
        yield "TenantName: can hold what hides it"
    if "TenantName" not in template.get("Description", ""):
        yield "the description does not say that TenantName is to be looked at"
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    if groups[0]["Parameters"][:1] != ["TenantName"]:
        yield "TenantName: is not shown first"
    described = tenant_stack(template, TenantName="Shop & Söhne").properties("ApiDestination").get("Description", "")
    if "Shop & Söhne" not in described:
        yield "ApiDestination: does not say whose endpoint it is"


def template_fits(template):
    del template
    text = TENANT_TEMPLATE.read_text()
    if len(text.encode()) > 51_200:
        yield f"{len(text.encode())} bytes do not fit into a request"
    if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(text)):
        yield "CloudFormation knows no aliases, and nothing resolves them on the way to a tenant"


RULES = [
    parameters_have_patterns,
    t1_no_fixed_names,
    t2_capability_iam_is_enough,
    t3_password_goes_nowhere_else,
    a_generation_changes_secret_and_connection,
    t4_output_is_the_role,
    t5_events_are_retried_and_kept,
    t6_nothing_is_left_behind,
    role_opens_for_the_connector_alone,
    role_reads_and_nothing_more,
    rules_tell_of_every_event,
    messages_are_what_portwarden_reads,
    a19_the_stack_says_whose_it_is,
    template_fits,
]
