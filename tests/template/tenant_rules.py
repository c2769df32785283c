"""What must be true of the tenants' template. Each rule yields what breaks it; T1 to T6 are the template's threats."""

import json
import re

from cloudformation import (
    CONNECTOR_ARN,
    CONNECTOR_MARKER,
    EXTERNAL_ID,
    TENANT_TEMPLATE,
    as_list,
    operator_stack,
    operator_template,
    tenant_stack,
    walk,
)
from policies import allows_to_everybody, over_broad_statements, parameter_faults, queue_faults, statements

# Statements that may name more than single resources, and why.
BROAD = {
    ("RolePolicy", "Read"): "all repositories of the account and region",
    ("RolePolicy", "Registry"): "these actions know no narrower resource; narrowed by region",
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


def parameters_have_patterns(template):
    yield from parameter_faults(template)
    if set(template["Parameters"]) != {"Url", "Username", "Password", "ExternalId"}:
        yield f"parameters are {sorted(template['Parameters'])}"
    wrong = {
        "Url": [
            "http://api.example.com/v1/events/" + "i-" + 26 * "0",
            "https://u:p@api.example.com/v1/events/i-" + 26 * "0",
            "https://api.example.com/",
            "https://api.example.com/v1/events/../i-" + 26 * "0",
        ],
        "Username": ["", "with:colon", "with space", "with\ttab"],
        "Password": ["", "control\x07character", "line\nbreak"],
        "ExternalId": ["", "*", "pw-*", "mine", EXTERNAL_ID + "x", EXTERNAL_ID.upper()],
    }
    for name, texts in wrong.items():
        pattern = template["Parameters"].get(name, {}).get("AllowedPattern", "")
        for text in texts:
            if re.fullmatch(pattern, text):
                yield f"{name}: accepts {text!r}"
    if not re.fullmatch(template["Parameters"]["ExternalId"].get("AllowedPattern", ""), EXTERNAL_ID):
        yield "ExternalId: refuses what Portwarden makes"


def t1_no_fixed_names(template):
    for resource, body in template["Resources"].items():
        for key in body.get("Properties", {}):
            # An inline policy's name lives inside its role.
            if key == "Name" or key.endswith("Name") and (body["Type"], key) != ("AWS::IAM::Policy", "PolicyName"):
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
    if "Default" in password:
        yield "Password: has a default"
    if password.get("MinLength", 0) < 24:
        yield "Password: may be shorter than 24 characters"
    home = ("Resources", "Connection", "Properties", "AuthParameters", "BasicAuthParameters", "Password")
    used = []
    for path, value in walk({key: template[key] for key in template if key != "Parameters"}):
        if value == {"Ref": "Password"} or isinstance(value, str) and "${Password}" in value:
            used.append(path)
    for path in used:
        if path != home:
            yield f"Password: is used in {'.'.join(map(str, path))}"
    if home not in used:
        yield "Connection: does not use the password"


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
    stack = tenant_stack(template)
    yield from queue_faults(stack)
    dead_letters = stack.arn("DeadLetterQueue")
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            if target.get("RetryPolicy") != {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}:
                yield f"{name}: retry policy is not 24 h and 185"
            if target.get("DeadLetterConfig") != {"Arn": dead_letters}:
                yield f"{name}: what cannot be delivered is dropped"
        sends = {
            "Sid": "RuleSends",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": dead_letters,
            "Condition": {"ArnEquals": {"aws:SourceArn": stack.arn(name)}},
        }
        if sends not in statements(stack, "DeadLetterQueuePolicy"):
            yield f"{name}: may not send dead letters, or others may"
    if stack.properties("ApiDestination").get("InvocationRateLimitPerSecond", 0) < 100:
        yield "ApiDestination: a low rate limit builds a backlog that is lost after a day"


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
    stack = tenant_stack(template)
    for resource, statement, fault in over_broad_statements(stack):
        if (resource, statement.get("Sid")) not in BROAD:
            yield f"{resource}: {fault}"
    granted = {
        (action, json.dumps(statement["Resource"]))
        for statement in statements(stack, "RolePolicy")
        for action in as_list(statement["Action"])
    }
    for action, resource in sorted(granted):
        if action not in READ_ACTIONS and (action, resource) != ("iam:GetRole", json.dumps(stack.arn("Role"))):
            yield f"RolePolicy: allows {action} on {resource}"
    for action in sorted(READ_ACTIONS - {action for action, _ in granted}):
        yield f"RolePolicy: lacks {action}"
    for statement in statements(stack, "RolePolicy"):
        region = {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}
        if statement["Resource"] == "*" and statement.get("Condition") != region:
            yield f"RolePolicy: {statement.get('Sid')} reaches other regions"
    operator = statements(operator_stack(operator_template()), "OperatorRole")
    if {action for s in operator for action in as_list(s["Action"])} != READ_ACTIONS:
        yield "the operator's own role reads something else than a tenant's"


def rule_tells_of_every_image_event(template):
    stack = tenant_stack(template)
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        if rule["EventPattern"] != {
            "source": ["aws.ecr"],
            "account": [stack.account],
            "detail-type": [{"prefix": "ECR "}],
        }:
            yield f"{name}: pattern is {rule['EventPattern']}"
        if [target["Arn"] for target in rule["Targets"]] != [stack.arn("ApiDestination")]:
            yield f"{name}: does not go to the API destination"
    destination = stack.properties("ApiDestination")
    if destination.get("HttpMethod") != "POST" or destination.get("InvocationEndpoint") != stack.values["Url"]:
        yield "ApiDestination: does not post to the integration's endpoint"
    if statements(stack, "InvokeRole") != [
        {"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": stack.arn("ApiDestination")}
    ]:
        yield "InvokeRole: may do something else than call the endpoint"


def template_fits(template):
    del template
    size = len(TENANT_TEMPLATE.read_bytes())
    if size > 51_200:
        yield f"{size} bytes do not fit into a request"


RULES = [
    parameters_have_patterns,
    t1_no_fixed_names,
    t2_capability_iam_is_enough,
    t3_password_goes_nowhere_else,
    t4_output_is_the_role,
    t5_events_are_retried_and_kept,
    t6_nothing_is_left_behind,
    role_opens_for_the_connector_alone,
    role_reads_and_nothing_more,
    rule_tells_of_every_image_event,
    template_fits,
]
