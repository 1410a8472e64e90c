//! Media (§7): what users send, what bots upload, and both downloads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use moorline_core::UserId;
use serde_json::{Value, json};

use super::auth::INVALID;
use super::bot::BotId;
use super::calls::{refusal, text_answer};
use super::cipher::{self, Key};
use super::item::{KeyForm, Media};
use super::ledger::Breach;
use super::platform::Platform;
use crate::link::{LinkId, Now, Request, Response};

/// Stored files and announced uploads that are remembered.
const LIMIT: usize = 10_000;

/// A file on the CDN.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) bot: BotId,
    key: Option<Key>,
    plain: Vec<u8>,
    cipher: Bytes,
}

/// An upload that was announced.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bot: BotId,
    filekey: String,
    key: Key,
    rawsize: usize,
    filesize: usize,
}

impl Platform {
    /// `getuploadurl`.
    pub(crate) fn getuploadurl(&mut self, link: LinkId, bot: &BotId, body: &Value, now: Now) {
        let Some(upload) = upload(bot, body) else {
            self.breach(link, Breach::Field, now);
            return self.answer(link, refusal(INVALID, "invalid argument"), now);
        };
        let param = self.hex(64);
        let mut answer = json!({ "ret": 0, "upload_param": param });
        if let Some(cdn) = &self.rules.cdn_url {
            let filekey = &upload.filekey;
            answer["upload_full_url"] =
                format!("{cdn}/upload?encrypted_query_param={param}&filekey={filekey}").into();
        }
        if self.uploads.len() >= LIMIT {
            self.uploads.pop_first();
        }
        self.uploads.insert(param, upload);
        self.answer_effect(link, answer, now);
    }

    /// The bot behind a call of the CDN, which carries no token.
    pub(crate) fn media_owner(&self, request: &Request) -> Option<BotId> {
        let param = request.query("encrypted_query_param")?;
        let uploader = self.uploads.get(param).map(|upload| &upload.bot);
        uploader.or_else(|| self.files.get(param).map(|stored| &stored.bot)).cloned()
    }

    /// The upload of a ciphertext. A 4xx is final, its reason in a header.
    pub(crate) fn upload(&mut self, link: LinkId, request: &Request, now: Now) {
        match self.take_upload(request) {
            Ok(param) => {
                let headers = vec![("x-encrypted-param", param)];
                self.respond_effect(link, Response { status: 200, headers, body: Bytes::new() }, now);
            }
            Err(reason) => {
                self.breach(link, Breach::Upload, now);
                let headers = vec![("x-error-message", reason.to_owned())];
                self.respond(link, Response { status: 400, headers, body: Bytes::new() }, 400, now);
            }
        }
    }

