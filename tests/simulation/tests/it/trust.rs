//! The simulated STS decides about thousands of generated trust policies as an independent simulator does.

use portwarden_core::random::{OsRandomness, Randomness as _};
use portwarden_simulation::{
    Chance,
    policy::{Context, Decision, Policy, Principal, Request},
};
use serde_json::{Map, Value, json};

use crate::oracle::Oracle;

const OPERATOR: &str = "999988887777";
const RIGHT: &str = "pw-0123456789abcdefghjkmnpqrs";

/// How many policies are generated, and how many are judged at a time.
const BATCHES: usize = 12;
const BATCH: usize = 250;

const OPERATORS: [&str; 11] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "ArnEquals",
    "ArnLike",
    "ArnNotLike",
    "ArnNotEquals",
    "Bool",
];

fn ids() -> Vec<String> {
    let texts = [
        RIGHT,
        "pw-0123456789abcdefghjkmnpqr0",
        "*",
        "pw-*",
        "pw-?123456789abcdefghjkmnpqrs",
        "",
        "another",
    ];
    let mut ids: Vec<String> = texts.map(str::to_owned).to_vec();
    ids.push(RIGHT.to_uppercase());
    ids
}

fn principals() -> Vec<Value> {
    [
        "*",
        OPERATOR,
        "arn:aws:iam::999988887777:root",
        "arn:aws:iam::999988887777:role/portwarden-connector",
        "arn:aws:sts::999988887777:assumed-role/portwarden-connector/verify-1",
        "arn:aws:iam::999988887777:role/other",
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:role/portwarden-connector",
    ]
    .map(Value::from)
    .to_vec()
}

fn pick<T: Clone>(chance: &mut Chance, from: &[T]) -> T {
    chance.pick(from).unwrap().clone()
}

/// One, or a list of some.
fn one_or_some(chance: &mut Chance, from: &[Value]) -> Value {
    if chance.per_mille(600) {
        return pick(chance, from);
    }
    let count = 1 + chance.below(3);
    (0..count).map(|_| pick(chance, from)).collect()
}

fn condition(chance: &mut Chance) -> Value {
    let mut condition = Map::new();
    for _ in 0..chance.below(3) {
        let (operator, key, values) = match chance.below(6) {
            0 => {
                let values = [json!("true"), json!("false")];
                ("Null".to_owned(), "sts:ExternalId", one_or_some(chance, &values))
            }
            1 => {
                let arns = [
                    json!("arn:aws:iam::999988887777:role/portwarden-connector"),
                    json!("arn:aws:iam::*:role/*"),
                    json!("arn:aws:iam::999988887777:role/other"),
                ];
                let operator = pick(chance, &OPERATORS[6..10]).to_owned();
                (operator, "aws:PrincipalArn", one_or_some(chance, &arns))
            }
            2 => {
                let values = [json!("true"), json!("false")];
                (
                    "Bool".to_owned(),
                    "aws:SecureTransport",
                    one_or_some(chance, &values),
                )
            }
            _ => {
                let set = ["", "", "", "ForAnyValue:", "ForAllValues:"];
                let suffix = ["", "", "IfExists"];
                let (set, suffix) = (pick(chance, &set), pick(chance, &suffix));
                let operator = format!("{set}{}{suffix}", pick(chance, &OPERATORS[..6]));
                let key = pick(chance, &["sts:ExternalId", "sts:externalid", "STS:ExternalId"]);
                let ids: Vec<Value> = ids().into_iter().map(Value::from).collect();
                (operator, key, one_or_some(chance, &ids))
            }
        };
        condition.insert(operator, json!({ key: values }));
    }
    Value::Object(condition)
}

fn statement(chance: &mut Chance) -> Value {
    let principal = match chance.below(8) {
        0 => json!("*"),
        1 => json!({"Service": "lambda.amazonaws.com"}),
        _ => json!({"AWS": one_or_some(chance, &principals())}),
    };
    let actions = [
        "sts:AssumeRole",
        "sts:*",
        "STS:assumerole",
        "sts:Assume*",
        "sts:TagSession",
        "*",
    ];
    let actions: Vec<Value> = actions.map(Value::from).to_vec();
    let mut statement = json!({
        "Effect": if chance.per_mille(750) { "Allow" } else { "Deny" },
        "Principal": principal,
        "Action": one_or_some(chance, &actions),
    });
    if chance.per_mille(800) {
        statement["Condition"] = condition(chance);
    }
    statement
}

