//! The readable text of cards. Their notation is large and grows: what shows text in the simple elements is read, in
//! order, a line for each, and the rest is passed over.

use serde_json::Value;

use super::{Names, element_text, paragraph, string};

/// Where an element keeps further elements, in the order in which they are shown.
const PARTS: [&str; 10] =
    ["header", "title", "subtitle", "text", "fields", "body", "elements", "columns", "actions", "extra"];

/// Of a whole card: as sent, in both versions of the notation, or as the platform flattens it for readers, which is
/// nearly a rich text.
pub(super) fn text(card: &Value, names: &Names<'_>) -> String {
    let mut lines = Vec::new();
    collect(card, names, &mut lines);
    lines.join("\n")
}

/// Recursion ends where the parser's does, at 128 levels.
fn collect(part: &Value, names: &Names<'_>, lines: &mut Vec<String>) {
    match part {
        Value::String(text) => push(text.clone(), lines),
        // A line of a flattened card.
        Value::Array(elements) if is_line(elements) => push(paragraph(elements, names), lines),
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, names, lines)),
        Value::Object(_) if is_inline(part) => push(element_text(part, names), lines),
        Value::Object(element) => {
            push(string(part, "content").to_owned(), lines);
            let parts = PARTS.iter().filter_map(|key| element.get(*key));
            parts.for_each(|part| collect(part, names, lines));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Some elements stand in one line if nothing among them has elements of its own.
fn is_line(elements: &[Value]) -> bool {
    let is_nested = |part: &Value| part.is_array() || part.is_object();
    let has_parts = |element: &Value| {
        PARTS.iter().any(|key| element.get(*key).is_some_and(is_nested)) || element.is_array()
    };
    elements.iter().any(is_inline) && !elements.iter().any(has_parts)
}

/// An element of a line, as rich texts have them: what elsewhere is an object is plain text here.
fn is_inline(element: &Value) -> bool {
    let tag = string(element, "tag");
    matches!(tag, "text" | "a" | "at" | "emotion" | "code_block")
        || tag == "button" && element.get("text").is_some_and(Value::is_string)
}

fn push(line: String, lines: &mut Vec<String>) {
    if !line.trim().is_empty() {
        lines.push(line);
    }
}
