//! Envelopes: from the payload of a data frame to what the runtime stores (protocol §4).
//!
//! Only what is needed is read, and every field that is not needed may be missing, null or of another type: the
//! platform adds and drops fields, and a message must not be lost over one that nobody reads (F-037).

use bytes::Bytes;
use moorline_channel::Delivery;
use moorline_core::{
    Chat, ChatId, ChatKind, ConversationId, DedupeKey, EventId, Inbound, Mention, MessageId, Route, Sender,
    SenderKind, Timestamp, UserId,
};
use serde_json::Value;

use crate::app::sha256_hex;
use crate::quote::quote;

mod content;

/// The one event that is a message.
const MESSAGE: &str = "im.message.receive_v1";

/// Longest id, in bytes: of events, messages, chats, users and attachments. Real ones have up to 80.
const ID_BYTES: usize = 256;

/// What a payload is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Has to be stored before it is acknowledged.
    Delivery(Delivery),
    /// An event that needs nothing but its acknowledgement: an event without a use that is answered with anything
    /// else comes again four times (protocol §4.3).
    Notice {
        /// Its `event_type`.
        kind: String,
    },
}

/// Reads a payload. Never fails: what cannot be read is a [`Delivery::Unreadable`] that keeps its bytes.
pub(crate) fn read(payload: Bytes) -> Received {
    let envelope: Value = match serde_json::from_slice(&payload) {
        Ok(envelope) => envelope,
        Err(error) => return unreadable(&Value::Null, payload, format!("the payload is no JSON: {error}")),
    };
    let schema = text(&envelope, "/schema");
    if schema != Some("2.0") {
        let why = format!("an envelope of schema {}, not 2.0", quote(schema.unwrap_or("1"), []));
        return unreadable(&envelope, payload, why);
    }
    match text(&envelope, "/header/event_type") {
        Some(MESSAGE) => match message(&envelope, &payload) {
            Ok(inbound) => Received::Delivery(Delivery::Message(Box::new(inbound))),
            Err(why) => unreadable(&envelope, payload, why),
        },
        Some(kind) => Received::Notice { kind: quote(kind, []) },
        None => unreadable(&envelope, payload, "the envelope has no event_type".to_owned()),
    }
}

fn unreadable(envelope: &Value, raw: Bytes, why: String) -> Received {
    let event_id = event_id(envelope).unwrap_or_else(|| format!("sha256:{}", sha256_hex(&raw)));
    let dedupe = dedupe(&event_id, id(envelope, "/event/message/message_id"));
    Received::Delivery(Delivery::Unreadable { event_id: EventId::new(event_id), dedupe, raw, why })
}

/// `header.event_id`, or the `uuid` of a v1 envelope.
fn event_id(envelope: &Value) -> Option<String> {
    id(envelope, "/header/event_id").or_else(|| id(envelope, "/uuid")).map(str::to_owned)
}

/// Protocol §2.5 rule 3: a redelivery has the same event_id, and a second event for the same message happens too.
fn dedupe(event_id: &str, message_id: Option<&str>) -> Vec<DedupeKey> {
    let event = DedupeKey::new(format!("event:{event_id}"));
    let message = message_id.map(|id| DedupeKey::new(format!("message:{id}")));
    std::iter::once(event).chain(message).collect()
}

/// Protocol §4.2.
fn message(envelope: &Value, raw: &Bytes) -> Result<Inbound, String> {
    let need = |path: &str| id(envelope, path).ok_or_else(|| format!("a message without a usable {path}"));
    let message_id = need("/event/message/message_id")?;
    let chat_id = need("/event/message/chat_id")?;
    let event_id = event_id(envelope).unwrap_or_else(|| format!("message:{message_id}"));
    let thread_id = id(envelope, "/event/message/thread_id");
    let kind = match text(envelope, "/event/message/chat_type") {
        Some("p2p") => ChatKind::Direct,
        _ => ChatKind::Group,
    };
    let entities = envelope.pointer("/event/message/mentions").and_then(Value::as_array);
    let entities = entities.map(Vec::as_slice).unwrap_or_default();
    let names = content::Names::new(entities);
    let content = text(envelope, "/event/message/content").unwrap_or_default();
    let message_type = text(envelope, "/event/message/message_type").unwrap_or_default();
    let content = content::read(message_type, content, &names)?;
    Ok(Inbound {
        dedupe: dedupe(&event_id, Some(message_id)),
        event_id: EventId::new(event_id),
        conversation: ConversationId::new(match thread_id {
            Some(thread) => format!("{chat_id}/{thread}"),
            None => chat_id.to_owned(),
        }),
        chat: Chat { id: ChatId::new(chat_id), kind },
        message_id: MessageId::new(message_id),
        sender: sender(envelope),
        mentions: entities.iter().filter_map(mention).collect(),
        text: content.text,
        attachments: content.attachments,
        route: Route {
            chat: ChatId::new(chat_id),
            // In a group the answer shows what it answers; in a thread it is the only way into the thread.
            reply_to: (kind == ChatKind::Group || thread_id.is_some()).then(|| MessageId::new(message_id)),
            in_thread: thread_id.is_some(),
        },
        written_at: written_at(envelope),
        reply_token: None,
        raw: raw.clone(),
    })
}

fn sender(envelope: &Value) -> Sender {
    let ids = envelope.pointer("/event/sender/sender_id").map(user_ids).unwrap_or_default();
    let kind = match text(envelope, "/event/sender/sender_type") {
        Some("user") => SenderKind::User,
        _ => SenderKind::Bot,
    };
    Sender { ids, kind }
}

/// The ids of one user, the most specific first (F-018). REST answers have a plain string instead.
fn user_ids(id: &Value) -> Vec<UserId> {
    let single = self::id(id, "");
    ["/open_id", "/union_id", "/user_id"]
        .into_iter()
        .filter_map(|path| self::id(id, path))
        .chain(single)
        .map(UserId::new)
        .collect()
}

/// A mention entity. One without ids mentions nobody we could recognise (F-093).
fn mention(entity: &Value) -> Option<Mention> {
    let ids = entity.get("id").map(user_ids).unwrap_or_default();
    let all = UserId::new("all");
    if text(entity, "/key") == Some("@_all") || ids.contains(&all) {
        return Some(Mention::All);
    }
    (!ids.is_empty()).then_some(Mention::One(ids))
}

/// Milliseconds, or microseconds as one example of the platform has it; text, or a number.
fn written_at(envelope: &Value) -> Option<Timestamp> {
    ["/event/message/create_time", "/header/create_time"].into_iter().find_map(|path| {
        let value = envelope.pointer(path)?;
        let time: i64 = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
        match time.checked_ilog10()? {
            12 => Some(Timestamp::from_millis(time)),
            15 => Some(Timestamp::from_millis(time / 1_000)),
            _ => None,
        }
    })
}

/// The id at `path`; nothing when it is missing, or longer than anything that is kept as a key.
fn id<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    text(value, path).filter(|id| id.len() <= ID_BYTES)
}

/// The text at `path`; nothing when it is missing, empty, or no text.
fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
