//! What a channel's accounts can be configured with, as data: the channel describes, the configuration checks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::AccountId;
use crate::secret::Secret;

/// The settings of a channel's accounts, beside those every account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The channel's name, as in `[channels.<name>]`.
    pub channel: &'static str,
    /// Its settings, in the order the reference page shows them.
    pub fields: &'static [Field],
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The key in the account's table.
    pub key: &'static str,
    /// What its value is.
    pub kind: FieldKind,
    /// Whether an account without it is refused.
    pub required: bool,
    /// The value an account has without it, as it would be written.
    pub default: Option<&'static str>,
    /// One sentence for the reference page.
    pub doc: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A credential: text, `{ env = "NAME" }` or `{ file = "path" }`.
    Secret,
    /// An `http` or `https` address without query.
    Url,
    /// A span of time such as `"30s"`.
    Duration,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
}

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a [`FieldKind::Text`] or [`FieldKind::Url`].
    Text(String),
    /// Of a [`FieldKind::Secret`], read from wherever it is kept.
    Secret(Secret),
    /// Of a [`FieldKind::Duration`].
    Duration(Duration),
    /// Of a [`FieldKind::Bool`].
    Bool(bool),
    /// Of a [`FieldKind::Integer`].
    Integer(i64),
}

/// The channel's own settings of one account: every required one is present, every value has its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSettings {
    /// The account.
    pub id: AccountId,
    /// Values by key, defaults filled in.
    pub values: BTreeMap<String, Value>,
}

impl AccountSettings {
    /// The text under `key`; empty when there is none.
    pub fn text(&self, key: &str) -> &str {
        match self.values.get(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The secret under `key`.
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        match self.values.get(key) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// The span under `key`.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.values.get(key) {
            Some(Value::Duration(span)) => Some(*span),
            _ => None,
        }
    }
}

/// A setting whose value has the right kind and is wrong all the same. The configuration adds the position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key in the account's table.
    pub key: &'static str,
    /// What is wrong and what would be right; never the value of a secret.
    pub problem: String,
}
