use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use super::*;

/// One cause of each kind. The match below does not compile when a kind is new, and the test fails when none is here.
fn samples() -> Vec<Cause> {
    let mut causes = vec![
        Cause::OtherPartition,
        Cause::OurAccount,
        Cause::OtherAccount("444455556666".parse().unwrap()),
        Cause::Taken,
        Cause::NotPropagated,
        Cause::NotAssumable,
        Cause::OtherExternalId("pw-00000000000000000000000000".parse().unwrap()),
        Cause::RegionDisabled,
        Cause::SessionOfOtherAccount,
        Cause::CanaryClosed,
        Cause::ConnectorClosed,
        Cause::OpensWithoutExternalId,
        Cause::OpensWithOtherExternalId,
        Cause::TrustPolicyDenied,
        Cause::SecretElsewhere,
        Cause::SecretDenied,
        Cause::SecretMalformed,
        Cause::ActionDeniedByOrganization("ecr:BatchGetImage"),
        Cause::KeyClosed,
        Cause::EventPathUnproven,
        Cause::EventPathSilent {
            last: "2026-11-16T01:18:34Z".parse().unwrap(),
        },
        Cause::CredentialsWrong,
        Cause::TemplateOutdated {
            has: "1".to_owned(),
            needs: 2,
        },
        Cause::Throttled(Service::Sts),
        Cause::Unreachable(Service::Ecr),
        Cause::SessionEnded,
    ];
    let wide = [
        TooWide::Principal,
        TooWide::Others,
        TooWide::Condition,
        TooWide::OtherIds,
        TooWide::Unreadable,
    ];
    causes.extend(wide.map(Cause::TrustPolicy));
    causes.extend(DENIED.map(|(action, _)| Cause::ActionDenied(action)));
    causes
}

fn kind(cause: &Cause) -> usize {
    match cause {
        Cause::OtherPartition => 0,
        Cause::OurAccount => 1,
        Cause::OtherAccount(_) => 2,
        Cause::Taken => 3,
        Cause::NotPropagated => 4,
        Cause::NotAssumable => 5,
        Cause::RegionDisabled => 6,
        Cause::SessionOfOtherAccount => 7,
        Cause::CanaryClosed => 8,
        Cause::ConnectorClosed => 9,
        Cause::OpensWithoutExternalId => 10,
        Cause::OpensWithOtherExternalId => 11,
        Cause::TrustPolicy(_) => 12,
        Cause::TrustPolicyDenied => 13,
        Cause::SecretElsewhere => 14,
        Cause::SecretDenied => 15,
        Cause::SecretMalformed => 16,
        Cause::ActionDenied(_) => 17,
        Cause::ActionDeniedByOrganization(_) => 18,
        Cause::KeyClosed => 19,
        Cause::EventPathUnproven => 20,
        Cause::EventPathSilent { .. } => 21,
        Cause::CredentialsWrong => 22,
        Cause::TemplateOutdated { .. } => 23,
        Cause::Throttled(_) => 24,
        Cause::Unreachable(_) => 25,
        Cause::SessionEnded => 26,
        Cause::OtherExternalId(_) => 27,
    }
}

#[test]
fn the_table_of_codes_is_what_the_code_says() {
    let role = "arn:aws:iam::111122223333:role/portwarden-Role".parse().unwrap();
    let external_id = "pw-0123456789abcdefghjkmnpqrs".parse().unwrap();
    let region = "eu-central-1".parse().unwrap();
    let connector = "arn:aws:iam::999988887777:role/portwarden-connector"
        .parse()
        .unwrap();
    let subject = Subject {
        role: &role,
        external_id: &external_id,
        region: &region,
        connector: &connector,
    };
    let causes = samples();
    let kinds: BTreeSet<_> = causes.iter().map(kind).collect();
    assert_eq!(kinds.len(), 28, "a kind has no sample");
    let codes: BTreeSet<_> = causes.iter().map(Cause::code).collect();
    assert_eq!(codes.len(), causes.len(), "two causes share a code");
    let mut table = "# Verdicts\n\nWhat a probe of a connection can say, as the code says it for an example. Generated: run the \
                     verifier's tests with `UPDATE_DOCS=1`.\n\n| code | cause | fix |\n|---|---|---|\n"
        .to_owned();
    for cause in &causes {
        let problem = cause.tell(&subject);
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            table,
            "| `{}` | {} | {} |",
            problem.code,
            cell(&problem.message),
            cell(&problem.fix)
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verdicts.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), table, "run with UPDATE_DOCS=1");
}

#[test]
fn what_may_pass_by_itself_are_codes_of_ours() {
    let passing: Vec<_> = samples()
        .iter()
        .map(Cause::code)
        .filter(|code| Cause::may_pass_by_itself(code))
        .collect();
    assert_eq!(
        passing,
        [
            "role_not_propagated",
            "canary_refused",
            "connector_refused",
            "throttled",
            "unreachable",
            "session_ended"
        ]
    );
}
