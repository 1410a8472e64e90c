//! Requests to end the process, from wherever they come to the binary, which decides.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the process is asked to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// An operator asked for it.
    Shutdown,
    /// An operator asked for a fresh process in this one's place (F-070).
    Restart,
    /// The store has failed: nothing may be acknowledged any more (G11).
    StoreFailed(String),
}

/// Takes the first request. Later ones change nothing, but that who wants it ended for good gets that.
#[derive(Debug, Clone)]
pub(crate) struct ExitRequests(Arc<watch::Sender<Option<ExitReason>>>);

impl ExitRequests {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(crate) fn request(&self, reason: ExitReason) {
        self.0.send_if_modified(|asked| {
            let counts = match asked {
                None => true,
                Some(ExitReason::Restart | ExitReason::StoreFailed(_)) => reason == ExitReason::Shutdown,
                Some(ExitReason::Shutdown) => false,
            };
            if counts {
                *asked = Some(reason);
            }
            counts
        });
    }

    /// What was asked for until now.
    pub(crate) fn asked(&self) -> Option<ExitReason> {
        self.0.borrow().clone()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_an_end_for_good_gets_it() {
        let exits = ExitRequests::new();
        assert_eq!(exits.asked(), None);
        exits.request(ExitReason::Restart);
        exits.request(ExitReason::StoreFailed("disk".to_owned()));
        assert_eq!(exits.asked(), Some(ExitReason::Restart), "the first one counts");
        exits.request(ExitReason::Shutdown);
        exits.request(ExitReason::Restart);
        assert_eq!(exits.asked(), Some(ExitReason::Shutdown));
    }
}
