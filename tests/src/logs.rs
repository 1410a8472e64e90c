//! What is logged on this thread, for tests that read it.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Collects the log until it is dropped.
pub struct Logs {
    text: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// From now on, and from level `info` on.
    #[must_use]
    pub fn collect() -> Self {
        let text = Sink::default();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(text.clone()).finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines that contain `part`, each a JSON object; what was logged before the last call is not looked at again.
    #[must_use]
    pub fn take(&self, part: &str) -> Vec<serde_json::Value> {
        let text = std::mem::take(&mut *self.text.0.lock());
        let text = String::from_utf8_lossy(&text);
        text.lines()
            .filter(|line| line.contains(part))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
