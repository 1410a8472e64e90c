//! Values: from text, whether it is a default, an environment variable or a string of the file.

use std::net::SocketAddr;
use std::time::Duration;

use moorline_core::{DEDUPE_WINDOW, Secret, Value};
use toml::de::DeValue;
use url::Url;

use crate::fault::Fault;
use crate::setting::Kind;
use crate::span;

/// A checked value of the file.
#[derive(Clone)]
pub(crate) enum Datum {
    One(Value),
    Many(Vec<String>),
    /// What is in files.
    Files(Vec<Vec<u8>>),
}

/// Typed access. What is not there has been reported, so that a caller's stand-in for it never leaves [`crate::load`].
impl Datum {
    pub(crate) fn text(self) -> Option<String> {
        match self {
            Self::One(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn duration(self) -> Option<Duration> {
        match self {
            Self::One(Value::Duration(span)) => Some(span),
            _ => None,
        }
    }

    pub(crate) fn flag(self) -> Option<bool> {
        match self {
            Self::One(Value::Bool(flag)) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn address(self) -> Option<SocketAddr> {
        self.text()?.parse().ok()
    }

    pub(crate) fn secret(self) -> Option<Secret> {
        match self {
            Self::One(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    pub(crate) fn files(self) -> Option<Vec<Vec<u8>>> {
        match self {
            Self::Files(files) => Some(files),
            Self::One(_) | Self::Many(_) => None,
        }
    }

    pub(crate) fn list(self) -> Option<Vec<String>> {
        match self {
            Self::Many(texts) => Some(texts),
            Self::One(_) | Self::Files(_) => None,
        }
    }
}

/// Reads text as a value of `kind`.
///
/// # Errors
/// What is expected and, unless it may hold credentials, what was got.
pub(crate) fn from_text(kind: Kind, text: &str) -> Result<Datum, Fault> {
    let value = match kind {
        Kind::Text => Some(text).filter(|text| !text.is_empty()).map(|text| Value::Text(text.to_owned())),
        Kind::Url if is_base_url(text) => Some(Value::Text(text.to_owned())),
        Kind::Secret | Kind::Proxy | Kind::Webhook if text.is_empty() => return Err(Fault::SecretEmpty),
        Kind::Proxy if !is_proxy(text) => return Err(Fault::Proxy),
        Kind::Webhook if !is_webhook(text) => return Err(Fault::Webhook),
        Kind::Secret | Kind::Proxy | Kind::Webhook => Some(Value::Secret(Secret::new(text))),
        Kind::Delay => span::parse(text).map(Value::Duration),
        Kind::Duration => span::parse(text).filter(|span| *span > Duration::ZERO).map(Value::Duration),
        Kind::Retention => span::parse(text).filter(|span| *span >= DEDUPE_WINDOW).map(Value::Duration),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Integer => text.parse().ok().map(Value::Integer),
        Kind::Address => text.parse::<SocketAddr>().ok().map(|_| Value::Text(text.to_owned())),
        Kind::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Url | Kind::List | Kind::Command | Kind::Certificates => None,
    };
    value.map(Datum::One).ok_or_else(|| match kind {
        // An address may hold a password.
        Kind::Url => Fault::wrong(kind.expected(), None),
        _ => Fault::wrong(kind.expected(), Some(&format!("{text:?}"))),
    })
}

/// A single value of the file as text, if TOML's type for it is the right one for `kind`.
///
/// # Errors
/// What is expected and the type that was got.
pub(crate) fn written(kind: Kind, value: &DeValue<'_>) -> Result<String, Fault> {
    match (kind, value) {
        (Kind::Bool, DeValue::Boolean(value)) => Ok(value.to_string()),
        (Kind::Integer, DeValue::Integer(value)) => {
            match i64::from_str_radix(value.as_str(), value.radix()) {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err(mismatch(kind, "a number that is too large")),
            }
        }
        (Kind::Bool | Kind::Integer | Kind::List | Kind::Command | Kind::Certificates, other) => {
            Err(mismatch(kind, type_name(other)))
        }
        (_, DeValue::String(text)) => Ok(text.clone().into_owned()),
        (_, other) => Err(mismatch(kind, type_name(other))),
    }
}

pub(crate) fn mismatch(kind: Kind, got: &str) -> Fault {
    Fault::wrong(kind.expected(), Some(got))
}

/// TOML's name for the type of a value, with its article.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn is_base_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn is_webhook(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// With a port, because proxies have no usual one, and without anything behind it.
fn is_proxy(text: &str) -> bool {
    let bare = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let port = bare.and_then(|rest| rest.rsplit_once(':')).and_then(|(_, port)| port.parse::<u16>().ok());
    // The port is looked for in the text, because `Url` forgets one that is the scheme's own.
    port.is_some_and(|port| port > 0)
        && Url::parse(text).is_ok_and(|url| {
            url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none()
        })
}
