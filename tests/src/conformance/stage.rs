//! What a platform has to show for its channel to be tried: the one trait that a new channel implements here.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use moorline_channel::{Factory, Network, Plan, SavedLogin};
use moorline_config::Account;
use moorline_core::{AccountId, ChatId, FailureClass};

/// A simulated platform with the accounts of one run on it.
///
/// Accounts are numbered from 0 and called `a0`, `a1`, …; users are plain names, and what a user writes goes to one
/// account directly.
pub trait Stage {
    // === The channel ===

    /// Its factory.
    fn factory(&self) -> &'static dyn Factory;

    /// The channel's part of a configuration: `[channels.<name>]` and its accounts, on the platform at `base`.
    fn configuration(&self, base: &str) -> String;

    /// What is saved of an account's login, where accounts are logged in by a person; in the channel's own notation.
    fn login(&self, _n: usize, _base: &str) -> Option<SavedLogin> {
        None
    }

    /// What the channel makes of a configured account, for the mount in memory; the other one runs the binary.
    fn plan(&self, account: &Account) -> Arc<dyn Plan> {
        let findings = |findings: Vec<moorline_core::Finding>| findings[0].problem.clone();
        self.factory().parse(&account.settings).map_err(findings).unwrap()
    }

    /// The id of an account.
    fn account(&self, n: usize) -> AccountId {
        format!("{}:a{n}", self.factory().schema().channel).parse().unwrap()
    }

    // === The platform ===

    /// The platform in memory.
    fn network(&self) -> Network;

    /// The platform on real sockets, from now until the stage is dropped.
    fn serve(&mut self) -> SocketAddr;

    /// Where an operator's message to this user of an account goes.
    fn address(&self, n: usize, user: &str) -> ChatId;

    /// A user writes to an account.
    fn user_writes(&self, n: usize, user: &str, text: &str) -> MessageRef;

    /// What became of a user's message, as the platform sees it.
    fn fate(&self, message: &MessageRef) -> Fate;

    /// What a user sees of an account's messages, in order.
    fn visible(&self, n: usize, user: &str) -> Vec<String>;

    /// The most connections that an account ever had at the same time.
    fn most_connections(&self, n: usize) -> usize;

    /// What our calls had in them that the protocol does not allow; the suite fails when there is any.
    fn violations(&self) -> Vec<String> {
        Vec::new()
    }

    // === What goes wrong ===

    /// Does this to an account; it lasts until [`Stage::heal`] unless the harm says otherwise.
    ///
    /// # Errors
    /// When there is no such thing on this platform; says why. That is what the table shows.
    fn harm(&self, n: usize, harm: Harm) -> Result<(), NotApplicable>;

    /// Ends whatever was done to an account, and to the platform.
    fn heal(&self, n: usize);

    /// How often something that was done to an account has struck it so far. A scenario whose harm never struck has
    /// shown nothing, and fails.
    fn blows(&self, n: usize) -> u64;
}

/// What a stage is made from.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// How many accounts.
    pub accounts: usize,
    /// Where the platform's randomness comes from.
    pub seed: u64,
    /// How fast everything goes.
    pub pace: Pace,
}

/// How fast everything goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As documented: time is virtual and costs nothing.
    Documented,
    /// As fast as the configuration lets it go, and the platform repeats soon: time is real.
    Quick,
}

/// A user's message, by the platform's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRef(pub String);

/// What became of a user's message, as the platform sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody was offered it yet.
    Waiting,
    /// It was handed out, and comes again unless it is acknowledged.
    HandedOut,
    /// We said that we have it: from here on its loss is ours.
    Acknowledged,
    /// It never comes again, and we did not say that we have it: handed out once, or given up.
    Gone,
}

/// What can go wrong on any platform; a stage says it in the words of its simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The connection there is ends, and every new one is refused with what the channel takes for this class.
    Refuse(FailureClass),
    /// Every send is refused with what the channel takes for this class.
    RefuseSends(FailureClass),
    /// Nothing is answered any more in this phase. Where it belongs to connecting, the connection there is ends first.
    Hang(Phase),
    /// The connection there is stays open, and is dead; where a connection is a row of calls, so are the next ones.
    HalfOpen,
    /// The connection there is ends, in the platform's way number so and so of all the ways it knows. Once.
    Cut(usize),
    /// Every new connection ends as soon as it is open; so does the one there is.
    Flap,
    /// What users write is delivered twice, and again although acknowledged, and again under another delivery id.
    Duplicate,
    /// What users write is delivered in another order, or its parts are.
    Reorder,
    /// Everything this platform could say that cannot be read, one of each. Once.
    Malformed,
    /// Something arrives that is longer than any honest message. Once.
    Oversized,
    /// What calls are authenticated with ends; a new one can be had. Once.
    SessionExpired,
    /// The credentials of the account are no good any more, on new connections and in calls.
    Revoked,
    /// Every send takes effect, and its answer is lost like this.
    LoseAnswers(Silence),
    /// The platform cannot be reached, by anybody, and every connection ends.
    Unreachable(Silence),
    /// What users write from now on does not reach us, and in the end is not offered any more: given up, or consumed by
    /// an answer that is lost.
    Forget,
}

/// Where an exchange with a platform can get stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The call before a connection can be opened.
    Prelude,
    /// Opening it.
    Opening,
    /// The first sign of life on it.
    SignOfLife,
    /// Getting what calls are authenticated with.
    Credentials,
    /// Finding out who we are.
    Identity,
    /// Sending.
    Send,
}

/// How somebody does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Says no at the level of TCP: refuses the connection, or resets it.
    Refused,
    /// Says nothing.
    Silent,
}

/// Why there is no such thing on a platform: shown in the table as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotApplicable(pub String);

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Prelude, Self::Opening, Self::SignOfLife, Self::Credentials, Self::Identity, Self::Send];

    /// Its name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prelude => "the call before it",
            Self::Opening => "opening",
            Self::SignOfLife => "first sign of life",
            Self::Credentials => "credentials",
            Self::Identity => "identity",
            Self::Send => "send",
        }
    }
}

impl NotApplicable {
    /// For this reason.
    ///
    /// # Errors
    /// Always: that is what a stage answers with.
    pub fn because<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self(why.into()))
    }
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n/a: {}", self.0)
    }
}
