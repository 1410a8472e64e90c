//! Signals: SIGTERM and SIGINT end the process, SIGHUP reloads. Listened to from before anything is opened until the end.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Code;

/// What is listened to.
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
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.hangup.recv() => Asked::Reload,
        }
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

impl Asked {
    /// How a process that it ends at once ends, as a shell expects to see it.
    pub const fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate | Self::Reload => Code::Terminated,
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
