//! Messages: from the bytes of an answer to what the runtime stores (protocol §4.1, §5.5).
//!
//! Only what is needed is read, and every field that is not needed may be missing, null or of another type. Each message
//! is read alone: one that cannot be read is kept with its bytes, and takes no other with it (F-037).

use std::collections::BTreeMap;

use bytes::Bytes;
use moorline_channel::Delivery;
use moorline_core::{
    Chat, ChatId, ChatKind, ConversationId, DedupeKey, EventId, Inbound, MessageId, Route, Secret, Sender,
    SenderKind, Timestamp, UserId,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::{ID_BYTES, id, whole};
use crate::site::sha256_hex;

mod items;

/// `message_type` of what a user wrote; the bot's own is 2.
const WRITTEN_BY_USER: i64 = 1;

/// The field that is a credential: it is taken out of what is kept of a message, and goes a way of its own.
const CONTEXT_TOKEN: &str = "context_token";

/// Reads the messages of an answer, in the order of their `seq` where all of them have one (protocol §4.2). What should
/// be a list and is none is one message that cannot be read.
pub(crate) fn read(bot: &str, msgs: &RawValue) -> Vec<Delivery> {
    let Ok(msgs) = serde_json::from_str::<Vec<&RawValue>>(msgs.get()) else {
        return vec![unreadable(bot, &Value::Null, kept(msgs), "msgs is no list".to_owned())];
    };
    let mut read: Vec<(Option<i64>, Delivery)> = msgs.into_iter().map(|raw| one(bot, raw)).collect();
    if read.iter().all(|(seq, _)| seq.is_some()) {
        read.sort_by_key(|(seq, _)| *seq);
    }
    read.into_iter().map(|(_, delivery)| delivery).collect()
}

/// One message with its `seq`.
fn one(bot: &str, raw: &RawValue) -> (Option<i64>, Delivery) {
    let bytes = kept(raw);
    let message: Value = match serde_json::from_str(raw.get()) {
        Ok(message @ Value::Object(_)) => message,
        Ok(_) => {
            return (None, unreadable(bot, &Value::Null, bytes, "a message that is no object".to_owned()));
        }
        Err(error) => {
            let why = format!("a message that cannot be parsed: {error}");
            return (None, unreadable(bot, &Value::Null, bytes, why));
        }
    };
    let seq = message.get("seq").and_then(whole);
    match inbound(bot, &message, &bytes) {
        Ok(inbound) => (seq, Delivery::Message(Box::new(inbound))),
        Err(why) => (seq, unreadable(bot, &message, bytes, why)),
    }
}

/// The bytes of a message without its context token.
fn kept(raw: &RawValue) -> Bytes {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    match fields.remove(CONTEXT_TOKEN) {
        // A map with text for keys can always be written.
        Some(_) => serde_json::to_vec(&fields).unwrap_or_default().into(),
        None => Bytes::copy_from_slice(raw.get().as_bytes()),
    }
}

fn unreadable(bot: &str, message: &Value, raw: Bytes, why: String) -> Delivery {
    let name = name(message).unwrap_or_else(|| Name::of_bytes(&raw));
    let (event_id, dedupe) = (EventId::new(name.id.clone()), vec![name.key(bot)]);
    Delivery::Unreadable { event_id, dedupe, raw, why }
}

/// By what a message is known (protocol §4.2).
struct Name {
    /// Which of the ways it was found in.
    kind: &'static str,
    id: String,
}

impl Name {
    fn of_bytes(bytes: &[u8]) -> Self {
        Self { kind: "sha256", id: format!("sha256:{}", sha256_hex(bytes)) }
    }

    /// Ids of one bot say nothing about those of another, and an account gets another bot with each login.
    fn key(&self, bot: &str) -> DedupeKey {
        DedupeKey::new(format!("{bot}/{}:{}", self.kind, self.id))
    }
}

/// `message_id`, else the first `msg_id` of its items, else a hash of what makes it this message.
fn name(message: &Value) -> Option<Name> {
    let whole = || message.get("message_id").and_then(id).map(|id| Name { kind: "message", id });
    let item = || {
        let mut items = message.get("item_list")?.as_array()?.iter();
        items.find_map(|item| item.get("msg_id").and_then(id)).map(|id| Name { kind: "item", id })
    };
    let hash = || {
        let parts = ["from_user_id", "create_time_ms", "seq", "item_list"].map(|key| message.get(key));
        let known = parts.iter().any(Option::is_some);
        let parts = Value::from(parts.map(|part| part.cloned().unwrap_or_default()).to_vec());
        known.then(|| Name::of_bytes(parts.to_string().as_bytes()))
    };
    whole().or_else(item).or_else(hash)
}

fn inbound(bot: &str, message: &Value, raw: &Bytes) -> Result<Inbound, String> {
    let from = text(message, "from_user_id").ok_or("a message without a usable from_user_id")?;
    let name = name(message).ok_or("a message without anything to know it by")?;
    let kind = match message.get("message_type").filter(|kind| !kind.is_null()).map(whole) {
        None | Some(Some(WRITTEN_BY_USER)) => SenderKind::User,
        Some(_) => SenderKind::Bot,
    };
    // What the bot wrote itself belongs to the chat of whoever it wrote to.
    let person = if from == bot { text(message, "to_user_id").unwrap_or(from) } else { from };
    let (chat, chat_kind) = match text(message, "group_id") {
        Some(group) => (group, ChatKind::Group),
        None => (person, ChatKind::Direct),
    };
    let empty = Vec::new();
    let content = items::read(message.get("item_list").and_then(Value::as_array).unwrap_or(&empty));
    let context_token = message.get(CONTEXT_TOKEN).and_then(Value::as_str).filter(|token| !token.is_empty());
    Ok(Inbound {
        event_id: EventId::new(name.id.clone()),
        dedupe: vec![name.key(bot)],
        conversation: ConversationId::new(chat),
        chat: Chat { id: ChatId::new(chat), kind: chat_kind },
        message_id: MessageId::new(name.id),
        sender: Sender { ids: vec![UserId::new(from)], kind },
        mentions: Vec::new(),
        text: content.text,
        attachments: content.attachments,
        // The platform knows no answers to a message, only to a user.
        route: Route { chat: ChatId::new(chat), reply_to: None, in_thread: false },
        written_at: message
            .get("create_time_ms")
            .and_then(whole)
            .filter(|&at| at > 0)
            .map(Timestamp::from_millis),
        reply_token: context_token.map(Secret::new),
        raw: raw.clone(),
    })
}

/// The text under `key`; nothing when it is missing, empty, no text, or longer than anything that is kept as a key.
fn text<'a>(message: &'a Value, key: &str) -> Option<&'a str> {
    message.get(key)?.as_str().filter(|text| (1..=ID_BYTES).contains(&text.len()))
}

#[cfg(test)]
mod tests;
