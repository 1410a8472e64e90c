//! Identifiers. Each kind is a type of its own, so that a chat can never be passed where an account is wanted.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text identifier given by a platform; compared byte for byte, never parsed.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the platform's own text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The platform's own text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A number we assign ourselves.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name($number);

        impl $name {
            /// Wraps a number read back from where it was kept.
            pub const fn new(number: $number) -> Self {
                Self(number)
            }

            /// The number itself.
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// One conversation of an account: a chat, or a thread inside one. Unique within its account only.
    ConversationId
}
text_id! {
    /// A chat as the platform names it (Feishu `oc_…`).
    ChatId
}
text_id! {
    /// A user or bot as the platform names it to one app (Feishu `ou_…`; differs from app to app) (F-018).
    UserId
}
text_id! {
    /// A message as the platform names it; stable over redeliveries.
    MessageId
}
text_id! {
    /// A delivery as the platform names it; may change when a message is delivered again.
    EventId
}
text_id! {
    /// A key under which a second delivery of the same event is recognised (G2). Unique within its account.
    DedupeKey
}
text_id! {
    /// A key that makes the repetition of a send harmless where the platform knows such keys (G4).
    IdempotencyKey
}
text_id! {
    /// One run of the process.
    BootId
}
text_id! {
    /// Stands for a set of credentials without revealing them: what a cached identity belongs to.
    Fingerprint
}
text_id! {
    /// A channel: `feishu`, `weixin`, `telegram`, `discord`.
    ChannelName
}

number_id! {
    /// Counts the lives of one supervised child, from 1. Work of an earlier generation is ignored by the next.
    Generation(u64)
}
number_id! {
    /// Fencing token of an account: grows each time a process takes the account over.
    Epoch(i64)
}
number_id! {
    /// A row of the inbox; the order of these numbers is the order of receipt.
    InboxId(i64)
}
number_id! {
    /// A row of the outbox; within a conversation the order of these numbers is the order of sending.
    OutboxId(i64)
}
number_id! {
    /// A turn of a conversation.
    TurnId(i64)
}
number_id! {
    /// A job of the scheduler.
    JobId(i64)
}
number_id! {
    /// A run of a job, or the record that it did not run.
    RunId(i64)
}
number_id! {
    /// A time in which messages may have been lost.
    GapId(i64)
}

impl Generation {
    /// The first life.
    pub const FIRST: Self = Self(1);

    /// No life comes after this one; fits a signed 64-bit column of a store.
    pub const LAST: Self = Self(i64::MAX as u64);

    /// The life after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One account on one channel, written `feishu:main`.
///
/// Both halves match `[a-z0-9_-]+`: upper case is refused because the environment layer of the configuration
/// folds case and would otherwise create a second account beside the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9_-]+:[a-z0-9_-]+$"))]
pub struct AccountId {
    channel: ChannelName,
    name: String,
}

/// The text is not an account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an account id: it is written channel:name, each of a-z, 0-9, `_` and `-`")]
pub struct InvalidAccountId(String);

impl AccountId {
    /// Joins a channel and the account's name in it.
    ///
    /// # Errors
    /// When one of them is empty or has a character outside `[a-z0-9_-]`.
    pub fn new(channel: &ChannelName, name: &str) -> Result<Self, InvalidAccountId> {
        if is_plain(channel.as_str()) && is_plain(name) {
            Ok(Self { channel: channel.clone(), name: name.to_owned() })
        } else {
            Err(InvalidAccountId(format!("{channel}:{name}")))
        }
    }

    /// The channel's name.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The account's name within its channel.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table of the configuration that it is in, as people write its path.
    pub fn config_key(&self) -> String {
        format!("channels.{}.accounts.{}", self.channel, self.name)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.name)
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (channel, name) = text.split_once(':').ok_or_else(|| InvalidAccountId(text.to_owned()))?;
        Self::new(&ChannelName::new(channel), name)
    }
}

impl TryFrom<String> for AccountId {
    type Error = InvalidAccountId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_reads_back_as_it_is_written() {
        for text in ["feishu:main", "telegram:bot_2", "a-b:0"] {
            assert_eq!(text.parse::<AccountId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn ids_outside_the_alphabet_are_refused() {
        for text in ["", "main", "feishu:", ":main", "feishu:Main", "feishu:a b", "feishu:a:b", "fei.shu:x"] {
            assert!(text.parse::<AccountId>().is_err(), "{text}");
        }
    }
}
