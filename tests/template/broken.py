"""Templates broken on purpose: each must be caught by the rule that it is named with, or that rule proves nothing."""

import copy

import operator_rules
import tenant_rules
from cloudformation import operator_template, tenant_template


def set_to(*path, value):
    """Changes the value at a path."""

    def change(template):
        _parent(template, path)[path[-1]] = value

    return change


def without(*path):
    """Removes what is at a path."""

    def change(template):
        del _parent(template, path)[path[-1]]

    return change


def with_statement(resource, statement):
    """Adds a statement to the first policy of a resource."""

    def change(template):
        properties = template["Resources"][resource]["Properties"]
        policy = properties["Policies"][0] if "Policies" in properties else properties
        policy["PolicyDocument"]["Statement"].append(statement)

    return change


def without_statement(resource, sid):
    """Removes the statements with a Sid, inside a condition too."""

    def change(template):
        properties = template["Resources"][resource]["Properties"]
        policy = properties["Policies"][0] if "Policies" in properties else properties
        document = policy["PolicyDocument"]
        kept = [s for s in document["Statement"] if sid not in str(s)]
        assert len(kept) == len(document["Statement"]) - 1, f"{resource} has no statement {sid}"
        document["Statement"] = kept

    return change


def _parent(template, path):
    for step in path[:-1]:
        template = template[step]
    return template


def _properties(resource, *path):
    return ("Resources", resource, "Properties", *path)


def _trust(resource, *path):
    return _properties(resource, "AssumeRolePolicyDocument", "Statement", 0, *path)


def _allow(action, resource):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _get_att(name):
    return {"Fn::GetAtt": [name, "Arn"]}


NOTHING = {"Ref": "AWS::NoValue"}
BASIC = ("AuthParameters", "BasicAuthParameters")
GENERATE = ("GenerateSecretString",)
TRANSFORMER = ("Targets", 0, "InputTransformer")
READ_SECRET = "{{resolve:secretsmanager:${Secret.Id}:SecretString:password}}"
ANY_SECRET = "arn:aws:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:any"

