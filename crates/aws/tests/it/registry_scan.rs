//! What ECR's own scanning found, as ECR answers: page by page, in two forms, or not at all.

use portwarden_aws::Ecr;
use portwarden_core::{
    ecr::{EcrError, RegistryId},
    registry_scan::{ReadRegistryScan as _, RegistryFinding, RegistryScan, RegistryScanner},
    session::Session,
};
use portwarden_oci::Digest;
use serde_json::{Value, json};

use crate::answers::{Answers, json_error};

async fn ask(answers: &Answers) -> Result<Option<RegistryScan>, EcrError> {
    let account = "111122223333";
    let session = Session {
        access_key_id: "AKIATENANT".to_owned(),
        secret_access_key: "secret".to_owned().into(),
        session_token: "token".to_owned().into(),
        expires_at: "2100-01-01T00:00:00Z".parse().unwrap(),
        account: account.parse().unwrap(),
    };
    let registry = RegistryId {
        account: account.parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
    };
    let digest = Digest::of(b"image");
    Ecr::new(&answers.aws())
        .registry_scan(&session, &registry, &"shop/web".parse().unwrap(), &digest)
        .await
}

fn answer(status: &str, findings: &Value, next: Option<&str>) -> (u16, String) {
    let mut answer = json!({"imageScanStatus": {"status": status}, "imageScanFindings": findings});
    if let Some(next) = next {
        answer["nextToken"] = json!(next);
    }
    (200, answer.to_string())
}

fn basic(name: &str, package: &str) -> Value {
    json!({"name": name, "description": "Line one.\nLine two.", "uri": format!("https://tracker.example/{name}"),
    "severity": "HIGH", "attributes": [
        {"key": "package_name", "value": package}, {"key": "package_version", "value": "1:1.2-3"},
        {"key": "CVSS2_VECTOR", "value": "AV:N/AC:L/Au:N/C:N/I:N/A:C"}, {"key": "CVSS2_SCORE", "value": "7.8"},
    ]})
}

#[tokio::test]
async fn all_pages_of_a_basic_scan_are_read_and_sorted() {
    let page = |names: &[&str], next| {
        let findings: Vec<Value> = names.iter().map(|name| basic(name, "openssl")).collect();
        let found = json!({"imageScanCompletedAt": 1_764_000_000, "findings": findings});
        answer("COMPLETE", &found, next)
    };
    let answers = Answers::start(&[
        page(&["CVE-3", "CVE-2"], Some("more")),
        page(&["CVE-1", "CVE-2"], None),
    ])
    .await;
    let scan = ask(&answers).await.unwrap().unwrap();
    assert_eq!((scan.scanner, scan.truncated), (RegistryScanner::Basic, false));
    assert_eq!(scan.completed_at.unwrap().as_second(), 1_764_000_000);
    let ids: Vec<&str> = scan.findings.iter().map(|found| found.ids[0].as_str()).collect();
    assert_eq!(ids, ["CVE-1", "CVE-2", "CVE-3"]);
    let expected = RegistryFinding {
        ids: vec!["CVE-1".to_owned()],
        package: "openssl".to_owned(),
        version: Some("1:1.2-3".to_owned()),
        severity: "HIGH".to_owned(),
        score_tenths: Some(78),
        vector: Some("AV:N/AC:L/Au:N/C:N/I:N/A:C".to_owned()),
        summary: "Line one.".to_owned(),
        links: vec!["https://tracker.example/CVE-1".to_owned()],
        ..RegistryFinding::default()
    };
    assert_eq!(scan.findings[0], expected);
    let requests = answers.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].contains("nextToken") && requests[1].contains(r#""nextToken":"more""#));
    assert!(requests[0].contains("Credential=AKIATENANT/"), "{}", requests[0]);
}

