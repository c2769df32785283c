//! The schemas in the repository are those of the types, and what is written is valid by them.

use std::path::PathBuf;

use portwarden_core::{
    announce::{Announcement, ConnectionChanged, CoverageChanged, ImageScanned},
    id::{NotificationId, TenantId},
    image::{Location, Presence},
    integration::Light,
    reconcile::MissedPushes,
    work::KnownBy,
};
use portwarden_report::{
    ChangeReason, ChangedPlace, FindingsChanged, ImageFindings, Report, Snapshot, Suppressions, compare,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    formats::judge,
    shop::{findings, now, shop},
};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(name)
}

/// Writes the schema of what is written, as opposed to what would be read.
fn schema_of<T: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut text = serde_json::to_string_pretty(&generator.into_root_schema_for::<T>()).unwrap();
    text.push('\n');
    text
}

/// Compares a file with its type; `UPDATE_SCHEMAS=1` writes it anew.
fn assert_current<T: JsonSchema>(name: &str) {
    let schema = schema_of::<T>();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(file(name), &schema).unwrap();
    }
    let kept = std::fs::read_to_string(file(name)).unwrap_or_default();
    assert!(
        kept == schema,
        "schema/{name} is not the type's: run the tests with UPDATE_SCHEMAS=1, and raise the SCHEMA_VERSION if readers break"
    );
}

#[test]
fn the_schemas_are_those_of_the_types() {
    assert_current::<Report>("report.schema.json");
    assert_current::<ImageFindings>("findings.schema.json");
    assert_current::<FindingsChanged>("findings_changed.schema.json");
    assert_current::<ImageScanned>("image_scanned.schema.json");
    assert_current::<ConnectionChanged>("connection_changed.schema.json");
    assert_current::<CoverageChanged>("coverage_changed.schema.json");
}

const VALIDATE: &str = "
import json, sys
try:
    import jsonschema
except Exception as error:
    print(f'missing: jsonschema ({error})')
    sys.exit()
case = json.load(sys.stdin)
validator = jsonschema.Draft202012Validator(case['schema'], format_checker=jsonschema.FormatChecker())
jsonschema.Draft202012Validator.check_schema(case['schema'])
errors = [f'{list(error.absolute_path)}: {error.message}'[:500] for error in validator.iter_errors(case['document'])]
print(errors[:5] or 'valid')
";

fn verdict(name: &str, document: &Value) -> Option<String> {
    let schema: Value = serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap();
    let case = json!({"schema": schema, "document": document});
    judge(VALIDATE, case.to_string().as_bytes())
}

fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).unwrap()
}

fn location() -> Location {
    Location {
        integration: "operator".parse().unwrap(),
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
        presence: Presence::Present {
            tags: ["1.4", "latest"].map(|tag| tag.parse().unwrap()).into(),
            pushed_at: None,
            archived: false,
        },
        observed_at: now(),
        known_by: KnownBy::Event,
        known_at: now(),
    }
}

fn scanned(report: &Report) -> Announcement {
    let at = location();
    Announcement::ImageScanned(Box::new(ImageScanned {
        tenant: TenantId::operator(),
        integration: at.integration,
        account: at.account,
        region: at.region,
        repository: at.repository,
        digest: report.image.digest,
        tags: vec!["1.4".parse().unwrap()],
        catalog_version: 1,
        outcome: portwarden_core::image::ScanResult::Reported {
            packages: 3,
            partial: false,
            pulled_bytes: 10,
            spared_bytes: 0,
        },
        report: Some("tenants/operator/images/a/1/report.json".to_owned()),
        sbom: None,
        findings: Some([("high".to_owned(), 2)].into()),
        at: now(),
        trace_id: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
    }))
}

fn connection() -> Announcement {
    Announcement::ConnectionChanged(ConnectionChanged {
        tenant: TenantId::operator(),
        integration: "operator".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        number: 2,
        status: Light::Amber,
        code: Some("stack_silent".to_owned()),
        sentence: "The stack is silent.".to_owned(),
        at: now(),
        trace_id: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
    })
}

fn coverage(is_missing: bool) -> Announcement {
    let at = location();
    Announcement::CoverageChanged(CoverageChanged {
        tenant: TenantId::operator(),
        integration: at.integration,
        region: at.region,
        missed: is_missing.then(|| MissedPushes {
            count: 3,
            first_at: now(),
            last_at: now(),
            repository: at.repository,
            digest: portwarden_oci::Digest::of(b"x"),
            rule_is_silent: true,
        }),
        at: now(),
        trace_id: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
    })
}

#[test]
fn what_is_written_is_valid() {
    let (report, mut found) = shop();
    let mut suppressions = Suppressions::default();
    suppressions
        .add_rules(
            "r",
            b"rules: [{id: CVE-2026-0001, reason: r, expires: 2027-01-01}, {id: CVE-2026-0002, reason: r, expires: 2026-01-01}]",
        )
        .unwrap();
    suppressions.apply(&mut found, Some(&report), now());
    let none = findings(&report, &[]);
    let changes = compare(
        &Snapshot::of_report(&report, &none),
        &Snapshot::of_report(&report, &found),
        None,
    )
    .unwrap();
    for (name, document) in [
        ("report.schema.json", value(&report)),
        ("findings.schema.json", value(&found)),
        ("findings.schema.json", value(&none)),
        (
            "findings_changed.schema.json",
            value(&FindingsChanged {
                id: NotificationId::of(now(), &["a"]),
                at: now(),
                tenant: TenantId::operator(),
                reason: ChangeReason::TagMoved,
                places: vec![ChangedPlace::of(&location())],
                trace_id: Some("1-5759e988-bd862e3fe1be46a994272793".parse().unwrap()),
                changes: changes.event(&none, &found),
            }),
        ),
        ("image_scanned.schema.json", value(&scanned(&report))),
        ("connection_changed.schema.json", value(&connection())),
        ("coverage_changed.schema.json", value(&coverage(false))),
        ("coverage_changed.schema.json", value(&coverage(true))),
    ] {
        let Some(said) = verdict(name, &document) else {
            return;
        };
        assert_eq!(said, "valid", "{name}");
        // The check can fail: a wrong type, and a missing field.
        for broken in [json!([]), json!({})] {
            assert_ne!(verdict(name, &broken).unwrap(), "valid", "{name}");
        }
    }
    let mut odd = value(&found);
    odd["platforms"][0]["findings"][0]["severity"]["level"] = json!("awful");
    assert_ne!(verdict("findings.schema.json", &odd).unwrap(), "valid");
}
