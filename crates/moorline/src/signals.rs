//! Signals: SIGTERM and SIGINT end the process, SIGHUP reloads. Listened to from before anything is opened until the end.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Code;

/// For a signal that has come and was not read yet.
const LAST_LOOK: Duration = Duration::from_millis(5);

/// Nobody listens: between a drain and the process that takes over, and before that one listens. SIGTERM and SIGINT do
/// then what they do to any process, instead of being lost.
static UNHEARD: LazyLock<io::Result<Arc<AtomicBool>>> = LazyLock::new(|| {
    let unheard = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        register_conditional_default(signal, Arc::clone(&unheard))?;
    }
    Ok(unheard)
});

/// What is listened to, until it is dropped.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// Begins to listen. Has to be called inside a runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> io::Result<Self> {
        let unheard = UNHEARD.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        unheard.store(false, Ordering::SeqCst);
        Ok(signals)
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Listens no more; gives what came just before.
    pub async fn leave(mut self) -> Option<Asked> {
        unheard();
        tokio::time::timeout(LAST_LOOK, self.end()).await.ok()
    }

    /// The next one that asks for the end.
    pub async fn end(&mut self) -> Asked {
        loop {
            match self.next().await {
                Asked::Reload => {}
                end => return end,
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        unheard();
    }
}

fn unheard() {
    if let Ok(unheard) = UNHEARD.as_ref() {
        unheard.store(true, Ordering::SeqCst);
    }
}

impl Asked {
    /// How a process that it ends at once ends, as a shell expects to see it.
    pub const fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate => Code::Terminated,
            Self::Reload => Code::HungUp,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Reload => "SIGHUP",
        })
    }
}
