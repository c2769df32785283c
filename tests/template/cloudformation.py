"""Reads CloudFormation templates as the checks need them: as written, and rendered for one account and region.

Rendering replaces each intrinsic function by the value it has on AWS, with made-up but well-formed physical ids, so that
policies can be judged by tools that know nothing of CloudFormation.
"""

import copy
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_TEMPLATE = ROOT / "template.yaml"
TENANT_TEMPLATE = ROOT / "crates/core/templates/ecr-integration.yaml"

# Holds the packages of tests/requirements-strict.txt, if they are installed.
STRICT_ENVIRONMENT = Path(sys.prefix) / "strict"

# `portwarden template --principal ARN` replaces it by the connector role's ARN.
CONNECTOR_MARKER = "__CONNECTOR_ROLE_ARN__"

OPERATOR_ACCOUNT = "111122223333"
TENANT_ACCOUNT = "444455556666"
REGION = "eu-central-1"
CONNECTOR_ARN = f"arn:aws:iam::{OPERATOR_ACCOUNT}:role/portwarden-connector"
EXTERNAL_ID = "pw-0123456789abcdefghjkmnpqrs"

# Left out, as AWS::NoValue is.
NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Knows the short forms of CloudFormation's functions."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load(text):
    """Reads a template's text, keeping intrinsic functions in their long form."""
    return yaml.load(text, _Loader)


def operator_template():
    """Reads the operator's template."""
    return load(OPERATOR_TEMPLATE.read_text())


def tenant_template_text():
    """Reads the tenants' template as a tenant gets it: with the connector role's ARN."""
    return TENANT_TEMPLATE.read_text().replace(CONNECTOR_MARKER, CONNECTOR_ARN)


def tenant_template():
    """Reads the tenants' template as written, with its marker."""
    return load(TENANT_TEMPLATE.read_text())