OPERATOR = [
    ("rounds_are_made", set_to(*_properties("RoundsRule", "ScheduleExpression"), value="rate(1 day)")),
    ("rounds_are_made", set_to(*_properties("RoundsRule", "State"), value="DISABLED")),
    ("rounds_are_made", without(*_properties("RoundsRule", "Targets", 0, "Input"))),
    ("rounds_are_made", set_to(*_properties("RoundsMissingAlarm", "TreatMissingData"), value="notBreaching")),
    ("rounds_are_made", without("Resources", "RoundsMissingAlarm")),
    ("alarms_watch_everything", without("Resources", "RoundsNotBegunAlarm")),
    ("parameters_have_patterns", without("Parameters", "TableName", "AllowedPattern")),
    ("parameters_have_patterns", set_to("Parameters", "AlarmTopicArn", "AllowedPattern", value="^$|arn:.*")),
    ("parameters_have_patterns", without("Parameters", "ConnectorRoleName", "Description")),
    ("policies_name_what_they_need", with_statement("ReceiverRole", _allow("dynamodb:*", _get_att("Table")))),
    ("policies_name_what_they_need", with_statement("ScannerRole", _allow("s3:GetObject", "*"))),
    (
        "policies_name_what_they_need",
        with_statement("VerifierRole", _allow(["sqs:SendMessage", "s3:GetObject"], "arn:aws:s3:::b")),
    ),
    (
        "policies_name_what_they_need",
        with_statement("ScannerRole", {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}),
    ),
    (
        "policies_name_what_they_need",
        set_to(
            *_properties("ReceiverRole", "ManagedPolicyArns"),
            value=["arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess"],
        ),
    ),
    ("nobody_is_everybody", set_to(*_trust("OperatorRole", "Principal"), value="*")),
    (
        "nobody_is_everybody",
        set_to(*_trust("CanaryRole", "Principal", "AWS"), value={"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}),
    ),
    (
        "nobody_is_everybody",
        without(*_properties("OperatorEventsDeadLetterQueuePolicy", "PolicyDocument", "Statement", 0, "Condition")),
    ),
    (
        "templates_are_all_that_is_public",
        set_to(*_properties("TemplateBucketPolicy", "PolicyDocument", "Statement", 0, "Action"), value="s3:*"),
    ),
    (
        "templates_are_all_that_is_public",
        set_to(
            *_properties("TemplateBucketPolicy", "PolicyDocument", "Statement", 0, "Resource"),
            value={"Fn::Sub": "${TemplateBucket.Arn}/*"},
        ),
    ),
    ("templates_are_all_that_is_public", without_statement("TemplateBucketPolicy", "TlsOnly")),
    ("templates_are_all_that_is_public", without(*_properties("TemplateBucket", "PublicAccessBlockConfiguration"))),
    ("templates_are_all_that_is_public", without("Resources", "TemplateBucket", "Condition")),
    (
        "templates_are_all_that_is_public",
        set_to(*_properties("TenantTemplate", "Bucket"), value={"Ref": "TemplateBucket"}),
    ),
    ("what_is_published_is_this_template", set_to(*_properties("TenantTemplate", "Version"), value="1")),
    ("what_is_published_is_this_template", set_to(*_properties("TenantTemplate", "SourceSha256"), value="0" * 64)),
    ("what_is_published_is_this_template", without(*_properties("TenantTemplate", "ServiceTimeout"))),
    (
        "what_is_published_is_this_template",
        set_to(*_properties("TenantTemplate", "ConnectorRoleArn"), value=_get_att("OperatorRole")),
    ),
    ("what_is_published_is_this_template", set_to("Parameters", "RemoveTemplatesOnDelete", "Default", value="true")),
    ("what_must_outlive_the_stack_does", set_to("Resources", "WebhookKey", "DeletionPolicy", value="Delete")),
    ("what_must_outlive_the_stack_does", set_to(*_properties("WebhookKey", "Name"), value="key")),
    ("what_must_outlive_the_stack_does", without("Resources", "TemplateBucket", "DeletionPolicy")),
    ("queues_lose_nothing", without(*_properties("ScanQueue", "SqsManagedSseEnabled"))),
    ("queues_lose_nothing", without(*_properties("VerifyQueue", "RedrivePolicy"))),
    ("queues_lose_nothing", set_to(*_properties("ScanQueue", "RedrivePolicy", "maxReceiveCount"), value=1)),
    ("queues_lose_nothing", set_to(*_properties("ScanQueue", "VisibilityTimeout"), value=900)),
    ("queues_lose_nothing", set_to(*_properties("VerifyQueue", "VisibilityTimeout"), value=300)),
    ("queues_lose_nothing", set_to(*_properties("ScanDeadLetterQueue", "MessageRetentionPeriod"), value=345600)),
    ("queues_lose_nothing", set_to(*_properties("ScanQueue", "MessageRetentionPeriod"), value=1209600)),
    ("queues_lose_nothing", without("Resources", "QueuePolicy")),
    ("queues_lose_nothing", set_to(*_properties("QueuePolicy", "Queues"), value=[{"Ref": "ScanQueue"}])),
    (
        "queues_lose_nothing",
        without(*_properties("ScannerFunction", "Events", "Scan", "Properties", "FunctionResponseTypes")),
    ),
    (
        "queues_lose_nothing",
        without(*_properties("VerifierFunction", "Events", "Verify", "Properties", "ScalingConfig")),
    ),
    ("functions_are_alike", without(*_properties("ScannerFunction", "LoggingConfig"))),
    ("functions_are_alike", without(*_properties("VerifierLogGroup", "RetentionInDays"))),
    ("functions_are_alike", set_to(*_properties("VerifierFunction", "Role"), value=_get_att("ScannerRole"))),
    (
        "functions_are_alike",
        set_to(*_properties("VerifierFunction", "LoggingConfig", "LogGroup"), value={"Ref": "ScannerLogGroup"}),
    ),
    (
        "functions_are_alike",
        set_to("Resources", "ScannerFunction", "Metadata", "BuildProperties", "Binary", value="portwarden-verifier"),
    ),
    ("functions_are_alike", set_to("Globals", "Function", "Architectures", value=["arm64"])),
    ("functions_are_alike", set_to("Globals", "Function", "LoggingConfig", "LogFormat", value="Text")),
    ("functions_are_alike", set_to(*_properties("ReceiverFunction", "FunctionUrlConfig"), value={"AuthType": "NONE"})),
    ("what_must_outlive_the_stack_does", without("Resources", "ConnectorRole", "DeletionPolicy")),
    ("what_must_outlive_the_stack_does", set_to("Resources", "Table", "UpdateReplacePolicy", value="Delete")),
    ("what_must_outlive_the_stack_does", set_to(*_properties("ConnectorRole", "RoleName"), value="connector")),
    ("table_is_kept_safe", set_to(*_properties("Table", "DeletionProtectionEnabled"), value=False)),
    ("table_is_kept_safe", without(*_properties("Table", "PointInTimeRecoverySpecification"))),
    (
        "bucket_is_private",
        set_to(*_properties("ReportBucket", "PublicAccessBlockConfiguration", "BlockPublicPolicy"), value=False),
    ),
    ("bucket_is_private", without_statement("ReportBucketPolicy", "TlsOnly")),
    ("bucket_is_private", without(*_properties("ReportBucket", "LifecycleConfiguration"))),
    ("api_has_one_way_in", set_to(*_properties("EventsRoute", "RouteKey"), value="$default")),
    ("api_has_one_way_in", set_to(*_properties("EventsRoute", "Target"), value="integrations/ConsoleIntegration")),
    ("api_has_one_way_in", without(*_properties("ApiStage", "DefaultRouteSettings"))),
    ("people_sign_in_safely", without(*_properties("UserPool", "AdminCreateUserConfig"))),
    ("people_sign_in_safely", set_to(*_properties("UserPoolClient", "AllowedOAuthFlows"), value=["implicit"])),
    ("people_sign_in_safely", set_to(*_properties("UserPoolClient", "CallbackURLs"), value=["https://evil.example/"])),
    ("people_sign_in_safely", without("Resources", "UserPool", "Condition")),
    ("api_has_one_way_in", without(*_properties("ApiStage", "AccessLogSettings"))),
    (
        "api_has_one_way_in",
        set_to(*_properties("ApiStage", "AccessLogSettings", "Format"), value="$context.requestId $context.path"),
    ),
    ("api_has_one_way_in", set_to(*_properties("EventsIntegration", "TimeoutInMillis"), value=30000)),
    ("api_has_one_way_in", without(*_properties("ApiInvokesReceiver", "SourceArn"))),
    (
        "operator_events_are_received",
        set_to(*_properties("OperatorEventsRule", "EventPattern", "resources"), value=[{"exists": True}]),
    ),
    ("operator_events_are_received", without(*_properties("OperatorEventsRule", "EventPattern", "$or", 1))),
    ("operator_events_are_received", without(*_properties("OperatorEventsRule", "EventPattern", "$or", 1, "detail"))),
    ("operator_events_are_received", without(*_properties("OperatorEventsRule", "Targets", 0, "DeadLetterConfig"))),
    ("operator_events_are_received", without(*_properties("ReceiverFunction", "EventInvokeConfig"))),
    ("connector_is_held_short", without(*_trust("ConnectorRole", "Condition"))),
    (
        "connector_is_held_short",
        set_to(*_trust("ConnectorRole", "Condition", "StringLike", "sts:RoleSessionName"), value="*"),
    ),
    ("connector_is_held_short", without_statement("ConnectorPolicy", "ExternalIdAlways")),
    (
        "connector_is_held_short",
        set_to(*_trust("OperatorRole", "Condition"), value={"StringEquals": {"sts:ExternalId": "pw-x"}}),
    ),
    (
        "connector_is_held_short",
        set_to(
            *_properties("OperatorRolePolicy", "PolicyDocument", "Statement", 0, "Resource"),
            value=_get_att("ConnectorRole"),
        ),
    ),
    (
        "connector_is_held_short",
        set_to(
            *_properties("CanaryRole", "Policies"),
            value=[{"PolicyName": "p", "PolicyDocument": {"Statement": [_allow("ecr:ListImages", "*")]}}],
        ),
    ),
    (
        "emulator_switch_takes_away_nothing_else",
        set_to("Parameters", "InsecureEmulatorEndpoint", "Default", value="http://localhost:4566"),
    ),
    (
        "emulator_switch_takes_away_nothing_else",
        set_to("Parameters", "InsecureEmulatorEndpoint", "AllowedPattern", value="^(|http://.*)$"),
    ),
    ("emulator_switch_takes_away_nothing_else", set_to("Resources", "ConnectorPolicy", "Condition", value="OnAws")),
    (
        "emulator_switch_takes_away_nothing_else",
        set_to(*_properties("Table", "DeletionProtectionEnabled"), value={"Fn::If": ["OnAws", True, False]}),
    ),
    ("the_advisor_reaches_no_tenant", with_statement("AdvisorRole", _allow("s3:GetObject", {"Fn::Sub": "${ReportBucket.Arn}/tenants/*"}))),
    ("the_advisor_reaches_no_tenant", with_statement("AdvisorRole", _allow("dynamodb:GetItem", _get_att("Table")))),
    ("alarms_watch_everything", set_to(*_properties("AdvisoriesOldAlarm", "TreatMissingData"), value="notBreaching")),
    ("alarms_watch_everything", without("Resources", "AdvisoryRunsLostAlarm")),
    ("alarms_watch_everything", without("Resources", "ScanDeadLettersAlarm")),
    ("alarms_watch_everything", without("Resources", "VerifyQueueAgeAlarm")),
    ("alarms_watch_everything", set_to(*_properties("ReceiverErrorsAlarm", "MetricName"), value="Invocations")),
    ("alarms_watch_everything", without(*_properties("ProbesRefusedAlarm", "AlarmActions"))),
    ("alarms_watch_everything", without("Resources", "ScannerThrottlesAlarm")),
    ("alarms_watch_everything", without("Resources", "OperatorEventsLostAlarm")),
    ("alarms_watch_everything", set_to(*_properties("ReceiverUnavailableAlarm", "MetricName"), value="5XXError")),
]

TENANT = [
    ("parameters_have_patterns", without("Parameters", "Username", "AllowedPattern")),
    ("parameters_have_patterns", set_to("Parameters", "Url", "AllowedPattern", value="^https?://.*$")),
    ("parameters_have_patterns", set_to("Parameters", "ExternalId", "AllowedPattern", value="^.*$")),
    (
        "parameters_have_patterns",
        set_to(
            "Parameters",
            "ConnectorArn",
            value={"Type": "String", "Description": "d", "AllowedPattern": "^.*$", "ConstraintDescription": "c"},
        ),
    ),
    ("t1_no_fixed_names", set_to(*_properties("Role", "RoleName"), value="portwarden")),
    ("t1_no_fixed_names", set_to(*_properties("ImageEventsRule", "Name"), value="portwarden")),
    (
        "t1_no_fixed_names",
        set_to(*_properties("DeadLetterQueue", "QueueName"), value={"Fn::Sub": "${AWS::StackName}-dead"}),
    ),
    ("t2_capability_iam_is_enough", set_to("Transform", value="AWS::Serverless-2016-10-31")),
    ("t2_capability_iam_is_enough", set_to(*_properties("InvokeRole", "RoleName"), value="invoke")),
    ("t2_capability_iam_is_enough", set_to("Resources", "Hello", value={"Type": "Custom::Hello", "Properties": {}})),
    ("t3_password_goes_nowhere_else", without("Parameters", "Password", "NoEcho")),
    ("t3_password_goes_nowhere_else", set_to("Outputs", "Password", value={"Value": {"Ref": "Password"}})),
    (
        "t3_password_goes_nowhere_else",
        set_to(*_properties("Connection", "Description"), value={"Fn::Sub": "with ${Password}"}),
    ),
    ("t3_password_goes_nowhere_else", set_to("Resources", "Role", "Metadata", value={"p": {"Ref": "Password"}})),
    ("t3_password_goes_nowhere_else", set_to("Parameters", "Password", "Default", value="changeme-changeme-changeme")),
    ("t3_password_goes_nowhere_else", set_to("Outputs", "Secret", value={"Value": {"Fn::Sub": READ_SECRET}})),
    (
        "t3_password_goes_nowhere_else",
        set_to(*_properties("Connection", *BASIC, "Password"), value={"Ref": "Password"}),
    ),
    ("t3_password_goes_nowhere_else", without("Resources", "Secret", "Condition")),
    (
        "a_generation_changes_secret_and_connection",
        set_to(*_properties("Connection", "Description"), value="How this account authenticates."),
    ),
    (
        "a_generation_changes_secret_and_connection",
        set_to(*_properties("Secret", *GENERATE, "SecretStringTemplate"), value='{"username": "events"}'),
    ),
    ("a_generation_changes_secret_and_connection", without(*_properties("Secret", *GENERATE, "GenerateStringKey"))),
    ("a_generation_changes_secret_and_connection", set_to(*_properties("Secret", *GENERATE, "PasswordLength"), value=12)),
    (
        "a_generation_changes_secret_and_connection",
        set_to(*_properties("Role", "Description"), value={"Fn::Sub": "generation ${CredentialGeneration}"}),
    ),
    ("t4_output_is_the_role", without("Outputs", "AssumeRoleArn")),
    ("t4_output_is_the_role", set_to("Outputs", "AssumeRoleArn", "Value", value=_get_att("InvokeRole"))),
    ("t5_events_are_retried_and_kept", without(*_properties("ImageEventsRule", "Targets", 0, "RetryPolicy"))),
    ("t5_events_are_retried_and_kept", without(*_properties("ImageEventsRule", "Targets", 0, "DeadLetterConfig"))),
    ("t5_events_are_retried_and_kept", without_statement("DeadLetterQueuePolicy", "RulesSend")),
    (
        "t5_events_are_retried_and_kept",
        set_to(
            *_properties("DeadLetterQueuePolicy", "PolicyDocument", "Statement", 0, "Condition"),
            "ArnEquals",
            "aws:SourceArn",
            1,
            value=_get_att("HeartbeatRule"),
        ),
    ),
    ("t5_events_are_retried_and_kept", without_statement("DeadLetterQueuePolicy", "TlsOnly")),
    ("t5_events_are_retried_and_kept", without(*_properties("HeartbeatRule", "Targets", 0, "DeadLetterConfig"))),
    (
        "t5_events_are_retried_and_kept",
        set_to(
            *_properties("StackStatusRule", "Targets", 0, "RetryPolicy"),
            value={"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
        ),
    ),
    (
        "t5_events_are_retried_and_kept",
        set_to(
            *_properties("DeadLetterQueuePolicy", "PolicyDocument", "Statement", 0, "Condition"),
            value={"ArnEquals": {"aws:SourceArn": _get_att("ImageEventsRule")}},
        ),
    ),
    ("t5_events_are_retried_and_kept", without("Resources", "DeadLettersAlarm")),
    ("t5_events_are_retried_and_kept", without("Resources", "DeadLettersAlarm", "Condition")),
    ("t5_events_are_retried_and_kept", set_to(*_properties("ApiDestination", "InvocationRateLimitPerSecond"), value=1)),
    ("t6_nothing_is_left_behind", set_to("Resources", "DeadLetterQueue", "DeletionPolicy", value="Retain")),
    ("t6_nothing_is_left_behind", set_to("Resources", "Secret", "UpdateReplacePolicy", value="Retain")),
    ("role_opens_for_the_connector_alone", without(*_trust("Role", "Condition"))),
    (
        "role_opens_for_the_connector_alone",
        set_to(*_trust("Role", "Condition"), value={"StringLike": {"sts:ExternalId": "*"}}),
    ),
    (
        "role_opens_for_the_connector_alone",
        set_to(*_trust("Role", "Condition"), value={"StringEqualsIfExists": {"sts:ExternalId": {"Ref": "ExternalId"}}}),
    ),
    ("role_opens_for_the_connector_alone", set_to(*_trust("Role", "Principal"), value={"AWS": "*"})),
    (
        "role_opens_for_the_connector_alone",
        set_to(*_trust("Role", "Condition", "StringEquals", "sts:ExternalId"), value="pw-00000000000000000000000000"),
    ),
    (
        "role_opens_for_the_connector_alone",
        set_to(*_trust("Role", "Condition", "StringEquals", "sts:ExternalId"), value=[{"Ref": "ExternalId"}, "pw-x"]),
    ),
    ("role_opens_for_the_connector_alone", set_to(*_trust("Role", "Action"), value=["sts:AssumeRole", "sts:TagSession"])),
    (
        "role_opens_for_the_connector_alone",
        set_to(*_trust("Role", "Principal"), value={"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}}),
    ),
    ("role_opens_for_the_connector_alone", without(*_trust("InvokeRole", "Condition"))),
    (
        "role_reads_and_nothing_more",
        with_statement(
            "RolePolicy",
            _allow("ecr:PutImage", {"Fn::Sub": "arn:aws:ecr:${AWS::Region}:${AWS::AccountId}:repository/x"}),
        ),
    ),
    ("role_reads_and_nothing_more", with_statement("RolePolicy", _allow("ecr:*", "*"))),
    ("role_reads_and_nothing_more", with_statement("RolePolicy", _allow("iam:GetRole", _get_att("InvokeRole")))),
    # Mistyped: IAM takes it and allows nothing.
    (
        "role_reads_and_nothing_more",
        set_to(*_properties("RolePolicy", "PolicyDocument", "Statement", 0, "Action", 1), value="ecr:BatchGetImages"),
    ),
    (
        "role_reads_and_nothing_more",
        with_statement("RolePolicy", _allow("secretsmanager:GetSecretValue", {"Fn::Sub": ANY_SECRET})),
    ),
    ("role_reads_and_nothing_more", without_statement("RolePolicy", "ReadOwnPassword")),
    ("role_reads_and_nothing_more", without_statement("RolePolicy", "ReadOwnTrustPolicy")),
    (
        "role_reads_and_nothing_more",
        set_to(*_properties("RolePolicy", "PolicyDocument", "Statement", 0, "Resource"), value="*"),
    ),
    (
        "role_reads_and_nothing_more",
        set_to(*_properties("RolePolicy", "PolicyDocument", "Statement", 0, "Condition", "Fn::If", 2), value=NOTHING),
    ),
    (
        "role_reads_and_nothing_more",
        set_to(*_properties("RolePolicy", "PolicyDocument", "Statement", 0, "Action"), value=["ecr:ListImages"]),
    ),
    ("role_reads_and_nothing_more", without(*_properties("RolePolicy", "PolicyDocument", "Statement", 1, "Condition"))),
    (
        "rules_tell_of_every_event",
        set_to(*_properties("ImageEventsRule", "EventPattern", "resources"), value=[{"exists": True}]),
    ),
    (
        "rules_tell_of_every_event",
        set_to(*_properties("ImageEventsRule", "EventPattern", "detail-type"), value=["ECR Image Action"]),
    ),
    ("rules_tell_of_every_event", set_to(*_properties("ImageEventsRule", "EventPattern", "detail"), value=NOTHING)),
    ("rules_tell_of_every_event", set_to(*_properties("ImageEventsRule", "State"), value="DISABLED")),
    ("rules_tell_of_every_event", set_to(*_properties("RepositoryDeletionRule", "Targets"), value=[])),
    (
        "rules_tell_of_every_event",
        set_to(*_properties("EnhancedScanRule", "EventPattern", "detail-type"), value=[{"prefix": "Inspector2 "}]),
    ),
    # Instances and functions are nobody's business, and neither are repositories that the tenant did not name.
    ("rules_tell_of_every_event", without(*_properties("EnhancedScanRule", "EventPattern", "detail"))),
    ("rules_tell_of_every_event", without("Resources", "EnhancedScanRule", "Condition")),
    (
        "rules_tell_of_every_event",
        without(*_properties("RepositoryDeletionRule", "EventPattern", "detail", "eventName")),
    ),
    ("rules_tell_of_every_event", without(*_properties("StackStatusRule", "EventPattern", "detail"))),
    ("rules_tell_of_every_event", set_to(*_properties("HeartbeatRule", "ScheduleExpression"), value="rate(1 day)")),
    ("rules_tell_of_every_event", without(*_properties("HeartbeatRule", "Targets", 0, "RoleArn"))),
    (
        "rules_tell_of_every_event",
        set_to(*_properties("InvokeRole", "Policies", 0, "PolicyDocument", "Statement", 0, "Resource"), value="*"),
    ),
    ("rules_tell_of_every_event", set_to(*_properties("ApiDestination", "HttpMethod"), value="GET")),
    (
        "messages_are_what_portwarden_reads",
        without(*_properties("HeartbeatRule", "Targets", 0, "InputTransformer")),
    ),
    (
        "messages_are_what_portwarden_reads",
        set_to(*_properties("HeartbeatRule", *TRANSFORMER, "InputPathsMap", "id"), value="$.time"),
    ),
    (
        "messages_are_what_portwarden_reads",
        set_to(*_properties("StackStatusRule", *TRANSFORMER, "InputTemplate", "Fn::Sub", 1, "SecretArn"), value=""),
    ),
    (
        "messages_are_what_portwarden_reads",
        set_to(*_properties("StackStatusRule", *TRANSFORMER, "InputTemplate", "Fn::Sub", 0), value='{"id": <id>,}'),
    ),
    # Who deleted the repository is nobody's business but the tenant's.
    (
        "messages_are_what_portwarden_reads",
        without(*_properties("RepositoryDeletionRule", "Targets", 0, "InputTransformer")),
    ),
    ("a19_the_stack_says_whose_it_is", set_to("Parameters", "TenantName", "NoEcho", value=True)),
    ("a19_the_stack_says_whose_it_is", set_to("Parameters", "TenantName", "AllowedPattern", value="^.*")),
    ("a19_the_stack_says_whose_it_is", set_to("Parameters", "TenantName", "Description", value="Your name.")),
    ("a19_the_stack_says_whose_it_is", set_to("Description", value="Connects this account to Portwarden.")),
    (
        "a19_the_stack_says_whose_it_is",
        set_to("Metadata", "AWS::CloudFormation::Interface", "ParameterGroups", 0, "Parameters", 0, value="Url"),
    ),
    (
        "a19_the_stack_says_whose_it_is",
        set_to(*_properties("ApiDestination", "Description"), value="Portwarden's event endpoint."),
    ),
]


def escaped(rules, template, broken):
    """Yields each broken template that its rule lets pass, and each rule that no broken template tries."""
    by_name = {rule.__name__: rule for rule in rules}
    for number, (rule, change) in enumerate(broken):
        changed = copy.deepcopy(template)
        change(changed)
        if not list(by_name[rule](changed)):
            yield f"{rule} lets broken template {number} pass"
    for rule in set(by_name) - {rule for rule, _ in broken} - {"template_fits"}:
        yield f"{rule} was never tried"


def operator_escaped():
    """Tries the rules of the operator's template."""
    return list(escaped(operator_rules.RULES, operator_template(), OPERATOR))


def tenant_escaped():
    """Tries the rules of the tenants' template."""
    return list(escaped(tenant_rules.RULES, tenant_template(), TENANT))
