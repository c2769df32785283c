"""Rules that hold for both templates: policies, queues and parameters."""

import re

from cloudformation import as_list


def statements(stack, name):
    """Returns the statements of all policies that a resource holds, its trust policy apart."""
    properties = stack.resources[name].get("Properties", {})
    # A user pool has policies, too, of another kind.
    inline = properties.get("Policies", [])
    documents = [policy["PolicyDocument"] for policy in inline] if isinstance(inline, list) else []
    if "PolicyDocument" in properties:
        documents.append(properties["PolicyDocument"])
    return [statement for document in documents for statement in as_list(document["Statement"])]


def over_broad_statements(stack):
    """Yields resource, statement and fault for each permission that says more than single actions on single resources."""
    for name, body in stack.resources.items():
        if body["Type"] not in ("AWS::IAM::Role", "AWS::IAM::Policy"):
            continue
        if body["Properties"].get("ManagedPolicyArns"):
            yield name, {}, f"takes managed policies {body['Properties']['ManagedPolicyArns']}"
        for statement in statements(stack, name):
            if statement["Effect"] == "Deny":
                continue
            if "NotAction" in statement or "NotResource" in statement:
                yield name, statement, "allows by exclusion"
                continue
            actions = as_list(statement["Action"])
            for action in actions:
                if "*" in action:
                    yield name, {}, f"allows {action}"
            if len({action.split(":")[0] for action in actions}) > 1:
                yield name, {}, f"statement {statement.get('Sid')} mixes services"
            for resource in as_list(statement["Resource"]):
                # A log group's ARN ends in :* for its streams.
                if "*" in resource and not (resource.startswith("arn:aws:logs:") and resource.count("*") == 1):
                    yield name, statement, f"statement {statement.get('Sid')} allows {actions} on {resource}"


def allows_to_everybody(stack):
    """Yields a fault for each trust or resource policy that lets anybody in, or an AWS service for any account."""
    for name, body in stack.resources.items():
        properties = body.get("Properties", {})
        documents = [properties.get("AssumeRolePolicyDocument"), properties.get("PolicyDocument")]
        for document in filter(None, documents):
            for statement in as_list(document["Statement"]):
                principal = statement.get("Principal")
                if statement["Effect"] != "Allow" or principal is None:
                    continue
                names = [
                    n
                    for value in (principal.values() if isinstance(principal, dict) else [principal])
                    for n in as_list(value)
                ]
                if any("*" in n for n in names) or "NotPrincipal" in statement:
                    yield f"{name}: lets anybody in"
                if any(n.endswith(":root") for n in names):
                    yield f"{name}: lets a whole account in"
                if "events.amazonaws.com" in names and not {
                    key for test in statement.get("Condition", {}).values() for key in test
                } & {"aws:SourceArn", "aws:SourceAccount"}:
                    yield f"{name}: EventBridge may act for any account"


def queue_faults(stack):
    """Yields a fault for each queue that is not encrypted, accepts clear text, or loses what it cannot deliver."""
    queues = stack.of_type("AWS::SQS::Queue")
    by_arn = {stack.arn(name): name for name in queues}
    closed_to_clear_text = {
        resource
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Action"] == "sqs:*"
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for resource in as_list(statement["Resource"])
        if resource in map(stack.arn, _applied_to(stack, policy))
    }
    dead_letter_queues = {
        body["RedrivePolicy"]["deadLetterTargetArn"] for body in queues.values() if "RedrivePolicy" in body
    }
    for rule in stack.of_type("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            dead_letter_queues.add(target.get("DeadLetterConfig", {}).get("Arn"))
    for arn, name in by_arn.items():
        queue = queues[name]
        if queue.get("SqsManagedSseEnabled") is not True:
            yield f"{name}: is not encrypted"
        if arn not in closed_to_clear_text:
            yield f"{name}: accepts clear text"
        if arn in dead_letter_queues:
            if queue.get("MessageRetentionPeriod") != 1209600:
                yield f"{name}: does not keep dead letters for 14 days"
            continue
        redrive = queue.get("RedrivePolicy")
        if not redrive:
            yield f"{name}: has no dead-letter queue"
        elif redrive["maxReceiveCount"] < 5:
            yield f"{name}: gives up after {redrive['maxReceiveCount']} attempts"
        elif queue.get("MessageRetentionPeriod", 345600) >= 1209600:
            yield f"{name}: keeps messages as long as its dead-letter queue, which counts from the first send"


def _applied_to(stack, policy):
    urls = policy["Queues"]
    return [name for name in stack.of_type("AWS::SQS::Queue") if f"{stack.name}-{name}" in urls]


def parameter_faults(template):
    """Yields a fault for each parameter that takes any text, or does not say what it is for."""
    for name, parameter in template["Parameters"].items():
        if not parameter.get("Description"):
            yield f"{name}: has no description"
        if "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter):
            continue
        outline = parameter.get("AllowedPattern", "")
        while outline != (outline := re.sub(r"\([^()]*\)", "", outline)):
            pass
        if not all(part.startswith("^") and part.endswith("$") for part in outline.split("|")):
            yield f"{name}: has no pattern from start to end"
        if not parameter.get("ConstraintDescription"):
            yield f"{name}: does not say what its pattern wants"
