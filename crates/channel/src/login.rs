//! Logging an account in, as a machine without I/O: for channels whose credentials come from a person with a phone and
//! not from the configuration.

mod driver;

pub use driver::drive_login;

use std::time::Duration;

use moorline_core::{Failure, Monotonic, Secret, UserId};

use crate::connector::RequestId;
use crate::network::{HttpRequest, HttpResponse, NetworkError};

/// One login, from the first call to its end.
pub trait Login {
    /// What happened, and when; what is to be done about it, in order. After [`LoginEffect::Finish`] the machine is never
    /// stepped again.
    fn step(&mut self, event: LoginEvent, now: Monotonic) -> Vec<LoginEffect>;

    /// When [`LoginEvent::Wake`] is wanted. Asked after every step.
    fn wake_at(&self) -> Option<Monotonic>;
}

/// What the machine is told.
#[derive(Debug)]
pub enum LoginEvent {
    /// Begin. Always the first event, and only then.
    Start,
    /// A call is over.
    Response {
        /// Which.
        id: RequestId,
        /// How it ended.
        result: Result<HttpResponse, NetworkError>,
    },
    /// The person typed what [`LoginStep::Code`] asked for.
    Typed(Secret),
    /// The moment of [`Login::wake_at`] has come.
    Wake,
}

/// What the machine wants done.
#[derive(Debug)]
pub enum LoginEffect {
    /// Make a call.
    Request {
        /// Named in its completion.
        id: RequestId,
        /// The call.
        request: HttpRequest,
    },
    /// Tell the person.
    Show(LoginStep),
    /// The login is over.
    Finish(Result<LoggedIn, Failure>),
}

/// Where a login stands, for the person who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// Scan this.
    Scan {
        /// The text of the QR code. Whoever scans it is logged in, so it goes to the person only and into no log.
        code: Secret,
        /// How long it is good for.
        lasts: Duration,
        /// The how-manieth code this is, from 1.
        number: u32,
    },
    /// It was scanned, and is yet to be confirmed on the phone.
    Scanned,
    /// Type the number that the phone shows.
    Code {
        /// What was typed before was not it.
        wrong: bool,
    },
}

/// What came of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// What is to be saved; `None` when the account turned out to be logged in already, with what is saved for it.
    pub login: Option<SavedLogin>,
    /// The person's account on the platform, where it is known. The platform lets a person have one bot: what this
    /// installation holds of the same person for another account is good no more.
    pub person: Option<UserId>,
}

/// What a channel keeps of a login: text of its own making, and a credential as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedLogin(pub Secret);
