use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::PartialCode;

/// Memory that the layers of an image share for what is large: files that are read as a whole, and the windows of
/// decoders. Layers that are catalogued at once take turns, so that memory does not grow with their number.
///
/// A layer takes a window before its files and holds one file at a time, so nobody waits for somebody who waits.
#[derive(Debug, Clone, Default)]
pub struct Space(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    file_bytes: u64,
    /// Of the one large window.
    window_bytes: u64,
}

impl Used {
    /// Tells whether so many bytes more have place within `total`; what is larger than that goes alone.
    fn has_place(&self, bytes: u64, total: u64) -> bool {
        match self.file_bytes.saturating_add(self.window_bytes) {
            0 => true,
            held => held.saturating_add(bytes) <= total,
        }
    }
}

/// What is large: smaller things are too many to take turns.
pub(crate) const LARGE: u64 = 1 << 20;

/// How often someone who waits looks whether their time is up.
const PATIENCE: Duration = Duration::from_millis(100);

/// A place that is given back when this value is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    space: Space,
    of: Of,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Small,
    File(u64),
    Window(u64),
}

impl Space {
    /// Waits until a file of `bytes` has place beside what others hold; `total` is the place for all of it.
    ///
    /// Who holds a window of that place itself must not ask for more than the window leaves.
    pub(crate) fn file(
        &self,
        bytes: u64,
        total: u64,
        is_time_up: &dyn Fn() -> bool,
    ) -> Result<Place, PartialCode> {
        if bytes <= LARGE {
            return Ok(self.place(Of::Small));
        }
        self.wait(is_time_up, |used| {
            let has_place = used.has_place(bytes, total);
            if has_place {
                used.file_bytes += bytes;
            }
            has_place
        })?;
        Ok(self.place(Of::File(bytes)))
    }

    /// Waits until no other layer has a large window, and one of `bytes` has place beside the files that others hold.
    pub(crate) fn window(
        &self,
        bytes: u64,
        total: u64,
        is_time_up: &dyn Fn() -> bool,
    ) -> Result<Place, PartialCode> {
        self.wait(is_time_up, |used| {
            let has_place = used.window_bytes == 0 && used.has_place(bytes, total);
            if has_place {
                used.window_bytes = bytes;
            }
            has_place
        })?;
        Ok(self.place(Of::Window(bytes)))
    }

    fn place(&self, of: Of) -> Place {
        Place {
            space: self.clone(),
            of,
        }
    }

    fn wait(
        &self,
        is_time_up: &dyn Fn() -> bool,
        mut take: impl FnMut(&mut Used) -> bool,
    ) -> Result<(), PartialCode> {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        while !take(&mut used) {
            if is_time_up() {
                return Err(PartialCode::Time);
            }
            let waited = self.0.freed.wait_timeout(used, PATIENCE);
            (used, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Place {
    /// Returns how many bytes it has for a window.
    pub(crate) fn window_bytes(&self) -> u64 {
        match self.of {
            Of::Window(bytes) => bytes,
            Of::Small | Of::File(_) => 0,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.space.0;
        {
            let mut used = inner.used.lock().unwrap_or_else(PoisonError::into_inner);
            match self.of {
                Of::Small => return,
                Of::File(bytes) => used.file_bytes -= bytes,
                Of::Window(_) => used.window_bytes = 0,
            }
        }
        inner.freed.notify_all();
    }
}

/// Two sets of limits are the same whoever shares their memory.
impl PartialEq for Space {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Space {}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    const TOTAL: u64 = 10 * LARGE;

    #[test]
    fn files_of_several_layers_stay_within_the_total_and_all_get_their_turn() {
        let space = Space::default();
        let (held, most, turns) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for layer in 0..8 {
                let (space, held, most, turns) = (space.clone(), &held, &most, &turns);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let bytes = LARGE * (2 + (layer + turn) % 9);
                        let place = space.file(bytes, TOTAL, &|| false).unwrap();
                        let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        turns.fetch_add(1, Ordering::SeqCst);
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 400);
        let most = most.into_inner();
        assert!(most <= TOTAL, "{most}");
    }

    #[test]
    fn what_is_larger_than_the_total_goes_alone() {
        let space = Space::default();
        let alone = space.file(2 * TOTAL, TOTAL, &|| true).unwrap();
        assert_eq!(
            space.file(2 * LARGE, TOTAL, &|| true).unwrap_err(),
            PartialCode::Time
        );
        drop(alone);
        space.file(2 * LARGE, TOTAL, &|| true).unwrap();
    }

    #[test]
    fn one_window_is_open_at_a_time_and_small_files_wait_for_nobody() {
        let space = Space::default();
        let window = |bytes| space.window(bytes, TOTAL, &|| true);
        let held = window(2 * LARGE).unwrap();
        assert_eq!(held.window_bytes(), 2 * LARGE);
        assert_eq!(window(2 * LARGE).unwrap_err(), PartialCode::Time);
        space.file(LARGE, TOTAL, &|| true).unwrap();
        drop(held);
        window(2 * LARGE).unwrap();
    }

    #[test]
    fn files_and_a_window_share_their_place() {
        let space = Space::default();
        let file = |bytes| space.file(bytes, TOTAL, &|| true);
        let window = |bytes| space.window(bytes, TOTAL, &|| true);
        let open = window(6 * LARGE).unwrap();
        let beside = file(4 * LARGE).unwrap();
        assert_eq!(file(2 * LARGE).unwrap_err(), PartialCode::Time);
        drop(beside);
        assert_eq!(file(5 * LARGE).unwrap_err(), PartialCode::Time);
        drop(open);
        let full = file(TOTAL).unwrap();
        assert_eq!(window(2 * LARGE).unwrap_err(), PartialCode::Time);
        drop(full);
        window(2 * TOTAL).unwrap();
    }
}
