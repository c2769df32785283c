//! The seasons of a run: things go wrong, then nothing does any more and all comes to rest, and then a month passes.

use std::time::Duration;

use jiff::SignedDuration;

use super::Run;
use crate::{
    Faults,
    function::Function,
    lambda::Payload,
    queue::{QueueName, Request},
    world::{Job, Work},
};

/// How often the operator moves dead letters back.
pub(super) const REDRIVE: Duration = Duration::from_mins(20);

/// How often the schedule has the verifier go round, and in how many rounds it looks at everybody.
const ROUND: Duration = Duration::from_mins(5);
const ALL_LOOKED_AT: u32 = 3;

/// How long the world goes on as it is after the last event, before nothing goes wrong any more.
const AFTERMATH: SignedDuration = SignedDuration::from_hours(1);

/// How long stacks go on from then on: every region is tested and compared with ECR once more when its role is proven.
const CALM: SignedDuration = SignedDuration::from_hours(34);

/// When everything must have come to rest, after the last event.
const REST: SignedDuration = SignedDuration::from_hours(38);

/// How often rounds are made while it is calm: a day's slots come all the same, some at once.
const SELDOM: Duration = Duration::from_hours(3);

/// When rounds are made after all has come to rest, in hours: seven days of refusals make a goodbye.
const AFTERWARDS: [u64; 7] = [36, 72, 108, 144, 180, 210, 230];

/// When what is known of those who went may be deleted, all of it.
const A_MONTH: Duration = Duration::from_hours(41 * 24);

/// In how many rounds it must be deleted.
const MOST_ROUNDS: u32 = 120;

impl Run {
    /// Has the verifier go round, and again when it is time.
    pub(super) fn go_round(&mut self, more: u32) {
        self.lambda
            .invoke(Function::Verifier, Work::Round, None, Payload::Round);
        let state = &mut *self.world.state();
        state.figures.rounds += 1;
        if !self.is_calm {
            state.agenda.after(ROUND, Job::Round(0));
        } else if more > 0 && !(state.is_silent && state.is_all_purged()) {
            state.agenda.after(ROUND, Job::Round(more - 1));
        } else if !state.is_silent {
            state.agenda.after(SELDOM, Job::Round(ALL_LOOKED_AT - 1));
        }
    }

    /// Moves dead letters back, and goes on to the next season when it is time.
    pub(super) fn redrive(&mut self) {
        let state = &mut *self.world.state();
        let now = state.now();
        let is_over = |time: SignedDuration| {
            self.last_event
                .is_some_and(|last| now.duration_since(last) > time)
        };
        let is_calm = is_over(AFTERMATH);
        if is_calm {
            self.is_calm = true;
            state.faults = Faults::NONE;
            state.cloud.is_muzzled = false;
        }
        let (closed, is_at_rest) = (state.closed(), self.is_at_rest);
        for name in QueueName::ALL {
            // Nobody moves back what fails as before, but when it is to be dropped at last.
            let may_succeed = |request: &Request| {
                let is_closed = request
                    .integration()
                    .is_some_and(|integration| closed.contains(integration));
                !is_closed || !is_calm || is_at_rest
            };
            for message in state.queues.redrive(name, may_succeed) {
                state.figures.dead_letters += 1;
                state
                    .agenda
                    .after(Duration::from_millis(5), Job::Arrive(name, message));
            }
        }
        let checked = state.check_trust().and_then(|()| state.check_known());
        state.judge(checked);
        if self.is_at_rest {
            return;
        }
        state.is_silent = is_over(AFTERMATH + CALM);
        let waits = state.unfinished().next().is_some() || state.bridge.waiting() > 0;
        if is_over(REST) || (state.is_silent && !waits) {
            self.is_at_rest = true;
            let checked = state.check_end();
            state.judge(checked);
            for hours in AFTERWARDS {
                state
                    .agenda
                    .after(Duration::from_hours(hours), Job::Round(ALL_LOOKED_AT - 1));
            }
            state.agenda.after(A_MONTH, Job::Round(MOST_ROUNDS));
            state.agenda.after(A_MONTH, Job::Redrive);
        } else {
            state.agenda.after(REDRIVE, Job::Redrive);
        }
    }

    /// Lets owners look at their connections, as long as there is anything to mend.
    pub(super) fn inspect(&mut self) {
        let state = &mut *self.world.state();
        state.inspect(self.is_calm, &self.people);
        let is_over = self.last_event.is_some_and(|last| {
            state.now().duration_since(last) > AFTERMATH + SignedDuration::from_hours(12)
        });
        if !is_over {
            state.agenda.after(super::INSPECTION, Job::Inspect);
        }
    }
}
