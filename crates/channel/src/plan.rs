//! What a channel makes from an account's configuration.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use moorline_core::{
    AccountSettings, Attachment, Failure, Finding, Fingerprint, IdempotencyKey, Identity, MessageId,
    Outbound, Receipt, Schema, Secret, TextLimit,
};

use crate::connector::Connector;
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
    fn connector(&self) -> Box<dyn Connector>;

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

/// Sends messages.
pub trait Sender {
    /// One attempt to send `outbound`. The same key may be used for any number of attempts of the same message.
    /// `Ok` only with the platform's own confirmation (F-059); a failure says whether the message may be out
    /// nevertheless. [`FailureClass::SessionExpired`](moorline_core::FailureClass::SessionExpired) as for
    /// [`IdentityProbe::probe`].
    fn send(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outbound: &Outbound,
        key: &IdempotencyKey,
    ) -> LocalBoxFuture<'static, Result<Receipt, Failure>>;
}

/// Shows a user that an answer is on its way. Best effort: no failure of it ever delays or stops an answer (F-048).
pub trait Typing {
    /// Begins to show it beside the message that is being answered. The mark is what [`Typing::stop`] needs, and is kept
    /// so that the next process can remove what this one left; `None` when it fades by itself.
    fn start(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        message: &MessageId,
    ) -> LocalBoxFuture<'static, Result<Option<TypingMark>, Failure>>;

    /// Ends it. Ending what is gone already is a success.
    fn stop(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        mark: &TypingMark,
    ) -> LocalBoxFuture<'static, Result<(), Failure>>;
}

/// What a channel needs to end a sign of typing; text of its own making, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypingMark(pub String);

/// Changes messages that were sent as editable ones.
pub trait Editor {
    /// Sends `outbound` in the form that can be changed later; as [`Sender::send`] otherwise.
    fn send_editable(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        outbound: &Outbound,
        key: &IdempotencyKey,
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
}

/// What happens to what we do not acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// It is gone.
    None,
    /// It comes again until it is acknowledged, or the platform's patience ends.
    UntilAcked,
    /// It comes again until the cursor has passed it.
    ByCursor,
}
