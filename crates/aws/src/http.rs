//! How AWS is connected to.

use std::{sync::Once, thread};

use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connector_metadata::ConnectorMetadata,
        http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
        runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// Makes the HTTP client of a process: one pool of connections, and one set of root certificates.
pub(crate) fn client() -> SharedHttpClient {
    let client = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build_https();
    let shared = Shared {
        client,
        certificates: Once::new(),
    };
    SharedHttpClient::new(shared)
}

/// A client that reads the system's certificates once, beside everything else that a start does.
///
/// The SDK has each service's client read them anew when it is made, one after the other.
#[derive(Debug)]
struct Shared {
    client: SharedHttpClient,
    certificates: Once,
}

impl HttpClient for Shared {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.client.http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        _: &RuntimeComponentsBuilder,
        _: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.certificates.call_once(|| {
            let client = self.client.clone();
            let read = move || {
                let components = RuntimeComponentsBuilder::new("certificates");
                // What the system lacks is said by the first connection, which needs it.
                let _ = client.validate_base_client_config(&components, &ConfigBag::base());
            };
            // Without the thread they are read by the first connection, too.
            let _ = thread::Builder::new().name("certificates".to_owned()).spawn(read);
        });
        Ok(())
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}
