//! Sending files of ours (protocol §7.1). The runtime has no attachments of its own yet; whoever has one to send uses
//! this directly.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use md5::{Digest, Md5};
use moorline_channel::{Http, HttpRequest, HttpResponse, SavedLogin};
use moorline_core::{AccountSettings, ChatId, Failure, FailureClass, IdempotencyKey, Receipt, Secret};
use serde_json::{Value, json};
use url::Url;

use super::cipher::{BLOCK, Key, others_first};
use super::{DEADLINE, LONGEST};
use crate::api::{self, Answer, GET_UPLOAD_URL};
use crate::bot::{Bot, Call};
use crate::class;
use crate::plan;
use crate::quote::quote;
use crate::sender::{self, Message};
use crate::site::hex;

const PHASE: &str = "upload";

/// How often the ciphertext is offered, if the storage does not say a final no (protocol §7.1).
const TRIES: u32 = 3;

/// Bytes that are hashed before everybody else has a turn.
const PIECE: usize = 1 << 20;

/// What a file is to the platform. Voice messages of bots are not shown by phones, so there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// Anything else, under its name.
    File,
}

impl MediaKind {
    /// `media_type` of the upload, which is not the type of the item.
    const fn media_type(self) -> u8 {
        match self {
            Self::Image => 1,
            Self::Video => 2,
            Self::File => 3,
        }
    }
}

/// Thirty-two bytes that nobody can guess, from the operating system, fresh for each upload: half of them become the
/// key of the file.
#[derive(Clone, Copy)]
pub struct Nonce(pub [u8; 32]);

/// Shows nothing of it.
impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A file to be sent to a user.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What it is.
    pub kind: MediaKind,
    /// Its bytes; at most 100 MiB.
    pub bytes: Bytes,
    /// The name the user sees; only a [`MediaKind::File`] has one.
    pub name: String,
    /// Who may have it.
    pub to: ChatId,
    /// Where its key comes from.
    pub nonce: Nonce,
}

/// A file that the platform has: the item of the message that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded(Value);

/// Uploads and sends the files of one bot.
#[derive(Debug, Clone)]
pub struct MediaUploader {
    bot: Arc<Bot>,
}

impl MediaUploader {
    /// For the account with these settings, as this login left it.
    ///
    /// # Errors
    /// When one of the two cannot be used; [`FailureClass::NeedsLogin`] for the login.
    pub fn new(settings: &AccountSettings, login: &SavedLogin) -> Result<Self, Failure> {
        let site = plan::site(settings).map_err(|_| {
            Failure::new(
                FailureClass::Rejected,
                format!("{PHASE}: the settings of {} cannot work", settings.id),
            )
        })?;
        Ok(Self { bot: Arc::new(Bot::read(&site, login)?) })
    }

    /// Locks a file and hands it to the platform.
    ///
    /// # Errors
    /// [`FailureClass::Rejected`] for a file that the platform does not take; otherwise as of any call.
    pub async fn upload(&self, http: &dyn Http, upload: &Upload) -> Result<Uploaded, Failure> {
        let rejected = |what: String| Failure::new(FailureClass::Rejected, format!("{PHASE}: {what}"));
        if upload.bytes.len() > LONGEST {
            return Err(rejected(format!("more than {LONGEST} bytes")));
        }
        let (key, filekey) = upload.nonce.0.split_at(BLOCK);
        let key = Key::from_bytes(key).ok_or_else(|| rejected("no key".to_owned()))?;
        let filekey = hex(filekey);
        let locked = Bytes::from(key.lock(&upload.bytes).await);
        let answer = self.ask(http, upload, &key, &filekey, locked.len()).await?;
        let url = self.address(&answer, &filekey)?;
        let param = store(http, &url, &locked).await?;
        Ok(Uploaded(item(upload, &param, &key, locked.len())))
    }

    /// Shows an uploaded file to the user it was uploaded for, as a message of its own. The rest is as of any message: the
    /// key, the newest reply token of the chat, and what the failures mean.
    ///
    /// # Errors
    /// As of [`moorline_channel::Sender::send`].
    pub async fn send(
        &self,
        http: Rc<dyn Http>,
        to: &ChatId,
        media: &Uploaded,
        key: &IdempotencyKey,
        reply_token: Option<&Secret>,
    ) -> Result<Receipt, Failure> {
        sender::send(&self.bot, &*http, Message { to, item: media.0.clone(), key, reply_token }).await
    }

