use proptest::prelude::*;
use serde_json::json;

use super::*;

fn event(source: &str, detail_type: &str, detail: impl serde::Serialize) -> Vec<u8> {
    json!({
        "version": "0", "id": "13cde686-328b-6117-af20-0e5566167482", "detail-type": detail_type,
        "source": source, "account": "111122223333", "time": "2026-11-16T01:54:34Z",
        "region": "us-west-2", "resources": [], "detail": detail, "replay-name": "an extra field",
    })
    .to_string()
    .into_bytes()
}

fn kind(source: &str, detail_type: &str, detail: Value) -> EventKind {
    UnverifiedEvent::parse(&event(source, detail_type, detail))
        .expect("an event")
        .kind
}

fn push(tag: impl serde::Serialize) -> Value {
    json!({"result": "SUCCESS", "repository-name": "shop/web", "image-digest": Digest::of(b"x"),
        "action-type": "PUSH", "image-tag": tag})
}

#[test]
fn absent_null_and_empty_tags_are_no_tag() {
    let hint = |tag: Option<&str>| {
        EventKind::ImagePushed(ImageHint {
            repository: "shop/web".parse().unwrap(),
            digest: Digest::of(b"x"),
            tag: tag.map(|tag| tag.parse().unwrap()),
        })
    };
    let mut untagged = push(Value::Null);
    assert_eq!(kind("aws.ecr", "ECR Image Action", untagged.clone()), hint(None));
    untagged.as_object_mut().unwrap().remove("image-tag");
    assert_eq!(kind("aws.ecr", "ECR Image Action", untagged), hint(None));
    assert_eq!(kind("aws.ecr", "ECR Image Action", push(json!(""))), hint(None));
    assert_eq!(
        kind("aws.ecr", "ECR Image Action", push(json!("1.4"))),
        hint(Some("1.4"))
    );
}

#[test]
fn what_did_not_happen_and_what_is_unknown_hints_at_nothing() {
    let mut failed = push(json!("1"));
    failed["result"] = json!("FAILED");
    assert_eq!(
        kind("aws.ecr", "ECR Replication Action", failed),
        EventKind::Other
    );
    let mut novel = push(json!("1"));
    novel["action-type"] = json!("SIGN");
    assert_eq!(kind("aws.ecr", "ECR Image Action", novel), EventKind::Other);
    assert_eq!(kind("aws.ecr", "ECR Novelty", json!([1])), EventKind::Other);
    // A type of ECR's counts only from ECR.
    assert_eq!(
        kind("aws.events", "ECR Image Action", push(json!("1"))),
        EventKind::Other
    );
}

#[test]
fn a_scan_of_ecrs_own_that_ended_says_of_which_image() {
    let hint = ImageHint {
        repository: "shop/web".parse().unwrap(),
        digest: Digest::of(b"x"),
        tag: None,
    };
    let arn = "arn:aws:ecr:us-west-2:111122223333:repository/shop/web";
    let scan = |status: &str, repository: &str| {
        json!({"scan-status": status, "repository-name": repository, "image-digest": Digest::of(b"x"),
            "finding-severity-counts": {"HIGH": 1}, "image-tags": ["1.4"]})
    };
    for (source, detail_type, status, repository) in [
        ("aws.ecr", "ECR Image Scan", "COMPLETE", "shop/web"),
        ("aws.inspector2", "Inspector2 Scan", "INITIAL_SCAN_COMPLETE", arn),
    ] {
        let found = kind(source, detail_type, scan(status, repository));
        assert_eq!(found, EventKind::RegistryScanned(hint.clone()), "{detail_type}");
    }
    for detail in [
        scan("FAILED", "shop/web"),
        scan("COMPLETE", "UPPER"),
        scan("COMPLETE", "arn:aws:ecr:us-west-2:111122223333:repository/"),
        json!({"scan-status": "COMPLETE"}),
        json!([]),
    ] {
        assert_eq!(
            kind("aws.ecr", "ECR Image Scan", detail.clone()),
            EventKind::RegistryScan,
            "{detail}"
        );
    }
    assert_eq!(
        kind("aws.inspector2", "Inspector2 Finding", scan("COMPLETE", arn)),
        EventKind::RegistryScan
    );
}

#[test]
fn only_a_deletion_that_happened_deletes_a_repository() {
    let call = |changes: Value| {
        let mut detail = json!({"eventSource": "ecr.amazonaws.com", "eventName": "DeleteRepository",
            "requestParameters": {"repositoryName": "shop/web", "force": true}});
        for (name, value) in changes.as_object().unwrap() {
            detail[name] = value.clone();
        }
        UnverifiedEvent::parse(&event("aws.ecr", "AWS API Call via CloudTrail", detail))
            .map(|event| event.kind)
    };
    let deleted = EventKind::RepositoryDeleted {
        repository: "shop/web".parse().unwrap(),
    };
    assert_eq!(call(json!({})).unwrap(), deleted);
    for other in [
        json!({"eventName": "CreateRepository"}),
        json!({"eventName": "GetAuthorizationToken", "requestParameters": null}),
        json!({"errorCode": "RepositoryNotEmptyException"}),
    ] {
        assert_eq!(call(other.clone()).unwrap(), EventKind::Other, "{other}");
    }
    for malformed in [json!(null), json!({}), json!({"repositoryName": "UPPER"})] {
        let error = call(json!({ "requestParameters": malformed })).unwrap_err();
        assert!(matches!(error, EventError::Detail { .. }), "{malformed}: {error}");
    }
}

