//! What a message says: `message.content` by type (protocol §4.2).

use std::collections::BTreeMap;

use serde_json::Value;

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

/// A text message. Placeholders become the names that their mention entities give; that is for reading only, who
/// is mentioned is never read from the text (F-093).
///
/// # Errors
/// When `content` is not the JSON it must be.
pub(super) fn text(content: &str, names: &Names<'_>) -> Result<Option<String>, String> {
    let content = object(content)?;
    Ok(readable(&named(content.get("text").and_then(Value::as_str).unwrap_or_default(), names)))
}

/// A rich text: the title, then a line for each paragraph.
///
/// # Errors
/// When `content` is not the JSON it must be.
pub(super) fn post(content: &str, names: &Names<'_>) -> Result<Option<String>, String> {
    let content = object(content)?;
    let title = content.get("title").and_then(Value::as_str).unwrap_or_default();
    let paragraphs = content.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lines = paragraphs.iter().filter_map(Value::as_array).map(|elements| paragraph(elements, names));
    Ok(readable(&std::iter::once(title.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")))
}

fn object(content: &str) -> Result<Value, String> {
    match serde_json::from_str(content) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err("the content of the message is no JSON object".to_owned()),
        Err(error) => Err(format!("the content of the message is no JSON: {error}")),
    }
}

fn readable(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn paragraph(elements: &[Value], names: &Names<'_>) -> String {
    elements.iter().map(|element| element_text(element, names)).collect()
}

/// Links keep their address, people their name; pictures and whatever else has no text are left out.
fn element_text(element: &Value, names: &Names<'_>) -> String {
    let field = |key: &str| element.get(key).and_then(Value::as_str).unwrap_or_default();
    match field("tag") {
        "at" => {
            let user = field("user_id");
            match (names.0.get(user), field("user_name")) {
                (Some(name), _) => format!("@{name}"),
                (None, "") => user.to_owned(),
                (None, name) => format!("@{name}"),
            }
        }
        "a" if !field("href").is_empty() && field("href") != field("text") => {
            format!("{} ({})", field("text"), field("href"))
        }
        _ => field("text").to_owned(),
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
    const ALL: &str = "@_all";
    match text.strip_prefix(USER) {
        Some(rest) => USER.len() + rest.bytes().take_while(u8::is_ascii_digit).count(),
        None if text.starts_with(ALL) => ALL.len(),
        None => 1,
    }
}
