use std::sync::Arc;

use portwarden_oci::RepositoryName;
use portwarden_registry::{
    AllowedHosts, Credentials, ImageSource, Network, NetworkError, OpenRegistry, Registry, RegistryError,
};

use crate::EmulatorEndpoint;

/// Amazon ECR's registries over HTTPS, or an emulator's.
#[derive(Clone)]
pub struct EcrRegistries {
    network: Network,
    emulator: Option<EmulatorEndpoint>,
}

impl EcrRegistries {
    /// Sets up the network, once in a process.
    pub fn new(emulator: Option<EmulatorEndpoint>) -> Result<Self, NetworkError> {
        let mut network = Network::builder();
        if let Some(emulator) = &emulator {
            network = network.plain_http(format!("*.localhost:{}", emulator.port()));
        }
        Ok(Self {
            network: network.build()?,
            emulator,
        })
    }

    /// Returns the host to dial: an emulator has a registry for each name that AWS has, below `localhost`.
    fn dialled(&self, host: &str) -> String {
        let registry = host
            .strip_suffix(".amazonaws.com")
            .or_else(|| host.strip_suffix(".amazonaws.com.cn"));
        match (&self.emulator, registry) {
            (Some(emulator), Some(registry)) => format!("{registry}.localhost:{}", emulator.port()),
            _ => host.to_owned(),
        }
    }
}

impl OpenRegistry for EcrRegistries {
    fn open(
        &self,
        host: &str,
        repository: &RepositoryName,
        credentials: Credentials,
    ) -> Result<Arc<dyn ImageSource>, RegistryError> {
        let host = self.dialled(host);
        let registry = Registry::new(&self.network, &host, credentials, AllowedHosts::amazon())?;
        Ok(Arc::new(registry.repository(repository.clone())))
    }
}

#[cfg(test)]
mod tests {
    use portwarden_core::ecr::RegistryId;
    use portwarden_registry::Refusal;

    use super::*;

    fn registry(region: &str) -> RegistryId {
        RegistryId {
            account: "111122223333".parse().unwrap(),
            region: region.parse().unwrap(),
        }
    }

    #[test]
    fn an_emulator_takes_the_place_of_aws() {
        let emulator = EcrRegistries::new(Some("http://127.0.0.1:4566".parse().unwrap())).unwrap();
        let aws = EcrRegistries::new(None).unwrap();
        for (region, suffix) in [("eu-west-1", "com"), ("cn-north-1", "com.cn")] {
            let host = registry(region).host();
            assert_eq!(
                emulator.dialled(&host),
                format!("111122223333.dkr.ecr.{region}.localhost:4566")
            );
            assert_eq!(
                aws.dialled(&host),
                format!("111122223333.dkr.ecr.{region}.amazonaws.{suffix}")
            );
        }
    }

    #[test]
    fn this_machine_is_dialled_only_for_an_emulator() {
        let repository = "shop/web".parse().unwrap();
        let open = |registries: &EcrRegistries, host: &str| {
            registries
                .open(host, &repository, Credentials::Anonymous)
                .map(drop)
        };
        let host = registry("eu-west-1").host();
        let emulator = EcrRegistries::new(Some("http://127.0.0.1:4566".parse().unwrap())).unwrap();
        open(&emulator, &host).unwrap();
        let aws = EcrRegistries::new(None).unwrap();
        open(&aws, &host).unwrap();
        let refused = open(&aws, "111122223333.dkr.ecr.eu-west-1.localhost:4566").unwrap_err();
        assert!(
            matches!(
                &refused,
                RegistryError::Refused {
                    why: Refusal::InternalAddress,
                    ..
                }
            ),
            "{refused:?}"
        );
    }
}