    fn take_upload(&mut self, request: &Request) -> Result<String, &'static str> {
        let upload = self.uploads.get(request.query("encrypted_query_param").unwrap_or_default());
        let upload = upload.ok_or("unknown encrypted_query_param")?;
        if request.query("filekey") != Some(&upload.filekey) {
            return Err("filekey mismatch");
        }
        if request.header("content-type") != Some("application/octet-stream") {
            return Err("content-type mismatch");
        }
        if request.body.len() != upload.filesize {
            return Err("filesize mismatch");
        }
        let plain = cipher::decrypt(&upload.key, &request.body).ok_or("cannot decrypt")?;
        if plain.len() != upload.rawsize {
            return Err("rawsize mismatch");
        }
        let cipher = request.body.clone();
        let stored = Stored { bot: upload.bot.clone(), key: Some(upload.key), plain, cipher };
        Ok(self.store(stored))
    }

    /// A download.
    pub(crate) fn download(&mut self, link: LinkId, request: &Request, now: Now) {
        let param = request.query("encrypted_query_param").unwrap_or_default();
        match self.files.get(param).map(|stored| stored.cipher.clone()) {
            Some(body) => {
                let headers = vec![("content-type", "application/octet-stream".to_owned())];
                self.respond_effect(link, Response { status: 200, headers, body }, now);
            }
            None => self.respond(link, text_answer(404, "no such file".to_owned()), 404, now),
        }
    }

    fn store(&mut self, stored: Stored) -> String {
        let param = self.hex(64);
        if self.files.len() >= LIMIT {
            self.files.pop_first();
        }
        self.files.insert(param.clone(), stored);
        param
    }

    /// Puts what a user sends on the CDN. Gives the `media` of the item, the size of the ciphertext, and the key in
    /// hex where the item has one of its own.
    pub(crate) fn user_media(&mut self, bot: &BotId, media: &Media) -> (Value, usize, Option<String>) {
        let key: Key = std::array::from_fn(|_| self.rng.u8(..));
        let key = (media.key != KeyForm::None).then_some(key);
        let cipher = key.map_or_else(|| media.bytes.clone(), |key| cipher::encrypt(&key, &media.bytes));
        let size = cipher.len();
        let stored = Stored { bot: bot.clone(), key, plain: media.bytes.clone(), cipher: cipher.into() };
        let param = self.store(stored);
        let mut wire = json!({ "encrypt_query_param": param, "encrypt_type": 1 });
        if let Some(cdn) = &self.rules.cdn_url {
            wire["full_url"] = format!("{cdn}/download?encrypted_query_param={param}").into();
        }
        let own = match (media.key, key) {
            (KeyForm::Hex, Some(key)) => {
                wire["aes_key"] = STANDARD.encode(cipher::hex(&key)).into();
                None
            }
            (KeyForm::Raw, Some(key)) => {
                wire["aes_key"] = STANDARD.encode(key).into();
                None
            }
            (KeyForm::Item, Some(key)) => {
                wire["aes_key"] = STANDARD.encode([0; 16]).into();
                Some(cipher::hex(&key))
            }
            _ => None,
        };
        (wire, size, own)
    }

    /// The file behind a media item of a bot, and whether its sizes are as they have to be; `None` where a phone
    /// could not show it.
    pub(crate) fn sent_media(&self, item: &Value) -> Option<(Vec<u8>, bool)> {
        let (key, size) = match item["type"].as_i64()? {
            2 => ("image_item", "mid_size"),
            4 => ("file_item", "len"),
            5 => ("video_item", "video_size"),
            _ => return None,
        };
        let content = &item[key];
        let stored = self.files.get(content["media"]["encrypt_query_param"].as_str()?)?;
        // The key is told as the base64 of its hex text.
        let told = STANDARD.decode(content["media"]["aes_key"].as_str()?).ok()?;
        if stored.key.is_none_or(|key| cipher::hex(&key).into_bytes() != told) {
            return None;
        }
        let good = match key {
            "file_item" => content[size] == stored.plain.len().to_string(),
            _ => content[size] == stored.cipher.len(),
        };
        Some((stored.plain.clone(), good))
    }
}

/// Reads what an upload announces (§7.1).
fn upload(bot: &BotId, body: &Value) -> Option<Upload> {
    let hex = |key: &str| body[key].as_str().filter(|text| text.len() == 32).and_then(cipher::unhex);
    let size = |key: &str| body[key].as_u64().and_then(|size| usize::try_from(size).ok());
    let (rawsize, filesize) = (size("rawsize")?, size("filesize")?);
    let kind = body["media_type"].as_i64()?;
    UserId::new(body["to_user_id"].as_str().filter(|user| !user.is_empty())?);
    hex("rawfilemd5")?;
    let filekey = body["filekey"].as_str().filter(|_| hex("filekey").is_some())?.to_owned();
    let good = (1..=4).contains(&kind) && filesize == (rawsize / 16 + 1) * 16;
    good.then_some(Upload { bot: bot.clone(), filekey, key: hex("aeskey")?, rawsize, filesize })
}
