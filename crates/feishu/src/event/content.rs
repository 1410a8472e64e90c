//! What a message says: `message.content` by type (protocol §4.2).

use std::collections::BTreeMap;

use moorline_core::{Attachment, AttachmentKind};
use serde_json::Value;

mod card;

/// The placeholder of everybody.
const ALL: &str = "@_all";

/// Names by placeholder.
pub(super) struct Names<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    /// From the mention entities of a message.
    pub(super) fn new(mentions: &'a [Value]) -> Self {
        let field =
            |mention: &'a Value, key: &str| mention.get(key)?.as_str().filter(|text| !text.is_empty());
        let pairs = mentions.iter().filter_map(|m| Some((field(m, "key")?, field(m, "name")?)));
        Self(pairs.collect())
    }
}

/// What a message says and carries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// What there is to read; `None` when there is nothing.
    pub(super) text: Option<String>,
    /// In the order in which they appear.
    pub(super) attachments: Vec<Attachment>,
}

/// Reads `content` of a message of type `kind`. Types without anything to read or to fetch are empty: stickers,
/// shared chats and users, forwarded messages (whose content is one fixed sentence), and whatever comes next year.
///
/// # Errors
/// When `content` is not what a type that we read must have.
pub(super) fn read(kind: &str, content: &str, names: &Names<'_>) -> Result<Content, String> {
    match kind {
        "text" => text(content, names),
        "post" => post(content, names),
        "interactive" => {
            Ok(Content { text: readable(&card::text(&object(content)?, names)), ..Content::default() })
        }
        "location" => location(content),
        "image" => attachment(content, AttachmentKind::Image, "image_key"),
        "file" => attachment(content, AttachmentKind::File, "file_key"),
        "audio" => attachment(content, AttachmentKind::Audio, "file_key"),
        // Its image_key is the picture shown before it plays.
        "media" => attachment(content, AttachmentKind::Video, "file_key"),
        _ => Ok(Content::default()),
    }
}

/// A text message. Placeholders become the names that their mention entities give; that is for reading only, who
/// is mentioned is never read from the text (F-093).
fn text(content: &str, names: &Names<'_>) -> Result<Content, String> {
    let content = object(content)?;
    Ok(Content { text: readable(&named(string(&content, "text"), names)), ..Content::default() })
}

/// A rich text: the title, then a line for each paragraph. Some clients wrap it in its language.
fn post(content: &str, names: &Names<'_>) -> Result<Content, String> {
    let content = object(content)?;
    let is_post = |value: &&Value| value.get("content").is_some_and(Value::is_array);
    let languages = || content.as_object().and_then(|post| post.values().find(is_post));
    let post = Some(&content).filter(is_post).or_else(languages).unwrap_or(&content);

    let paragraphs: Vec<_> = array(post, "content").iter().filter_map(Value::as_array).collect();
    let lines = paragraphs.iter().map(|elements| paragraph(elements, names));
    let lines = std::iter::once(string(post, "title").to_owned()).chain(lines).collect::<Vec<_>>();
    Ok(Content {
        text: readable(&lines.join("\n")),
        attachments: paragraphs.into_iter().flatten().filter_map(embedded).collect(),
    })
}

fn location(content: &str) -> Result<Content, String> {
    let content = object(content)?;
    let number = |key| match content.get(key) {
        Some(Value::Number(number)) => number.to_string(),
        _ => string(&content, key).to_owned(),
    };
    let place = match (number("latitude"), number("longitude")) {
        (latitude, longitude) if latitude.is_empty() || longitude.is_empty() => String::new(),
        (latitude, longitude) => format!("({latitude}, {longitude})"),
    };
    let text = readable(&format!("{} {place}", string(&content, "name")));
    Ok(Content { text, ..Content::default() })
}

/// A message that is one attachment.
fn attachment(content: &str, kind: AttachmentKind, key: &str) -> Result<Content, String> {
    let content = object(content)?;
    let attachment = attached(&content, kind, key).ok_or_else(|| format!("an attachment without {key}"))?;
    Ok(Content { text: None, attachments: vec![attachment] })
}

/// What an element of a rich text carries.
fn embedded(element: &Value) -> Option<Attachment> {
    match string(element, "tag") {
        "img" => attached(element, AttachmentKind::Image, "image_key"),
        "media" => attached(element, AttachmentKind::Video, "file_key"),
        _ => None,
    }
}

fn attached(value: &Value, kind: AttachmentKind, key: &str) -> Option<Attachment> {
    let key = Some(string(value, key)).filter(|key| (1..=super::ID_BYTES).contains(&key.len()))?;
    let name = Some(string(value, "file_name")).filter(|name| !name.is_empty());
    Some(Attachment { kind, key: key.to_owned(), name: name.map(str::to_owned) })
}

fn object(content: &str) -> Result<Value, String> {
    match serde_json::from_str(content) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err("the content of the message is no JSON object".to_owned()),
        Err(error) => Err(format!("the content of the message is no JSON: {error}")),
    }
}

/// The text under `key`; empty when there is none.
fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The array under `key`; empty when there is none.
fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn readable(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn paragraph(elements: &[Value], names: &Names<'_>) -> String {
    elements.iter().map(|element| element_text(element, names)).collect()
}

/// Links keep their address, people their name, code its fence; pictures and whatever else has no text are left out.
fn element_text(element: &Value, names: &Names<'_>) -> String {
    let field = |key| string(element, key);
    match (field("tag"), field("text")) {
        ("at", _) => match (names.0.get(field("user_id")), field("user_name"), field("user_id")) {
            (Some(name), ..) => format!("@{name}"),
            (None, "", "all" | "@_all") => "@all".to_owned(),
            (None, "", user) => user.to_owned(),
            (None, name, _) => format!("@{name}"),
        },
        ("a", text) => match field("href") {
            href if href.is_empty() || href == text => text.to_owned(),
            href if text.is_empty() => href.to_owned(),
            href => format!("{text} ({href})"),
        },
        ("code_block", code) => {
            format!("```{}\n{}\n```", field("language").to_lowercase(), code.trim_end_matches('\n'))
        }
        ("emotion", _) if !field("emoji_type").is_empty() => format!("[{}]", field("emoji_type")),
        ("hr", _) => "---".to_owned(),
        (_, text) => text.to_owned(),
    }
}

/// Replaces each placeholder by the name behind it, in one pass: a name may look like a placeholder too.
fn named(text: &str, names: &Names<'_>) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, from_at) = rest.split_at(at);
        let (key, after) = from_at.split_at(placeholder_length(from_at));
        named.push_str(before);
        match names.0.get(key) {
            Some(name) => named.extend(["@", name]),
            None if key == ALL => named.push_str("@all"),
            None => named.push_str(key),
        }
        rest = after;
    }
    named.push_str(rest);
    named
}

/// How much of `text`, which begins with `@`, is a placeholder: `@_all`, or `@_user_` and digits; just the `@` when
/// it is none. Text may follow without a space.
fn placeholder_length(text: &str) -> usize {
    const USER: &str = "@_user_";
    match text.strip_prefix(USER) {
        Some(rest) => USER.len() + rest.bytes().take_while(u8::is_ascii_digit).count(),
        None if text.starts_with(ALL) => ALL.len(),
        None => 1,
    }
}

#[cfg(test)]
mod tests;
