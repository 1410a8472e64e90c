//! Erlang's link: what ties a child's task to its supervisor's state.

use tokio::sync::watch;

/// The supervisor's end. Dropping it stops the child: when a supervisor is gone, so are its children.
pub(crate) struct Link {
    ordered: watch::Sender<Ordered>,
    gone: watch::Receiver<()>,
}

/// The task's end. Dropping it tells whoever waits that the child is gone.
pub(crate) struct Orders {
    ordered: watch::Receiver<Ordered>,
    restarts_obeyed: u64,
    _present: watch::Sender<()>,
}

/// What a child is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// End, and begin no further generation.
    Stop,
    /// End, and begin the next generation at once.
    Restart,
}

/// Resolves when a child's task has ended.
pub(crate) struct Gone(Option<watch::Receiver<()>>);

/// All orders so far. Kept as a state and not as a queue: it cannot overflow, and `stop` wins over everything.
#[derive(Default)]
struct Ordered {
    stop: bool,
    restarts: u64,
}

pub(crate) fn link() -> (Link, Orders) {
    let (order, ordered) = watch::channel(Ordered::default());
    let (present, gone) = watch::channel(());
    (Link { ordered: order, gone }, Orders { ordered, restarts_obeyed: 0, _present: present })
}

impl Link {
    pub(crate) fn stop(&self) {
        self.ordered.send_modify(|ordered| ordered.stop = true);
    }

    /// False when the child was told to stop already.
    pub(crate) fn restart(&self) -> bool {
        self.ordered.send_if_modified(|ordered| {
            ordered.restarts += u64::from(!ordered.stop);
            !ordered.stop
        })
    }

    pub(crate) fn gone(&self) -> Gone {
        Gone(Some(self.gone.clone()))
    }
}

impl Orders {
    /// The next order; a supervisor that is gone has ordered a stop. Loses nothing when dropped unfinished.
    pub(crate) async fn next(&mut self) -> Order {
        loop {
            let (stop, restarts) = {
                let ordered = self.ordered.borrow_and_update();
                (ordered.stop, ordered.restarts)
            };
            if stop {
                return Order::Stop;
            }
            if restarts != self.restarts_obeyed {
                self.restarts_obeyed = restarts;
                return Order::Restart;
            }
            if self.ordered.changed().await.is_err() {
                return Order::Stop;
            }
        }
    }

    /// A life begins: it fulfils every restart ordered before it.
    pub(crate) fn settle(&mut self) {
        self.restarts_obeyed = self.ordered.borrow().restarts;
    }

    /// Whether the child is to begin no further generation.
    pub(crate) fn stopped(&self) -> bool {
        self.ordered.borrow().stop || self.ordered.has_changed().is_err()
    }
}

impl Gone {
    pub(crate) fn already() -> Self {
        Self(None)
    }

    pub(crate) async fn wait(self) {
        let Some(mut present) = self.0 else { return };
        // Nothing is ever sent: the only change is that the sender is dropped.
        while present.changed().await.is_ok() {}
    }
}
