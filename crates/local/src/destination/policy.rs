use std::{fmt, time::Duration};

use reqwest::StatusCode;

/// How long and how often a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How old an event may become.
    pub max_age: Duration,
    /// How often it may be tried again after the first attempt.
    pub max_retries: u32,
    /// The wait before the first retry; each further one is up to twice as long.
    pub first_delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

impl RetryPolicy {
    /// What EventBridge does unless a rule says otherwise: 24 hours and 185 retries.
    ///
    /// The waits are not published; with these the retries end when the event is a day old.
    pub const EVENT_BRIDGE: Self = Self {
        max_age: Duration::from_hours(24),
        max_retries: 185,
        first_delay: Duration::from_secs(1),
        max_delay: Duration::from_mins(10),
    };
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The endpoint answered.
    Answered {
        /// The status.
        status: StatusCode,
        /// When it wants to see the event again.
        retry_after: RetryAfter,
    },
    /// The endpoint did not answer in time.
    TimedOut,
    /// Nobody listens there, or the connection broke.
    Unreachable,
    /// The connection has no secret any more, so nothing was sent.
    Deauthorized,
}

/// The meaning of a `Retry-After` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// There is none that could be read.
    NotGiven,
    /// Not before so much time has passed.
    Wait(Duration),
    /// Never again: the number was negative.
    Never,
}

impl RetryAfter {
    pub(super) fn from_seconds(seconds: i64) -> Self {
        u64::try_from(seconds).map_or(Self::Never, |seconds| Self::Wait(Duration::from_secs(seconds)))
    }
}

/// Why an event is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The endpoint's answer is not one that is retried.
    Refused(StatusCode),
    /// The endpoint asked for no retry.
    RetryForbidden(StatusCode),
    /// Retries were of no use.
    Exhausted {
        /// Which limit was reached.
        limit: Exhausted,
        /// How the last attempt ended.
        last: Attempt,
    },
}

/// A limit of a [`RetryPolicy`], named as in the message attributes of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// `MaximumRetryAttempts`.
    Retries,
    /// `MaximumEventAgeInSeconds`.
    Age,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "the endpoint answered {status}, which is not retried"),
            Self::RetryForbidden(status) => write!(f, "the endpoint answered {status} and forbade a retry"),
            Self::Exhausted {
                last: Attempt::Answered { status, .. },
                ..
            } => {
                write!(f, "retries ended; the endpoint last answered {status}")
            }
            Self::Exhausted {
                last: Attempt::TimedOut,
                ..
            } => f.write_str("retries ended; the endpoint last took too long"),
            Self::Exhausted {
                last: Attempt::Unreachable,
                ..
            } => f.write_str("retries ended; the endpoint could not be reached"),
            Self::Exhausted {
                last: Attempt::Deauthorized,
                ..
            } => f.write_str("retries ended; the connection is de-authorised"),
        }
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Delivered(StatusCode),
    DeadLetter(Cause),
    RetryIn(Duration),
}

impl RetryPolicy {
    /// Decides after the attempt number `attempts` of an event of `age`; `fraction` is a random number from 0 to 1.
    pub(super) fn next(&self, attempt: &Attempt, attempts: u32, age: Duration, fraction: f64) -> Next {
        let mut at_least = Duration::ZERO;
        if let Attempt::Answered { status, retry_after } = *attempt {
            if status.is_success() {
                return Next::Delivered(status);
            }
            if !is_retried(status) {
                return Next::DeadLetter(Cause::Refused(status));
            }
            match retry_after {
                RetryAfter::Never => return Next::DeadLetter(Cause::RetryForbidden(status)),
                RetryAfter::Wait(time) => at_least = time,
                RetryAfter::NotGiven => {}
            }
        }
        let exhausted = |limit| {
            Next::DeadLetter(Cause::Exhausted {
                limit,
                last: *attempt,
            })
        };
        if attempts > self.max_retries {
            return exhausted(Exhausted::Retries);
        }
        // The more conservative of the endpoint's wish and the policy wins.
        let delay = self.delay(attempts, fraction).max(at_least);
        if age.saturating_add(delay) > self.max_age {
            return exhausted(Exhausted::Age);
        }
        Next::RetryIn(delay)
    }

