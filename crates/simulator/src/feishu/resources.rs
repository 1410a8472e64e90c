//! Images and files (§3.4): uploading them, and downloading what a message carries.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{Api, json_answer, refusal};
use super::app::AppId;
use super::fault::{Fault, Lost};
use super::multipart::{self, Field};
use super::platform::Platform;
use crate::link::{LinkId, Now, Request, Response};

/// The largest image that can be uploaded.
const IMAGE_LIMIT: usize = 10 << 20;
/// The largest file that can be uploaded.
const FILE_LIMIT: usize = 30 << 20;

const FILE_TYPES: [&str; 7] = ["opus", "mp4", "pdf", "doc", "xls", "ppt", "stream"];

/// Something a message can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Whether it is an image, which has keys of its own.
    pub kind: ResourceKind,
    /// The name it is downloaded under.
    pub name: String,
    /// What it consists of.
    pub bytes: Bytes,
}

/// The two kinds, as `type` of a download names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// `image_key`.
    Image,
    /// `file_key`: files, audio, video, stickers.
    File,
}

/// A resource as the platform keeps it.
#[derive(Debug)]
pub(crate) struct Stored {
    resource: Resource,
    /// The app that uploaded it; `None` for a user.
    owner: Option<AppId>,
    /// `opus`, `mp4`, …; empty for images.
    file_type: String,
}

impl Platform {
    /// A user has uploaded this; the key goes into the content of a message. The newest ten thousand resources are
    /// kept.
    pub fn add_resource(&mut self, resource: Resource) -> String {
        self.store(Stored { resource, owner: None, file_type: String::new() })
    }

    fn store(&mut self, stored: Stored) -> String {
        /// Resources kept; the oldest goes first.
        const LIMIT: usize = 10_000;
        let prefix = match stored.resource.kind {
            ResourceKind::Image => "img_v3",
            ResourceKind::File => "file_v3",
        };
        let key = format!("{prefix}_{}", self.hex(32));
        self.resources.insert(key.clone(), stored);
        self.resource_keys.push_back(key.clone());
        if self.resource_keys.len() > LIMIT
            && let Some(oldest) = self.resource_keys.pop_front()
        {
            self.resources.remove(&oldest);
        }
        key
    }

    /// Takes an image or a file of a bot.
    pub(crate) fn upload(&mut self, link: LinkId, request: &Request, kind: ResourceKind, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Upload, now) else { return };
        let result = uploaded(request, kind).map(|(resource, file_type)| {
            let key = self.store(Stored { resource, owner: Some(app.clone()), file_type });
            let data = match kind {
                ResourceKind::Image => json!({ "image_key": key }),
                ResourceKind::File => json!({ "file_key": key }),
            };
            json_answer(200, &json!({ "code": 0, "msg": "success", "data": data }))
        });
        self.conclude(link, &app, result, delay, lost, now);
    }

    /// Hands out what a message carries.
    pub(crate) fn download(&mut self, link: LinkId, request: &Request, message: &str, key: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Download, now) else { return };
        let result = self.carried(&app, request.query("type"), message, key);
        self.conclude(link, &app, result, delay, |_| None, now);
    }

    /// Hands out an image the app uploaded itself.
    pub(crate) fn download_own(&mut self, link: LinkId, request: &Request, key: &str, now: Now) {
        let Some((app, delay)) = self.admit(link, request, Api::Download, now) else { return };
        let own = self.resources.get(key).filter(|stored| stored.owner.as_ref() == Some(&app));
        let not_own = || refusal(400, 234_008, "The app is not the resource sender");
        let result = own.map(|stored| raw(&stored.resource)).ok_or_else(not_own);
        self.conclude(link, &app, result, delay, |_| None, now);
    }

    fn carried(
        &self,
        app: &AppId,
        kind: Option<&str>,
        message: &str,
        key: &str,
    ) -> Result<Response, Response> {
        let posted = self.readable(app, message)?;
        let kind = match kind {
            Some("image") => ResourceKind::Image,
            Some("file") => ResourceKind::File,
            _ => return Err(refusal(400, 234_001, "Invalid request param; ext=type")),
        };
        // Keys are long and random: where the text is, the key is.
        let stored = self.resources.get(key).filter(|_| posted.content.contains(key));
        match stored {
            Some(stored) if stored.resource.kind == kind => Ok(raw(&stored.resource)),
            Some(_) => Err(refusal(400, 234_001, "Invalid request param; ext=type")),
            None => Err(refusal(400, 234_003, "File not in message")),
        }
    }

    /// Whether a message of this app may carry these keys.
    pub(crate) fn check_keys(
        &self,
        app: &AppId,
        msg_type: &str,
        content: &serde_json::Value,
    ) -> Result<(), Response> {
        let keys: &[&str] = match msg_type {
            "image" => &["image_key"],
            "file" | "audio" | "sticker" => &["file_key"],
            "media" => &["file_key", "image_key"],
            _ => &[],
        };
        for &name in keys {
            let key = content.get(name).and_then(serde_json::Value::as_str);
            // The cover of a video may be left out.
            if key.is_none() && (msg_type, name) == ("media", "image_key") {
                continue;
            }
            let stored = key.and_then(|key| self.resources.get(key));
            let usable = stored.filter(|stored| {
                // Stickers cannot be uploaded: a bot sends those it has received.
                msg_type == "sticker" || stored.owner.as_ref() == Some(app)
            });
            let Some(stored) = usable else {
                return Err(refusal(400, 230_001, &format!("invalid {name}; ext=not uploaded by this app")));
            };
            let wanted = match (msg_type, name) {
                ("audio", _) => "opus",
                ("media", "file_key") => "mp4",
                _ => continue,
            };
            if stored.file_type != wanted {
                return Err(refusal(400, 230_055, "The type of file does not match the message type"));
            }
        }
        Ok(())
    }
}

