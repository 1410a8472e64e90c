//! What a message says and carries: its `item_list` (protocol §5.5).

use moorline_core::{Attachment, AttachmentKind};
use serde_json::Value;

use crate::api::whole;
use crate::media::MediaRef;
use crate::quote::quote;

/// `type` of an item. What is not here is something without text or bytes, or comes next year.
const TEXT: i64 = 1;
const IMAGE: i64 = 2;
const VOICE: i64 = 3;
const FILE: i64 = 4;
const VIDEO: i64 = 5;

/// Longest name of a file, in characters.
const NAME_CHARS: usize = 255;

/// What a message says and carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// What there is to read; `None` when there is nothing.
    pub(super) text: Option<String>,
    /// In the order in which they appear.
    pub(super) attachments: Vec<Attachment>,
}

/// Reads all items: a line for each that has words, with what it quotes in front of it.
pub(super) fn read(items: &[Value]) -> Content {
    let mut lines = Vec::new();
    for item in items {
        lines.extend(quoted(item).map(|quoted| format!("> {quoted}")));
        lines.extend(words(item).map(str::to_owned));
    }
    let text = lines.join("\n");
    let text = text.trim();
    Content {
        text: (!text.is_empty()).then(|| text.to_owned()),
        attachments: items.iter().filter_map(attachment).collect(),
    }
}

/// The text of an item, or what the platform heard in a recording.
fn words(item: &Value) -> Option<&str> {
    match kind(item)? {
        TEXT => string(item, "/text_item/text"),
        VOICE => string(item, "/voice_item/text"),
        _ => None,
    }
}

/// The message that an item quotes, on one short line: the part that was marked, else its words, else its title. Newer
/// phones name only the quoted message's id, under which there is nothing to be had from the platform.
fn quoted(item: &Value) -> Option<String> {
    let quoted = item.get("ref_msg")?;
    let whole = || quoted.get("message_item").and_then(words);
    let text = string(quoted, "/partial_text").or_else(whole).or_else(|| string(quoted, "/title"))?;
    Some(quote(text, [])).filter(|text| !text.is_empty())
}

/// What an item carries. One whose bytes cannot be had is named all the same, and fails when it is fetched (protocol
/// §7.2).
fn attachment(item: &Value) -> Option<Attachment> {
    let (kind, part) = match kind(item)? {
        IMAGE => (AttachmentKind::Image, "image_item"),
        VOICE => (AttachmentKind::Audio, "voice_item"),
        FILE => (AttachmentKind::File, "file_item"),
        VIDEO => (AttachmentKind::Video, "video_item"),
        _ => return None,
    };
    let item = item.get(part).unwrap_or(&Value::Null);
    let name = string(item, "/file_name").map(|name| name.chars().take(NAME_CHARS).collect());
    Some(Attachment { kind, key: MediaRef::of_item(item).key(), name })
}

fn kind(item: &Value) -> Option<i64> {
    whole(item.get("type")?)
}

/// The text at `path`; nothing when it is missing, blank, or no text.
fn string<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.trim().is_empty())
}
