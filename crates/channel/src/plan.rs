//! What a channel makes from an account's configuration.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use moorline_core::{
    AccountSettings, Attachment, ChatId, Failure, Finding, Fingerprint, IdempotencyKey, Identity, MessageId,
    Outbound, Receipt, Schema, Secret, TextLimit,
};

use crate::connector::{Connector, Start};
use crate::login::{Login, SavedLogin};
use crate::network::Http;

/// A channel.
pub trait Factory: Send + Sync {
    /// The settings of its accounts.
    fn schema(&self) -> &'static Schema;

    /// Makes the plan of one account.
    ///
    /// # Errors
    /// Every setting whose value cannot work.
    fn parse(&self, settings: &AccountSettings) -> Result<Arc<dyn Plan>, Vec<Finding>>;
}

/// One account of a channel: how to connect, send, and find out who we are.
pub trait Plan: Send + Sync {
    /// Stands for the credentials: changes when they do, reveals nothing of them.
    fn fingerprint(&self) -> Fingerprint;

    /// The host that connects are paced by, and by which accounts share their fate.
    fn host(&self) -> &str;

    /// What the platform can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// A machine for one connection.
    fn connector(&self, start: Start) -> Box<dyn Connector>;

    /// The name under which this account's place in the platform's queue is stored: another one for other credentials, if
    /// the place means nothing to them. `None` for platforms without one.
    fn cursor(&self) -> Option<String> {
        None
    }

    /// How a person logs the account in; `None` for channels whose configuration has all it takes. `held` are the logins
    /// that this installation has for the channel, the newest first.
    fn login(&self, held: &[SavedLogin], seed: u64) -> Option<Box<dyn Login>> {
        let (_, _) = (held, seed);
        None
    }

    /// The same account as this login left it; `None` for channels without logins. The plan of an account that needs a
    /// login and has none says [`FailureClass::NeedsLogin`](moorline_core::FailureClass::NeedsLogin) to everything.
    ///
    /// # Errors
    /// When the saved login cannot be read.
    fn logged_in(&self, login: &SavedLogin) -> Option<Result<Arc<dyn Plan>, Failure>> {
        let _ = login;
        None
    }

    /// Where access tokens come from; `None` when calls need none.
    fn credentials(&self) -> Option<Rc<dyn Credentials>>;

    /// How to find out who we are.
    fn identity(&self) -> Rc<dyn IdentityProbe>;

    /// How to send.
    fn sender(&self) -> Rc<dyn Sender>;

    /// How to show that an answer is on its way; `None` where the platform has no sign for it.
    fn typing(&self) -> Option<Rc<dyn Typing>> {
        None
    }

    /// How to change a message that was sent; `None` where that is not possible.
    fn editor(&self) -> Option<Rc<dyn Editor>> {
        None
    }

    /// How to get what users attached to their messages; `None` where nothing can be attached.
    fn resources(&self) -> Option<Rc<dyn Resources>> {
        None
    }
}

/// Gets access tokens. Single flight, early renewal and retries are the runtime's.
pub trait Credentials {
    /// One request for a token.
    fn fetch(&self, http: Rc<dyn Http>) -> LocalBoxFuture<'static, Result<AccessToken, Failure>>;
}

/// A token for calls.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub secret: Secret,
    /// How long it lives, counted from its arrival (never from a wall clock, F-008).
    pub lifetime: Duration,
    /// How long before its end a successor may be had.
    pub renew_before: Duration,
}

/// Finds out who we are.
pub trait IdentityProbe {
    /// One probe. [`FailureClass::SessionExpired`](moorline_core::FailureClass::SessionExpired) means that the
    /// token is no good: the runtime fetches another and asks once more.
    fn probe(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
    ) -> LocalBoxFuture<'static, Result<Identity, Failure>>;
}