    async fn ask(
        &self,
        http: &dyn Http,
        upload: &Upload,
        key: &Key,
        filekey: &str,
        locked: usize,
    ) -> Result<Answer, Failure> {
        let body = json!({
            "filekey": filekey,
            "media_type": upload.kind.media_type(),
            "to_user_id": upload.to,
            "rawsize": upload.bytes.len(),
            "rawfilemd5": md5(&upload.bytes).await,
            "filesize": locked,
            "no_need_thumb": true,
            "aeskey": key.to_hex(),
        });
        let secret = key.to_hex();
        let secrets = vec![secret.as_str()];
        let call = Call { phase: PHASE, endpoint: &GET_UPLOAD_URL, body, secrets, judge: class::send };
        self.bot.call(http, call).await
    }

    /// Where the ciphertext goes. The file is locked, and the address is the platform's own word to us; it is held to the
    /// configured host all the same, like every other one.
    fn address(&self, answer: &Answer, filekey: &str) -> Result<Url, Failure> {
        let cdn = &self.bot.site.cdn;
        let whole = answer.text("upload_full_url").and_then(|url| Url::parse(&url).ok());
        if let Some(url) = whole.filter(|url| cdn.covers(url)) {
            return Ok(url);
        }
        let param = answer.text("upload_param").ok_or_else(|| {
            let what = format!("{PHASE}: answered with success, but without a place for the file");
            Failure::new(FailureClass::Protocol, what)
        })?;
        let mut url = cdn.at(&["upload"]);
        url.query_pairs_mut().append_pair("encrypted_query_param", &param).append_pair("filekey", filekey);
        Ok(url)
    }
}

/// Hands the ciphertext over; what names it from then on.
async fn store(http: &dyn Http, url: &Url, locked: &Bytes) -> Result<String, Failure> {
    let mut failure = Failure::transient(format!("{PHASE}: not tried"));
    for _ in 0..TRIES {
        let mut request = HttpRequest::new(Method::POST, url.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request.body = locked.clone();
        request.deadline = DEADLINE;
        failure = match http.call(request).await {
            Ok(response) => match stored(&response) {
                Ok(param) => return Ok(param),
                Err(failure) if failure.class == FailureClass::Rejected => return Err(failure),
                Err(failure) => failure,
            },
            Err(error) => api::lost(PHASE, &error),
        };
    }
    Err(failure)
}

fn stored(response: &HttpResponse) -> Result<String, Failure> {
    let header = |name: &str| response.headers.get(name)?.to_str().ok().filter(|text| !text.is_empty());
    match (response.status, header("x-encrypted-param")) {
        (status, Some(param)) if status.is_success() => Ok(param.to_owned()),
        (status, _) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            let said = header("x-error-message").map(|text| quote(text, [])).unwrap_or_default();
            let what = format!("{PHASE}: the storage refuses the file with status {status}: {said}");
            Err(Failure::new(FailureClass::Rejected, what))
        }
        (status, None) if status.is_success() => {
            Err(Failure::transient(format!("{PHASE}: the storage does not say what it calls the file")))
        }
        _ => Err(api::refused_by_http(PHASE, response)),
    }
}

/// The item of a message. Fields that are not asked for were seen to make sends fail (protocol §5.1).
fn item(upload: &Upload, param: &str, key: &Key, locked: usize) -> Value {
    use base64::Engine;
    // Over the digits, not over the bytes (protocol §7.1).
    let aes_key = base64::engine::general_purpose::STANDARD.encode(key.to_hex());
    let media = json!({ "encrypt_query_param": param, "aes_key": aes_key, "encrypt_type": 1 });
    match upload.kind {
        MediaKind::Image => json!({ "type": 2, "image_item": { "media": media, "mid_size": locked } }),
        MediaKind::Video => json!({ "type": 5, "video_item": { "media": media, "video_size": locked } }),
        MediaKind::File => {
            let len = upload.bytes.len().to_string();
            json!({ "type": 4, "file_item": { "media": media, "file_name": upload.name, "len": len } })
        }
    }
}

async fn md5(bytes: &[u8]) -> String {
    let mut md5 = Md5::new();
    for piece in bytes.chunks(PIECE) {
        md5.update(piece);
        others_first().await;
    }
    hex(&md5.finalize())
}