/// `tests/template` holds these files to what the template's transformers make of AWS's events.
#[test]
fn what_a_tenants_stack_sends_is_read() {
    let read = |text: &str| UnverifiedEvent::parse(text.as_bytes()).unwrap();
    let heartbeat = read(include_str!("../../../../events/heartbeat.json"));
    let status = read(include_str!(
        "../../../../events/cloudformation_stack_status_claim.json"
    ));
    let deletion = read(include_str!(
        "../../../../events/cloudtrail_delete_repository.json"
    ));
    for event in [&heartbeat, &status] {
        let claim = event.kind.claim().unwrap();
        assert_eq!(
            claim.role.as_str(),
            "arn:aws:iam::111122223333:role/portwarden-ecr-Role-1A2B3C4D5E6F"
        );
        assert_eq!(claim.external_id.as_str(), "pw-0123456789abcdefghjkmnpqrs");
        assert_eq!(claim.template_version, "4");
    }
    assert_eq!(heartbeat.id.as_str(), "3a06e053-a072-6537-b202-ce4ace81dee7");
    assert_eq!(heartbeat.time.to_string(), "2026-11-16T01:18:34Z");
    assert!(matches!(status.kind, EventKind::StackStatus { status, .. } if status == "CREATE_COMPLETE"));
    assert_eq!(
        deletion.kind,
        EventKind::RepositoryDeleted {
            repository: "shop/web".parse().unwrap()
        }
    );
}

#[test]
fn malformed_details_are_refused_by_name() {
    for (field, value) in [
        ("repository-name", json!("UPPER")),
        ("repository-name", json!(7)),
        ("image-digest", json!("sha256:12")),
        ("image-tag", json!("<script>")),
        ("image-tag", json!(["a"])),
    ] {
        let mut detail = push(json!("1"));
        detail[field] = value;
        let error = UnverifiedEvent::parse(&event("aws.ecr", "ECR Image Action", detail)).unwrap_err();
        assert!(
            matches!(
                error,
                EventError::Detail {
                    detail_type: "ECR Image Action",
                    ..
                }
            ),
            "{field}: {error}"
        );
    }
}

#[test]
fn what_is_stored_as_it_came_is_short() {
    for status in ["", "CREATE_COMPLETE", "A".repeat(64).as_str()] {
        let detail = json!({"stack-id": "s", "status-details": {"status": status}});
        let found = kind("aws.cloudformation", "CloudFormation Stack Status Change", detail);
        assert_eq!(
            found,
            EventKind::StackStatus {
                status: status.to_owned(),
                claim: None
            }
        );
    }
    for status in ["A".repeat(65).as_str(), "A B", "A\n", "\u{202e}A"] {
        let detail = json!({"stack-id": "s", "status-details": {"status": status}});
        let bytes = event("aws.cloudformation", "CloudFormation Stack Status Change", detail);
        let error = UnverifiedEvent::parse(&bytes).unwrap_err();
        assert!(matches!(error, EventError::Detail { .. }), "{status:?}: {error}");
    }
}

#[test]
fn malformed_envelopes_are_refused_by_name() {
    let good: Value = serde_json::from_slice(&event("aws.ecr", "x", json!({}))).unwrap();
    for (field, value) in [
        ("id", "a b"),
        ("account", "1"),
        ("region", "mars"),
        ("time", "yesterday"),
        ("id", ""),
    ] {
        let mut bad = good.clone();
        bad[field] = json!(value);
        let error = UnverifiedEvent::parse(bad.to_string().as_bytes()).unwrap_err();
        assert!(
            matches!(error, EventError::Field(name) if name == field),
            "{field}: {error}"
        );
    }
    let text = good.to_string();
    let deep = text.replace("{}", &format!("{}{}", "[".repeat(500), "]".repeat(500)));
    let twice = text.replacen('{', "{\"id\":\"a\",", 1);
    let bom = format!("\u{feff}{text}");
    let nan = text.replace("{}", "NaN");
    for bytes in [
        &b""[..],
        b"[]",
        b"{}",
        b"{\"id\":\"\xff\"}",
        deep.as_bytes(),
        twice.as_bytes(),
        bom.as_bytes(),
        nan.as_bytes(),
    ] {
        let error = UnverifiedEvent::parse(bytes).unwrap_err();
        assert!(
            matches!(error, EventError::Envelope(_)),
            "{:?}: {error}",
            String::from_utf8_lossy(bytes)
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes: Vec<u8>, text in "\\PC*") {
        let _ = UnverifiedEvent::parse(&bytes);
        let _ = UnverifiedEvent::parse(&event("aws.ecr", "ECR Image Action", push(json!(text))));
    }
}
