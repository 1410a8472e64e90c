//! Attachments: fetching what users send, and sending files of ours (protocol §7).
//!
//! The bytes are with a host of their own, encrypted with a key that only the message has. No call to it carries the
//! bot's token.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Http, HttpRequest, Resources};
use moorline_core::{Attachment, Failure, FailureClass, MessageId, Secret};
use serde_json::{Value, json};
use url::Url;

use crate::api;
use crate::bot::{Bot, needs_login};
use crate::site::Base;
use cipher::{BLOCK, Key};

mod cipher;
mod upload;

pub use upload::{MediaKind, MediaUploader, Nonce, Upload, Uploaded};

const PHASE: &str = "attachment";

/// Of one download.
const DEADLINE: Duration = Duration::from_secs(120);

/// The platform's own limit (protocol §7.2).
const LONGEST: usize = 100 << 20;

/// Longest reference to a media file, in bytes; real ones have some hundred.
const LONGEST_REF: usize = 8 << 10;

/// Where a media file is and what opens it: all that a message says of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct MediaRef {
    /// The parameter of the download.
    param: Option<String>,
    /// The whole address, where the message has it.
    url: Option<String>,
    /// The key of an image in hex digits.
    hex_key: Option<String>,
    /// The key as media have it: base64 of 16 bytes, or of 32 hex digits.
    aes_key: Option<String>,
}

impl MediaRef {
    /// From the inside of an item: `image_item` and the like.
    pub(crate) fn of_item(item: &Value) -> Self {
        let text = |path: &str| {
            let text = item.pointer(path)?.as_str().filter(|text| !text.is_empty())?;
            Some(text.to_owned())
        };
        Self {
            param: text("/media/encrypt_query_param"),
            url: text("/media/full_url"),
            hex_key: text("/aeskey"),
            aes_key: text("/media/aes_key"),
        }
    }

    /// As the key of an attachment: JSON, which no field can break out of. One that is too long to be real is empty.
    pub(crate) fn key(&self) -> String {
        let fields = [
            ("param", &self.param),
            ("url", &self.url),
            ("hex_key", &self.hex_key),
            ("aes_key", &self.aes_key),
        ];
        let fields =
            fields.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?))));
        let key = Value::Object(fields.collect()).to_string();
        if key.len() > LONGEST_REF { "{}".to_owned() } else { key }
    }

    /// Reads what [`MediaRef::key`] wrote.
    fn read(key: &str) -> Self {
        let key: Value = serde_json::from_str(key).unwrap_or_default();
        let text = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { param: text("param"), url: text("url"), hex_key: text("hex_key"), aes_key: text("aes_key") }
    }

    /// Where to fetch it: on the configured host and nowhere else, whatever the message says.
    fn address(&self, cdn: &Base) -> Option<Url> {
        let whole = self.url.as_deref().and_then(|url| Url::parse(url).ok()).filter(|url| cdn.covers(url));
        whole.or_else(|| {
            let mut url = cdn.at(&["download"]);
            url.query_pairs_mut().append_pair("encrypted_query_param", self.param.as_deref()?);
            Some(url)
        })
    }

    /// What opens it; `None` when it is not locked, which only an image may be.
    ///
    /// # Errors
    /// When there is a key, and it is none.
    fn opener(&self) -> Result<Option<Key>, Failure> {
        let unusable = || refused("its key cannot be read");
        if let Some(hex) = &self.hex_key {
            return Key::from_hex(hex.as_bytes()).map(Some).ok_or_else(unusable);
        }
        let Some(key) = &self.aes_key else { return Ok(None) };
        let bytes = STANDARD.decode(key).map_err(|_| unusable())?;
        let key = if bytes.len() == BLOCK { Key::from_bytes(&bytes) } else { Key::from_hex(&bytes) };
        key.map(Some).ok_or_else(unusable)
    }
}

fn refused(what: &str) -> Failure {
    Failure::new(FailureClass::Rejected, format!("{PHASE}: {what}"))
}

/// Downloads for one bot.
pub(crate) struct Downloads {
    pub(crate) bot: Option<Arc<Bot>>,
}

impl Resources for Downloads {
    /// The key has all it takes; neither message nor name is looked at (F-094).
    fn fetch(
        &self,
        http: Rc<dyn Http>,
        _: Option<Secret>,
        _: &MessageId,
        attachment: &Attachment,
        limit: usize,
    ) -> LocalBoxFuture<'static, Result<Bytes, Failure>> {
        let bot = self.bot.clone();
        let (media, kind) = (MediaRef::read(&attachment.key), attachment.kind);
        Box::pin(async move {
            let bot = bot.ok_or_else(|| needs_login(PHASE))?;
            let url = media.address(&bot.site.cdn);
            let url = url.ok_or_else(|| refused("the message does not say where its bytes are"))?;
            let key = media.opener()?;
            if key.is_none() && kind != moorline_core::AttachmentKind::Image {
                return Err(refused("the message has no key for it"));
            }
            let bytes = download(&*http, url, limit.min(LONGEST)).await?;
            let bytes = match key {
                Some(key) => {
                    key.open(&bytes).await.ok_or_else(|| refused("its key does not open it"))?.into()
                }
                None => bytes,
            };
            if bytes.len() > limit { Err(too_large(limit)) } else { Ok(bytes) }
        })
    }
}

fn too_large(limit: usize) -> Failure {
    refused(&format!("more than {limit} bytes"))
}

async fn download(http: &dyn Http, url: Url, limit: usize) -> Result<Bytes, Failure> {
    let mut request = HttpRequest::new(Method::GET, url);
    request.deadline = DEADLINE;
    // As much as the last block may add.
    request.body_limit = limit.saturating_add(BLOCK);
    let response = match http.call(request).await {
        Ok(response) => response,
        Err(error) if error.kind == moorline_channel::NetworkErrorKind::TooLarge => {
            return Err(too_large(limit));
        }
        Err(error) => return Err(api::lost(PHASE, &error)),
    };
    match response.status {
        status if status.is_success() => Ok(response.body),
        // What is gone, or never was there, does not come back.
        status if status.is_client_error() && status != http::StatusCode::TOO_MANY_REQUESTS => {
            Err(refused(&format!("the platform does not hand it out, status {status}")))
        }
        _ => Err(api::refused_by_http(PHASE, &response)),
    }
}

#[cfg(test)]
mod tests;
