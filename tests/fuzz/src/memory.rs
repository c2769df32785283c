//! Counts what a thread allocates, so that a parser that believes a length is found before it takes the machine down.
#![allow(unsafe_code, reason = "an allocator can be replaced in no other way")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Runs `work` and returns how many bytes this thread had allocated at most meanwhile, above what it had before.
pub(crate) fn peak_of(work: impl FnOnce()) -> usize {
    let before = COUNTS.with(|counts| {
        let before = counts.get();
        counts.set(Counts { now: 0, peak: 0 });
        before
    });
    work();
    COUNTS.with(|counts| {
        let Counts { now, peak } = counts.get();
        counts.set(Counts {
            now: before.now + now,
            peak: before.peak.max(before.now + peak),
        });
        usize::try_from(peak).unwrap_or_default()
    })
}

/// Bytes; `now` may be below zero, since what was allocated before or by another thread is freed here, too.
#[derive(Clone, Copy)]
struct Counts {
    now: isize,
    peak: isize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { now: 0, peak: 0 }) };
}

fn count(change: isize) {
    // A thread that ends has no counts any more, and nobody asks for them.
    let _ = COUNTS.try_with(|counts| {
        let now = counts.get().now + change;
        let peak = counts.get().peak.max(now);
        counts.set(Counts { now, peak });
    });
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    clippy::cast_possible_wrap,
    reason = "no allocation is larger than isize::MAX bytes"
)]
// SAFETY: every call is handed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_and_not_what_is_left() {
        let kept = vec![0_u8; 1000];
        let peak = peak_of(|| {
            drop(vec![0_u8; 5000]);
            drop(vec![0_u8; 3000]);
            drop(kept);
        });
        assert_eq!(peak, 5000);
        let mut grown = Vec::with_capacity(10);
        let peak = peak_of(|| grown.resize(100, 0_u8));
        assert_eq!(peak, 90);
    }
}
