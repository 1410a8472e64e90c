//! Requests to end the process, from wherever they come to the binary, which decides.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the process is asked to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// An operator asked for it.
    Shutdown,
    /// The store has failed: nothing may be acknowledged any more (G11).
    StoreFailed(String),
}

/// Takes the first request; later ones change nothing.
#[derive(Debug, Clone)]
pub(crate) struct ExitRequests(Arc<watch::Sender<Option<ExitReason>>>);

impl ExitRequests {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn request(&self, reason: ExitReason) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
    }

    pub(crate) async fn requested(&self) -> ExitReason {
        let mut requests = self.0.subscribe();
        loop {
            if let Some(reason) = requests.borrow_and_update().clone() {
                return reason;
            }
            if requests.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