@dataclass
class Stack:
    """A template with parameters, in an account and a region."""

    template: dict
    account: str
    parameters: dict = field(default_factory=dict)
    name: str = "stack"

    def __post_init__(self):
        self.values = {
            name: str(self.parameters.get(name, body.get("Default", f"<{name}>")))
            for name, body in self.template["Parameters"].items()
        }
        self.resources = {
            name: self._render(self._without_condition(body))
            for name, body in self.template["Resources"].items()
            if "Condition" not in body or self._holds(body["Condition"])
        }

    def of_type(self, kind):
        """Returns the properties of all resources of a type, by logical name."""
        return {name: body.get("Properties", {}) for name, body in self.resources.items() if body["Type"] == kind}

    def properties(self, name):
        """Returns the rendered properties of one resource."""
        return self.resources[name]["Properties"]

    def arn(self, name):
        """Returns the ARN of a resource."""
        return self.attribute([name, "Arn"])

    def output(self, name):
        """Returns the rendered value of an output."""
        return self._render(self.template["Outputs"][name]["Value"])

    @staticmethod
    def _without_condition(body):
        return {key: value for key, value in body.items() if key != "Condition"}

    def _holds(self, condition):
        expression = self.template["Conditions"][condition] if isinstance(condition, str) else condition
        ((function, arguments),) = expression.items()
        match function:
            case "Fn::Equals":
                left, right = (self._render(argument) for argument in arguments)
                return left == right
            case "Fn::Not":
                return not self._holds(arguments[0])
            case "Fn::And":
                return all(self._holds(argument) for argument in arguments)
            case "Fn::Or":
                return any(self._holds(argument) for argument in arguments)
            case "Condition":
                return self._holds(arguments)
        raise ValueError(f"unknown condition function {function}")

    def _render(self, value):
        if isinstance(value, list):
            rendered = (self._render(item) for item in value)
            return [item for item in rendered if item is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        rendered = {key: self._render(item) for key, item in value.items()}
        return {key: item for key, item in rendered.items() if item is not NOTHING}

    def _call(self, function, argument):
        match function:
            case "Ref":
                return self.reference(argument)
            case "Fn::GetAtt":
                return self.attribute(argument)
            case "Fn::If":
                condition, then, otherwise = argument
                return self._render(then if self._holds(condition) else otherwise)
            case "Fn::Sub":
                text, names = argument if isinstance(argument, list) else (argument, {})
                return re.sub(r"\$\{([^}!]+)\}", lambda match: self._substitute(match[1], names), text)
            case "Fn::Select":
                index, items = argument
                return self._render(items)[int(index)]
            case "Fn::Split":
                separator, text = argument
                return self._render(text).split(separator)
            case "Fn::Join":
                separator, items = argument
                return separator.join(self._render(items))
            case "Fn::FindInMap":
                mapping, first, second = (self._render(key) for key in argument)
                return self.template["Mappings"][mapping][first][second]
        raise ValueError(f"unknown function {function}")

    def _substitute(self, name, names):
        if name in names:
            return str(self._render(names[name]))
        return str(self.attribute(name.split(".", 1)) if "." in name else self.reference(name))

    def reference(self, name):
        pseudo = {
            "AWS::AccountId": self.account,
            "AWS::NoValue": NOTHING,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{self.account}:stack/{self.name}/"
            "1f0e5c4a-0000-11ef-8000-0e0000000000",
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.values:
            return self.values[name]
        return self._physical_name(name)

    _NAME_PROPERTIES = {
        "AWS::DynamoDB::Table": "TableName",
        "AWS::Events::EventBus": "Name",
        "AWS::IAM::Role": "RoleName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::S3::Bucket": "BucketName",
    }

    def _physical_name(self, name):
        body = self.template["Resources"][name]
        given = body.get("Properties", {}).get(self._NAME_PROPERTIES.get(body["Type"]))
        return f"{self.name}-{name}" if given is None else self._render(given)

    def attribute(self, path):
        name, attribute = path
        kind = self.template["Resources"][name]["Type"]
        physical = self._physical_name(name)
        if kind == "AWS::SecretsManager::Secret" and attribute == "Id":
            # Secrets Manager adds a hyphen and six characters to the name.
            return f"arn:aws:secretsmanager:{REGION}:{self.account}:secret:{physical}-a1b2c3"
        if attribute != "Arn":
            return f"{physical}.{attribute}" if attribute != "QueueName" else physical
        place = f"{REGION}:{self.account}"
        return {
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{place}:table/{physical}",
            "AWS::Events::ApiDestination": f"arn:aws:events:{place}:api-destination/{physical}/0",
            "AWS::Events::Connection": f"arn:aws:events:{place}:connection/{physical}/0",
            "AWS::Events::EventBus": f"arn:aws:events:{place}:event-bus/{physical}",
            "AWS::Events::Rule": f"arn:aws:events:{place}:rule/{physical}",
            "AWS::IAM::Role": f"arn:aws:iam::{self.account}:role/{physical}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{place}:log-group:{physical}:*",
            "AWS::S3::Bucket": f"arn:aws:s3:::{physical}",
            "AWS::SQS::Queue": f"arn:aws:sqs:{place}:{physical}",
            "AWS::Serverless::Function": f"arn:aws:lambda:{place}:function:{physical}",
        }[kind]


def operator_stack(template=None, **parameters):
    """Renders the operator's template."""
    return Stack(template or operator_template(), OPERATOR_ACCOUNT, parameters, "portwarden")


def tenant_stack(template=None, **parameters):
    """Renders the tenants' template, with the connector role's ARN for its marker and a password that somebody chose."""
    template = copy.deepcopy(template or tenant_template())
    given = {
        "Url": "https://api.example.com/v1/events/i-0123456789abcdefghjkmnpqrs",
        "Username": "events",
        "Password": "a-password-of-24-letters",
        "ExternalId": EXTERNAL_ID,
    }
    return Stack(_fill_marker(template), TENANT_ACCOUNT, given | parameters, "tenant")


def _fill_marker(value):
    if isinstance(value, dict):
        return {key: _fill_marker(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_marker(item) for item in value]
    return CONNECTOR_ARN if value == CONNECTOR_MARKER else value


def recorded_event(name):
    """Reads an event of `events/`."""
    return json.loads((ROOT / f"events/{name}.json").read_text())


def transformed(transformer, event):
    """Applies an input transformer as EventBridge does: a value in the place of each name, texts with their quotes."""

    def find(match):
        value = event
        for step in transformer["InputPathsMap"][match[1]].removeprefix("$.").split("."):
            value = value[step]
        return json.dumps(value)

    return re.sub(r"<([A-Za-z0-9_-]+)>", find, transformer["InputTemplate"])


def as_list(value):
    """Returns a list for what may be one thing or a list of things."""
    return value if isinstance(value, list) else [value]


def walk(value, path=()):
    """Yields every value of a document with the path that leads to it."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))