fn policy(chance: &mut Chance) -> Value {
    let statements = match chance.below(4) {
        0 | 1 => statement(chance),
        2 => json!([statement(chance)]),
        _ => json!([statement(chance), statement(chance)]),
    };
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// What both are asked: a session, with one id or none.
struct Question {
    principal: Principal,
    context: Context,
}

fn questions() -> Vec<Question> {
    let ids = [
        None,
        Some(RIGHT),
        Some("another"),
        Some("PW-0123456789ABCDEFGHJKMNPQRS"),
    ];
    let roles = [
        (OPERATOR, "portwarden-connector"),
        (OPERATOR, "other"),
        ("444455556666", "portwarden-connector"),
    ];
    let mut questions = Vec::new();
    for (account, role) in roles {
        for id in ids {
            let principal = Principal::session(account, role, "verify-1");
            let mut context = Context::default()
                .with("aws:PrincipalArn", format!("arn:aws:iam::{account}:role/{role}"))
                .with("aws:SecureTransport", "true");
            if let Some(id) = id {
                context = context.with("sts:ExternalId", id);
            }
            questions.push(Question { principal, context });
        }
    }
    questions
}

fn ask_oracle(policy: &Value, question: &Question) -> Value {
    let context: Map<String, Value> = question
        .context
        .iter()
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    json!({
        "principal": question.principal.session_arn(), "action": "sts:AssumeRole",
        "resource": "arn:aws:iam::111122223333:role/r", "resourceAccount": "111122223333", "context": context,
        "identityPolicies": [{
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}],
        }],
        "resourcePolicy": policy,
    })
}

#[test]
fn generated_trust_policies_are_judged_as_by_an_independent_simulator() {
    let mut oracle = match Oracle::start() {
        Ok(oracle) => oracle,
        Err(reason) => {
            println!("not run: the IAM simulator ({reason})");
            return;
        }
    };
    let mut bytes = [0; 4];
    OsRandomness.fill(&mut bytes);
    let seed = u32::from_le_bytes(bytes);
    let mut chance = Chance::of(seed.into());
    let questions = questions();
    let (mut differences, mut counts) = (Vec::new(), [0; 3]);
    for _ in 0..BATCHES {
        let policies: Vec<Value> = (0..BATCH).map(|_| policy(&mut chance)).collect();
        let asked: Vec<_> = policies
            .iter()
            .map(|policy| (policy, pick_question(&mut chance, &questions)))
            .collect();
        let requests: Vec<Value> = asked
            .iter()
            .map(|(policy, question)| ask_oracle(policy, question))
            .collect();
        for ((policy, question), expected) in asked.iter().zip(oracle.judge::<String>(&requests)) {
            let read: Policy = serde_json::from_value((*policy).clone()).unwrap();
            let decision = read.decide(&Request {
                principal: &question.principal,
                action: "sts:AssumeRole",
                context: &question.context,
            });
            let decision = match decision {
                Decision::Allowed => "Allowed",
                Decision::ImplicitlyDenied => "ImplicitlyDenied",
                Decision::ExplicitlyDenied => "ExplicitlyDenied",
            };
            counts[["Allowed", "ImplicitlyDenied", "ExplicitlyDenied"]
                .iter()
                .position(|name| *name == expected)
                .unwrap()] += 1;
            if decision != expected {
                let context: Vec<_> = question.context.iter().collect();
                differences.push(format!(
                    "{decision}, and the simulator says {expected}: {policy} for {} with {context:?}",
                    question.principal.session_arn()
                ));
            }
        }
    }
    let total = BATCHES * BATCH;
    assert!(
        differences.is_empty(),
        "seed {seed}: {} of {total} differ\n{}",
        differences.len(),
        differences[..differences.len().min(8)].join("\n")
    );
    // Each answer is given often enough to mean something.
    assert!(counts.iter().all(|count| *count > total / 20), "{counts:?}");
}

fn pick_question<'q>(chance: &mut Chance, questions: &'q [Question]) -> &'q Question {
    chance.pick(questions).unwrap()
}
