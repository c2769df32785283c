use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::{account::Account, cloud::LocalCloud, error::LocalError};

/// Where things are while a local cloud runs, for scripts; its secrets open nothing but that cloud.
#[derive(Clone, Serialize, Deserialize)]
pub struct StackFile {
    /// The base URL of the HTTP API.
    pub api: String,
    /// The base URL of the AWS APIs.
    pub emulator: String,
    /// The first tenant's registry, as container tools name it.
    pub registry: String,
    /// The operator's account, where the stack is.
    pub account: String,
    /// The operator's region.
    pub region: String,
    /// The outputs of the stack.
    pub outputs: BTreeMap<String, String>,
    /// The connected accounts.
    pub tenants: Vec<TenantEntry>,
}

/// One connected account.
#[derive(Clone, Serialize, Deserialize)]
pub struct TenantEntry {
    /// The tenant's id.
    pub tenant: String,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The integration's id.
    pub integration: String,
    /// Where events go.
    pub events_url: String,
    /// The user name that they go with.
    pub username: String,
    /// The password that they go with.
    pub password: String,
    /// The role that the tenant's stack made.
    pub role_arn: String,
    /// The ExternalId that the role demands.
    pub external_id: String,
    /// The account's registry, as container tools name it.
    pub registry: String,
}

impl StackFile {
    /// Returns where the file lies below the directory of a local cloud's files.
    pub fn path(state: &Path) -> PathBuf {
        state.join("stack.json")
    }

    /// Reads the file of the local cloud that runs with this directory.
    pub fn read(state: &Path) -> Result<Self, LocalError> {
        let path = Self::path(state);
        let text = fs::read(&path).map_err(|_| LocalError::NotRunning {
            state: state.to_owned(),
        })?;
        serde_json::from_slice(&text).map_err(|error| LocalError::file(&path, error.into()))
    }

    /// Returns the first tenant's account in the running emulator.
    pub(super) fn first_account(&self) -> Result<Account, LocalError> {
        let tenant = self
            .tenants
            .first()
            .ok_or_else(|| LocalError::call("find a tenant", "no account is connected"))?;
        let id = tenant
            .account
            .parse()
            .map_err(|error| LocalError::call("read an account", error))?;
        let region = tenant
            .region
            .parse()
            .map_err(|error| LocalError::call("read a region", error))?;
        Ok(Account::new(self.emulator.clone(), id, region))
    }

    pub(super) fn of(cloud: &LocalCloud) -> Result<Self, LocalError> {
        let tenants: Vec<TenantEntry> = cloud
            .tenants()
            .iter()
            .map(|tenant| TenantEntry {
                tenant: tenant.id.to_string(),
                account: tenant.account.id().to_string(),
                region: tenant.account.region().to_string(),
                integration: tenant.integration.to_string(),
                events_url: tenant.events_url.to_string(),
                username: tenant.auth.username.clone(),
                password: tenant.auth.password.expose_secret().to_owned(),
                role_arn: tenant.role.to_string(),
                external_id: tenant.external_id.to_string(),
                registry: tenant.registry.name(),
            })
            .collect();
        Ok(Self {
            api: cloud.api()?,
            emulator: cloud.emulator_endpoint(),
            registry: tenants
                .first()
                .map(|tenant| tenant.registry.clone())
                .unwrap_or_default(),
            account: cloud.operator().id().to_string(),
            region: cloud.operator().region().to_string(),
            outputs: cloud.stack().outputs.clone(),
            tenants,
        })
    }

    /// Writes the file; it goes when the guard is dropped.
    pub(super) fn write(&self, state: &Path) -> Result<Written, LocalError> {
        let path = Self::path(state);
        let new = state.join("stack.json.new");
        let fail = |source| LocalError::file(&path, source);
        let text = serde_json::to_string_pretty(self).map_err(|error| fail(error.into()))?;
        // Whole or not at all, since scripts wait for it; passwords are for nobody else.
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        fs::rename(&new, &path).map_err(fail)?;
        Ok(Written(path))
    }
}

/// A stack file that describes something that runs.
pub(super) struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // What it describes is gone; who removed it before has done the same.
        let _ = fs::remove_file(&self.0);
    }
}
