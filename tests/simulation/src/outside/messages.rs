use std::time::Duration;

use async_trait::async_trait;
use portwarden_core::{
    announce::{Announce, AnnounceError, Announcement},
    id::TenantId,
    notification::{NotifyRequest, QueueNotify},
    work::{
        InventoryRequest, QueueError, QueueInventory, QueueScan, QueueVerify, QueueVerifyLater, ScanRequest,
        VerifyRequest,
    },
};
use portwarden_receiver::context::CountEvents;

use crate::{
    breach::{Invariant, hold},
    function::Function,
    queue::{QueueName, Request},
    world::{Job, Process, State},
};

#[async_trait]
impl QueueScan for Process {
    async fn queue_scan(&self, request: &ScanRequest) -> Result<(), QueueError> {
        self.call("queue scan", request.digest, |state| {
            self.check_message(state, &request.tenant);
            // As the template names the queues to the functions.
            let queue = if self.function == Function::Reconciler {
                QueueName::Backfill
            } else {
                QueueName::Scan
            };
            state.enqueue(queue, Request::Scan(Box::new(request.clone())));
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl QueueVerify for Process {
    async fn queue_verify(&self, request: &VerifyRequest) -> Result<(), QueueError> {
        self.call("queue verify", &request.integration, |state| {
            self.check_message(state, &request.tenant);
            let checked = state.check_asked(self.id, request);
            state.judge(checked);
            state.enqueue(QueueName::Verify, Request::Verify(Box::new(request.clone())));
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl QueueVerifyLater for Process {
    async fn queue_verify_later(&self, request: &VerifyRequest, delay: Duration) -> Result<(), QueueError> {
        self.call("queue verify later", &request.integration, |state| {
            self.check_message(state, &request.tenant);
            let request = Request::Verify(Box::new(request.clone()));
            let message = state.queues.send(QueueName::Verify, request);
            state.agenda.after(delay, Job::Arrive(QueueName::Verify, message));
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl QueueInventory for Process {
    async fn queue_inventory(&self, request: &InventoryRequest, delay: Duration) -> Result<(), QueueError> {
        self.call("queue inventory", &request.integration, |state| {
            self.check_message(state, &request.tenant);
            let request = Request::Inventory(Box::new(request.clone()));
            let message = state.queues.send(QueueName::Inventory, request);
            let wait = delay + Duration::from_millis(state.chance.between(5, 400));
            state
                .agenda
                .after(wait, Job::Arrive(QueueName::Inventory, message));
            Ok(())
        })
        .await
    }
}

impl Process {
    fn check_message(&self, state: &mut State, tenant: &TenantId) {
        state.figures.checks += 1;
        let checked = hold(
            state.serves(self.id, tenant.as_str()),
            Invariant::NoCrossTenantByte,
            || format!("work of {tenant} is queued in the work for somebody else"),
        );
        state.judge(checked);
        if let Some(serving) = state.serving.get_mut(&self.id) {
            serving.queued += 1;
        }
    }
}

impl State {
    /// Puts a message into a queue, from where it can be received soon.
    pub(crate) fn enqueue(&mut self, name: QueueName, request: Request) {
        let message = self.queues.send(name, request);
        let wait = Duration::from_millis(self.chance.between(5, 400));
        self.agenda.after(wait, Job::Arrive(name, message));
    }
}

#[async_trait]
impl Announce for Process {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        self.call("announce", announcement.detail_type(), |state| {
            let checked = match announcement {
                Announcement::ImageScanned(scanned) => {
                    let outcome =
                        serde_json::to_value(&scanned.outcome).expect("announcements can be written as JSON");
                    state.check_announcement(self.id, &scanned.tenant, scanned.digest, outcome)
                }
                Announcement::ConnectionChanged(changed) => state.check_status_told(self.id, changed),
                Announcement::CoverageChanged(changed) => hold(
                    state.serves(self.id, changed.tenant.as_str()),
                    Invariant::NoCrossTenantByte,
                    || {
                        format!(
                            "the coverage of {} is announced in the work for somebody else",
                            changed.tenant
                        )
                    },
                ),
                Announcement::FindingsChanged(data) => state.check_told_on_the_bus(self.id, data),
            };
            state.judge(checked);
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl QueueNotify for Process {
    async fn queue_notify(&self, request: &NotifyRequest, delay: Option<Duration>) -> Result<(), QueueError> {
        let scope = request.scope();
        self.call("queue notify", scope.tenant(), |state| {
            self.check_message(state, scope.tenant());
            let request = Request::Notify(Box::new(request.clone()));
            let message = state.queues.send(QueueName::Notify, request);
            let wait = delay.unwrap_or_default() + Duration::from_millis(state.chance.between(5, 400));
            state.agenda.after(wait, Job::Arrive(QueueName::Notify, message));
            Ok(())
        })
        .await
    }
}

impl CountEvents for Process {
    fn accepted(&self, kind: &'static str) {
        self.world.state().note(self.id, "count", "accepted", kind);
    }

    fn refused(&self, reason: &'static str) {
        self.world.state().note(self.id, "count", "refused", reason);
    }
}