/// The resource in an upload, and its `file_type`.
fn uploaded(request: &Request, kind: ResourceKind) -> Result<(Resource, String), Response> {
    let invalid = |what: &str| refusal(400, 234_001, &format!("Invalid request param; ext={what}"));
    let form = multipart::fields(request.header("content-type").unwrap_or_default(), &request.body)
        .ok_or_else(|| invalid("not a form"))?;
    let field = |name: &str| form.iter().find(|field| field.name == name);
    let text = |name: &str| field(name).and_then(|field| std::str::from_utf8(field.value).ok());
    let file = |name: &str| field(name).ok_or_else(|| invalid(name));
    let (file, file_type, name, limit): (&Field<'_>, _, _, _) = match kind {
        ResourceKind::Image => {
            if !matches!(text("image_type"), Some("message" | "avatar")) {
                return Err(invalid("image_type"));
            }
            let file = file("image")?;
            (file, "", file.file_name.as_deref().unwrap_or("image"), IMAGE_LIMIT)
        }
        ResourceKind::File => {
            let file_type = text("file_type").filter(|file_type| FILE_TYPES.contains(file_type));
            let file_type = file_type.ok_or_else(|| invalid("file_type"))?;
            let name = text("file_name").filter(|name| !name.is_empty());
            (file("file")?, file_type, name.ok_or_else(|| invalid("file_name"))?, FILE_LIMIT)
        }
    };
    if file.value.is_empty() {
        return Err(refusal(400, 234_010, "File's size can't be 0"));
    }
    if file.value.len() > limit {
        return Err(refusal(400, 234_006, "The file size exceed the max value"));
    }
    let bytes = Bytes::copy_from_slice(file.value);
    Ok((Resource { kind, name: name.to_owned(), bytes }, file_type.to_owned()))
}

/// The bytes themselves, under their name.
fn raw(resource: &Resource) -> Response {
    let content_type = match resource.kind {
        ResourceKind::Image => "image/png",
        ResourceKind::File => "application/octet-stream",
    };
    // Header values are ASCII; a name that is not goes out in the extended form of RFC 6266.
    let plain = |c: char| (c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%')) || c == ' ';
    let disposition = if resource.name.chars().all(plain) {
        format!("attachment; filename=\"{}\"", resource.name)
    } else {
        let encoded: String = url::form_urlencoded::byte_serialize(resource.name.as_bytes()).collect();
        format!("attachment; filename*=UTF-8''{}", encoded.replace('+', "%20"))
    };
    let headers = vec![
        ("content-type", content_type.to_owned()),
        ("content-disposition", disposition),
        ("x-tt-logid", "20261120120000simulator".to_owned()),
    ];
    Response { status: 200, headers, body: resource.bytes.clone() }
}

fn lost(fault: &Fault) -> Option<Lost> {
    match fault {
        Fault::LoseUploadAnswer(lost) => Some(*lost),
        _ => None,
    }
}
