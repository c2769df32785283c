//! What is logged, for tests that look at it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
};

use serde_json::Value;
use tracing::{Level, Subscriber, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// What subscribers that write to it have logged.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns all of it.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes().clone()).expect("text is logged")
    }

    /// Returns the lines since the last call.
    ///
    /// # Panics
    ///
    /// If one is not a JSON document.
    pub fn take_lines(&self) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.bytes())).expect("text is logged");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("one JSON object in each line"))
            .collect()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Has a subscriber hear what this thread logs, until the guard is dropped.
pub fn listen(subscriber: impl Subscriber + Send + Sync) -> DefaultGuard {
    static EVERYWHERE: Once = Once::new();
    // A place in the code that another test's thread is the first to pass may be noted as one that nobody listens to, for
    // every thread. As long as somebody listens to everything everywhere, none is.
    EVERYWHERE.call_once(|| {
        let everything = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(io::sink)
            .finish();
        // A program that has one already is not in need of it.
        let _ = tracing::subscriber::set_global_default(everything);
    });
    tracing::subscriber::set_default(subscriber)
}
