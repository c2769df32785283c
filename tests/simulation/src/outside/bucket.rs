use async_trait::async_trait;
use portwarden_core::object::{ObjectError, ObjectKey, ReadObject, RemoveObject, WriteObject};

use super::at_once;
use crate::{
    breach::{Breach, Invariant, hold},
    world::{Process, State},
};

#[async_trait]
impl ReadObject for Process {
    async fn read_object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, ObjectError> {
        self.call("bucket read", key, |state| {
            // The advisory database is everybody's.
            if !key.to_string().starts_with("advisories/") {
                let checked = check(state, self.id, key);
                state.judge(checked);
            }
            at_once(state.objects.read_object(key))
        })
        .await
    }
}

#[async_trait]
impl WriteObject for Process {
    async fn write_object(
        &self,
        key: &ObjectKey,
        content_type: &'static str,
        content: Vec<u8>,
    ) -> Result<(), ObjectError> {
        self.call("bucket write", key, |state| {
            let checked = check(state, self.id, key);
            state.judge(checked);
            at_once(state.objects.write_object(key, content_type, content))
        })
        .await
    }
}

#[async_trait]
impl RemoveObject for Process {
    async fn remove_object(&self, key: &ObjectKey) -> Result<(), ObjectError> {
        self.call("bucket delete", key, |state| {
            let checked = check(state, self.id, key);
            state.judge(checked);
            at_once(state.objects.remove_object(key))
        })
        .await
    }
}

fn check(state: &mut State, process: u64, key: &ObjectKey) -> Result<(), Breach> {
    state.figures.checks += 1;
    let name = key.to_string();
    let tenant = name
        .strip_prefix("tenants/")
        .and_then(|rest| rest.split_once('/'));
    let is_own = tenant.is_some_and(|(tenant, _)| state.serves(process, tenant));
    hold(is_own, Invariant::NoCrossTenantByte, || {
        format!("{name} is used in the work for {:?}", state.tenant_of(process))
    })
}
