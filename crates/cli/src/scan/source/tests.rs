use super::*;

fn login(image: &str, is_anonymous: bool) -> Login {
    Login {
        reference: image.parse().unwrap(),
        is_anonymous,
    }
}

#[test]
fn private_registries_of_ecr_are_known_by_name() {
    for (registry, region) in [
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com", Some("eu-west-1")),
        (
            "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
            Some("cn-north-1"),
        ),
        (
            "111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            Some("us-gov-west-1"),
        ),
        ("public.ecr.aws", None),
        ("11112222333.dkr.ecr.eu-west-1.amazonaws.com", None),
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com.evil.example", None),
        ("111122223333.dkr.ecr.eu-west-1.localhost:4566", None),
    ] {
        assert_eq!(ecr_region(registry), region, "{registry}");
    }
}

#[tokio::test]
async fn ecr_is_not_asked_without_credentials() {
    let image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1.4";
    let name: ImageName = image.parse().unwrap();
    let access = AccessArgs {
        username: None,
        password_stdin: false,
        insecure_http: false,
        internal: Vec::new(),
    };
    let failure = name.open(access).await.err().unwrap();
    assert_eq!(failure.problem().code, "registry_unauthorized");
    assert_eq!(
        failure.problem().fix,
        format!(
            "log in: aws ecr get-login-password --region eu-west-1 | portwarden scan {image} --username AWS \
             --password-stdin"
        )
    );
}

#[test]
fn every_error_of_a_registry_has_a_code_and_a_fix() {
    let host = || "r.example".to_owned();
    let errors = [
        (
            RegistryError::NotFound {
                subject: "a:1".into(),
            },
            "image_not_found",
        ),
        (
            RegistryError::Unauthorized {
                host: host(),
                code: None,
            },
            "registry_unauthorized",
        ),
        (
            RegistryError::Denied {
                host: host(),
                subject: "a".into(),
                code: None,
            },
            "registry_denied",
        ),
        (
            RegistryError::Throttled {
                host: host(),
                retry_after: None,
            },
            "registry_throttled",
        ),
        (
            RegistryError::Refused {
                host: host(),
                why: Refusal::InternalAddress,
            },
            "registry_refused",
        ),
        (
            RegistryError::Refused {
                host: host(),
                why: Refusal::TooManyRedirects,
            },
            "registry_refused",
        ),
        (
            RegistryError::Protocol {
                host: host(),
                what: "nothing".into(),
            },
            "registry_failed",
        ),
    ];
    for (error, code) in errors {
        let message = error.to_string();
        let failure = login("r.example/a:1", false).failure(&error);
        assert_eq!(
            (failure.problem().code.as_ref(), &failure.problem().message),
            (code, &message)
        );
        assert!(failure.problem().fix.len() > 10, "{failure}");
    }
    let unauthorized = RegistryError::Unauthorized {
        host: host(),
        code: None,
    };
    let failure = login("r.example/a:1", true).failure(&unauthorized);
    assert!(failure.problem().fix.contains("--password-stdin"), "{failure}");
}

#[test]
fn names_that_name_nothing_have_a_fix() {
    for text in ["", "UPPER/Case", "oci:", "a b", "r.example/a@sha256:1"] {
        let failure = text.parse::<ImageName>().unwrap_err();
        assert!(failure.problem().fix.contains("oci:DIR"), "{text:?}: {failure}");
    }
}

#[test]
fn a_variant_counts_only_if_it_is_wanted() {
    let platform = |variant: Option<&str>| Platform {
        os: "linux".into(),
        architecture: "arm64".into(),
        variant: variant.map(str::to_owned),
    };
    assert!(is(&platform(Some("v8")), &platform(None)));
    assert!(is(&platform(Some("v8")), &platform(Some("v8"))));
    assert!(!is(&platform(Some("v7")), &platform(Some("v8"))));
    assert!(!is(&platform(None), &platform(Some("v8"))));
}
