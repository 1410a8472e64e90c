//! The news that the endpoint is about to close: who holds a connection open says goodbye then.

use tokio::sync::watch;

/// Told by the admin actor, heard by whatever outlives one answer, such as a WebSocket. Every life of the actor has
/// its own; clones belong together.
#[derive(Debug, Clone)]
pub(crate) struct Closing(watch::Sender<bool>);

impl Closing {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// The endpoint closes: the actor stops or is restarted, or the process ends or is replaced. Harmless twice.
    pub(crate) fn close(&self) {
        self.0.send_replace(true);
    }

    /// Resolves when it closes; at once if it does already.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`, so that there is always an answer.
        drop(self.0.subscribe().wait_for(|closing| *closing).await);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn everybody_hears_of_it_whenever_they_listen() {
        let closing = Closing::new();
        let early = closing.clone();
        let mut hearing = Box::pin(early.closed());
        assert!(hearing.as_mut().now_or_never().is_none());
        closing.close();
        closing.close();
        assert!(hearing.now_or_never().is_some());
        assert!(closing.closed().now_or_never().is_some());
    }
}