    /// Doubles with each attempt, and is between half of that and all of it by chance.
    fn delay(&self, attempts: u32, fraction: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let longest = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        longest.mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0)
    }
}

/// Source: EventBridge user guide, "API destinations", error codes that are retried.
fn is_retried(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 407 | 409 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy::EVENT_BRIDGE;

    fn answered(status: u16, retry_after: RetryAfter) -> Attempt {
        Attempt::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after,
        }
    }

    fn next(attempt: Attempt, attempts: u32, age: Duration) -> Next {
        POLICY.next(&attempt, attempts, age, 1.0)
    }

    #[test]
    fn every_status_is_delivered_retried_or_refused() {
        for status in 100..=599 {
            let code = StatusCode::from_u16(status).unwrap();
            let expected = match status {
                200..=299 => Next::Delivered(code),
                401 | 407 | 409 | 429 | 500..=599 => Next::RetryIn(Duration::from_secs(1)),
                _ => Next::DeadLetter(Cause::Refused(code)),
            };
            assert_eq!(
                next(answered(status, RetryAfter::NotGiven), 1, Duration::ZERO),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn the_longer_of_retry_after_and_the_policy_wins() {
        let wait = |seconds| RetryAfter::Wait(Duration::from_secs(seconds));
        for (retry_after, attempts, seconds) in [
            (wait(0), 1, 1),
            (wait(60), 1, 60),
            (wait(60), 8, 128),
            (wait(3600), 30, 3600),
            (RetryAfter::NotGiven, 30, 600),
        ] {
            assert_eq!(
                next(answered(429, retry_after), attempts, Duration::ZERO),
                Next::RetryIn(Duration::from_secs(seconds)),
                "{retry_after:?} after {attempts}"
            );
        }
    }

    #[test]
    fn a_negative_retry_after_ends_the_retries() {
        assert_eq!(RetryAfter::from_seconds(-1), RetryAfter::Never);
        assert_eq!(RetryAfter::from_seconds(0), RetryAfter::Wait(Duration::ZERO));
        assert_eq!(
            next(answered(503, RetryAfter::Never), 1, Duration::ZERO),
            Next::DeadLetter(Cause::RetryForbidden(StatusCode::SERVICE_UNAVAILABLE))
        );
    }

    #[test]
    fn retries_end_by_number_and_by_age() {
        for attempt in [
            Attempt::TimedOut,
            Attempt::Unreachable,
            Attempt::Deauthorized,
            answered(500, RetryAfter::NotGiven),
        ] {
            assert_eq!(
                next(attempt, 185, Duration::ZERO),
                Next::RetryIn(Duration::from_mins(10))
            );
            let exhausted = |limit| Next::DeadLetter(Cause::Exhausted { limit, last: attempt });
            assert_eq!(next(attempt, 186, Duration::ZERO), exhausted(Exhausted::Retries));
            let day = POLICY.max_age;
            assert_eq!(
                next(attempt, 1, day.checked_sub(Duration::from_secs(1)).unwrap()),
                Next::RetryIn(Duration::from_secs(1))
            );
            assert_eq!(next(attempt, 1, day), exhausted(Exhausted::Age));
        }
    }

    proptest! {
        #[test]
        fn waits_lie_between_half_and_all_of_the_doubled_delay(attempts in 1..=185_u32, fraction in -1.0..2.0_f64) {
            let longest = Duration::from_secs(2_u64.saturating_pow(attempts - 1).min(600));
            let Next::RetryIn(delay) = POLICY.next(&Attempt::TimedOut, attempts, Duration::ZERO, fraction) else {
                panic!("retried");
            };
            prop_assert!(delay >= longest / 2 && delay <= longest, "{delay:?} of {longest:?}");
        }
    }
}
