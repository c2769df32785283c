//! The adapters of `portwarden-aws` against the emulator, which enforces identity, trust and session policies.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod roles;
mod services;
mod store;

use std::path::Path;

use portwarden_aws::Aws;
use portwarden_core::id::{AccountId, Region};
use portwarden_local::{Account, Emulator, EmulatorOptions};

/// An emulator of its own for one test; it ends with the test.
struct Cloud {
    emulator: Emulator,
    operator: Account,
    aws: Aws,
}

const OPERATOR: &str = "100000000001";
const TENANT: &str = "200000000002";
const REGION: &str = "eu-west-1";

impl Cloud {
    async fn start(test: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let options = EmulatorOptions {
            venv: root.join(".venv"),
            state: root.join("target/local/adapters").join(test),
            port: None,
            operator: account(OPERATOR),
            region: region(),
        };
        let emulator = Emulator::start(&options).await.expect("the emulator starts");
        let operator = emulator.account(&options.operator, &options.region);
        let aws = Aws::over(
            operator.sdk_config(),
            Some(
                emulator
                    .endpoint()
                    .parse()
                    .expect("the emulator is on this machine"),
            ),
        );
        Self {
            emulator,
            operator,
            aws,
        }
    }

    fn tenant(&self) -> Account {
        self.emulator.account(&account(TENANT), &region())
    }
}

fn account(text: &str) -> AccountId {
    text.parse().expect("an account")
}

fn region() -> Region {
    REGION.parse().expect("a region")
}