#[tokio::test]
async fn of_several_scores_the_newest_counts_and_an_empty_word_is_none() {
    let attributes = [
        ("CVSS3_SCORE", "9.8"),
        ("package_version", ""),
        ("CVSS2_SCORE", "7.5"),
        ("CVSS3_VECTOR", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
        ("package_name", "glib2.0"),
        ("CVSS2_VECTOR", "AV:N/AC:L/Au:N/C:P/I:P/A:P"),
    ]
    .map(|(key, value)| json!({"key": key, "value": value}));
    let named = json!({"name": "CVE-1", "severity": "CRITICAL", "attributes": attributes});
    let nameless = json!({"name": "CVE-2", "severity": "LOW", "attributes": [{"key": "package_name"}]});
    let answers = Answers::start(&[answer("COMPLETE", &json!({"findings": [named, nameless]}), None)]).await;
    let scan = ask(&answers).await.unwrap().unwrap();
    let expected = RegistryFinding {
        ids: vec!["CVE-1".to_owned()],
        package: "glib2.0".to_owned(),
        severity: "CRITICAL".to_owned(),
        score_tenths: Some(98),
        vector: Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H".to_owned()),
        ..RegistryFinding::default()
    };
    assert_eq!(scan.findings, [expected]);
}

#[tokio::test]
async fn an_endless_list_ends() {
    let findings = json!({"findings": [basic("CVE-1", "a")]});
    let answers = Answers::start(&[answer("COMPLETE", &findings, Some("more"))]).await;
    let scan = ask(&answers).await.unwrap().unwrap();
    assert!(scan.truncated);
    assert_eq!((scan.findings.len(), answers.requests().len()), (1, 20));
}

#[tokio::test]
async fn an_enhanced_finding_is_one_for_each_package() {
    let finding = json!({
        "severity": "CRITICAL", "status": "ACTIVE", "score": 9.8, "title": "t", "description": "d",
        "packageVulnerabilityDetails": {
            "vulnerabilityId": "GHSA-1", "relatedVulnerabilities": ["CVE-1"], "sourceUrl": "https://a.example/1",
            "referenceUrls": ["https://a.example/1", "https://a.example/2"], "vendorCreatedAt": 1_700_000_000,
            "cvss": [
                {"version": "2.0", "baseScore": 5.0, "scoringVector": "old"},
                {"version": "3.1", "baseScore": 9.8, "scoringVector": "new"},
            ],
            "vulnerablePackages": [
                {"name": "bash", "version": "5.1", "release": "9", "epoch": 1, "packageManager": "OS", "fixedInVersion": "1:5.1-10"},
                {"name": "g:a", "version": "2.14.1", "epoch": 0, "packageManager": "JAR", "fixedInVersion": "NotAvailable"},
                {"version": "without a name"},
            ],
        },
    });
    let mut closed = finding.clone();
    closed["status"] = json!("CLOSED");
    let findings = json!({"enhancedFindings": [finding, closed, {"severity": "LOW", "status": "ACTIVE"}]});
    let answers = Answers::start(&[answer("ACTIVE", &findings, None)]).await;
    let scan = ask(&answers).await.unwrap().unwrap();
    assert_eq!(scan.scanner, RegistryScanner::Enhanced);
    let seen: Vec<_> = scan
        .findings
        .iter()
        .map(|found| {
            (
                found.package.as_str(),
                found.version.as_deref(),
                found.fixed.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("bash", Some("1:5.1-9"), Some("1:5.1-10")),
            ("g:a", Some("2.14.1"), None)
        ]
    );
    let first = &scan.findings[0];
    assert_eq!(first.ids, ["GHSA-1", "CVE-1"]);
    assert_eq!(
        (first.score_tenths, first.vector.as_deref()),
        (Some(98), Some("new"))
    );
    assert_eq!(first.links, ["https://a.example/1", "https://a.example/2"]);
    assert_eq!(first.published.unwrap().as_second(), 1_700_000_000);
}

#[tokio::test]
async fn without_a_scan_that_ended_well_there_is_nothing() {
    let statuses = [
        "IN_PROGRESS",
        "FAILED",
        "UNSUPPORTED_IMAGE",
        "PENDING",
        "SOMETHING_NEW",
    ];
    let mut all: Vec<_> = statuses
        .iter()
        .map(|status| answer(status, &json!({"findings": []}), None))
        .collect();
    all.push((200, "{}".to_owned()));
    let refusals = [
        "ScanNotFoundException",
        "ImageNotFoundException",
        "ValidationException",
    ];
    all.extend(refusals.map(|code| json_error(400, code)));
    for given in all {
        let answers = Answers::start(std::slice::from_ref(&given)).await;
        assert_eq!(ask(&answers).await.unwrap(), None, "{given:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_from_a_failure() {
    for (given, is_expected) in [
        (
            json_error(400, "AccessDeniedException"),
            (|error| {
                matches!(
                    error,
                    EcrError::Denied {
                        action: "ecr:DescribeImageScanFindings",
                        ..
                    }
                )
            }) as fn(&EcrError) -> bool,
        ),
        (json_error(400, "ThrottlingException"), |error| {
            matches!(error, EcrError::Throttled)
        }),
        (json_error(400, "ExpiredTokenException"), |error| {
            matches!(error, EcrError::Expired)
        }),
        (json_error(500, "ServerException"), |error| {
            matches!(error, EcrError::Unreachable(_))
        }),
    ] {
        let answers = Answers::start(std::slice::from_ref(&given)).await;
        let error = ask(&answers).await.unwrap_err();
        assert!(is_expected(&error), "{given:?}: {error:?}");
    }
}