/// One message on its way to the platform.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The message.
    pub outbound: &'a Outbound,
    /// The same in every attempt of the same message, however many there are.
    pub key: &'a IdempotencyKey,
    /// The chat's newest reply token at this moment (F-060).
    pub reply_token: Option<&'a Secret>,
}

/// Sends messages.
pub trait Sender {
    /// One attempt to send a message. `Ok` only with the platform's own confirmation (F-059); a failure says whether the
    /// message may be out nevertheless. [`FailureClass::SessionExpired`](moorline_core::FailureClass::SessionExpired) as
    /// for [`IdentityProbe::probe`]; [`FailureClass::AwaitsUser`](moorline_core::FailureClass::AwaitsUser) holds the
    /// message until the chat's user writes again.
    fn send(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>>;
}

/// What is being answered.
#[derive(Debug, Clone, Copy)]
pub struct Answering<'a> {
    /// The chat.
    pub chat: &'a ChatId,
    /// The message.
    pub message: &'a MessageId,
    /// The chat's newest reply token.
    pub reply_token: Option<&'a Secret>,
}

/// Shows a user that an answer is on its way. Best effort: no failure of it ever delays or stops an answer (F-048).
pub trait Typing {
    /// How long the sign lasts until it has to be shown again; `None` when it stays until it is taken down.
    fn lasts(&self) -> Option<Duration> {
        None
    }

    /// Shows it, for the first time or again; `shown` is the mark of the time before. The mark is what [`Typing::stop`]
    /// needs. That of a sign that stays is stored, so that the next process can take down what this one left. `None` when
    /// there is nothing to take down.
    fn start(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        answering: Answering<'_>,
        shown: Option<&TypingMark>,
    ) -> LocalBoxFuture<'static, Result<Option<TypingMark>, Failure>>;

    /// Ends it. Ending what is gone already is a success.
    fn stop(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        mark: &TypingMark,
    ) -> LocalBoxFuture<'static, Result<(), Failure>>;
}

/// What a channel needs to show a sign of typing again, or to end it; text of its own making. Without secrets if the sign
/// stays, because then it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypingMark(pub String);

/// Changes messages that were sent as editable ones.
pub trait Editor {
    /// Sends `outbound` in the form that can be changed later; as [`Sender::send`] otherwise.
    fn send_editable(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outgoing: Outgoing<'_>,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>>;

    /// Replaces the text of a message that [`Editor::send_editable`] sent.
    /// [`FailureClass::Rejected`](moorline_core::FailureClass::Rejected) when it can no longer be changed (F-063).
    fn edit(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        message: &MessageId,
        text: &str,
    ) -> LocalBoxFuture<'static, Result<(), Failure>>;
}

/// Gets what users attached to their messages.
pub trait Resources {
    /// The bytes of an attachment of `message`, of at most `limit` bytes (F-094: the name is for people only and never
    /// a path).
    fn fetch(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        message: &MessageId,
        attachment: &Attachment,
        limit: usize,
    ) -> LocalBoxFuture<'static, Result<Bytes, Failure>>;
}

/// What a platform can do: data that the runtime acts on, instead of knowing platforms by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What happens to what we do not acknowledge.
    pub redelivery: Redelivery,
    /// How long the platform recognises a repeated key; `None` when it knows no keys (G4).
    pub idempotency: Option<Duration>,
    /// The longest text of one message; longer ones are sent in parts.
    pub text_limit: TextLimit,
    /// The most messages a second into one chat.
    pub chat_rate: u32,
    /// Whether the platform takes messages for a chat only for a while after its user wrote: then what it does not take
    /// waits for the user's next message (F-060).
    pub reply_window: bool,
}

/// What happens to what we do not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// It is gone.
    None,
    /// It comes again until it is acknowledged, or this long has passed since the first attempt.
    UntilAcked(Duration),
    /// It comes again until the cursor has passed it, or this long has passed.
    ByCursor(Duration),
    /// It may come again until the cursor has passed it, and may not: nothing is promised.
    Perhaps,
}
