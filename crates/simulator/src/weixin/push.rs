//! Users write (§4.1, §5.3).

use moorline_core::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::bot::{BotId, UnknownBot, Window};
use super::item::{Ids, Item, NewMessage, Quote};
use super::ledger::MessageRecord;
use super::platform::{ContextToken, Person, Platform};
use super::polling::Queued;
use crate::link::Now;

/// What a push has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// The platform's id of the message, also where the message does not show it.
    pub message_id: u64,
    /// The token it came with; empty without one.
    pub context_token: String,
}

impl Platform {
    /// A user writes. A poll that is held is answered at once.
    ///
    /// # Errors
    /// When there is no such bot.
    pub fn push(&mut self, bot: &BotId, new: &NewMessage, now: Now) -> Result<Pushed, UnknownBot> {
        self.bot(bot)?;
        let person = Person { user_id: new.from.clone(), name: String::new() };
        self.people.entry(new.from.clone()).or_insert(person);
        let message_id = self.message_id();
        let context_token =
            if new.without_token { String::new() } else { self.open_window(bot, new, message_id, now) };
        let wire_items: Vec<Value> =
            new.items.iter().map(|item| self.wire_item(bot, item, new.ids, message_id)).collect();
        let state = self.bot_mut(bot)?;
        state.last_seq += 1;
        state.counters.messages += 1;
        let seq = state.last_seq;
        let wire = self.wire(bot, new, wire_items, message_id, seq, &context_token, now.wall);
        self.trim();
        let number = self.last_message;
        self.last_message += 1;
        self.ledger.messages.push_back(MessageRecord {
            number,
            bot: bot.clone(),
            from: new.from.clone(),
            message_id,
            seq,
            text: new.items.iter().find_map(Item::text).unwrap_or_default().to_owned(),
            message_type: new.message_type,
            context_token: context_token.clone(),
            written_at: now.wall,
            handed_out: Vec::new(),
            delivered: Vec::new(),
            confirmed_at: None,
            lost_by_platform: false,
        });
        self.bot_mut(bot)?.queue.push_back(Queued::new(seq, number, wire));
        self.wake(bot, now);
        Ok(Pushed { message_id, context_token })
    }

    /// A new message lets the bot write again, and brings the token for it.
    fn open_window(&mut self, bot: &BotId, new: &NewMessage, message_id: u64, now: Now) -> String {
        let token = format!("AARzJW{}", self.hex(58));
        let entry = ContextToken { bot: bot.clone(), user: new.from.clone(), message_id, at: now.wall };
        self.context_tokens.insert(token.clone(), entry);
        if new.message_type == 1
            && let Some(state) = self.bots.get_mut(bot)
        {
            let window = Window { token: token.clone(), opened_at: now.wall, used: 0 };
            state.windows.insert(new.from.clone(), window);
        }
        token
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the message")]
    fn wire(
        &self,
        bot: &BotId,
        new: &NewMessage,
        items: Vec<Value>,
        message_id: u64,
        seq: u64,
        context_token: &str,
        at: Timestamp,
    ) -> Value {
        let mut wire = json!({
            "seq": seq,
            "from_user_id": new.from,
            "to_user_id": bot,
            "client_id": format!("phone-{message_id}"),
            "create_time_ms": at.as_millis(),
            "update_time_ms": at.as_millis(),
            "delete_time_ms": 0,
            "session_id": format!("{}#{bot}", new.from),
            "group_id": new.group_id,
            "message_type": new.message_type,
            "message_state": 2,
            "item_list": items,
        });
        if new.ids == Ids::Message {
            wire["message_id"] = self.wire_id(message_id);
        }
        if !context_token.is_empty() {
            wire["context_token"] = context_token.into();
        }
        merge(&mut wire, &new.merge);
        wire
    }

    /// An id as a number or as text (§1.4).
    pub(crate) fn wire_id(&self, id: u64) -> Value {
        if self.rules.ids_as_text { id.to_string().into() } else { id.into() }
    }

    fn wire_item(&mut self, bot: &BotId, item: &Item, ids: Ids, message_id: u64) -> Value {
        let mut wire = match item {
            Item::Text(text) => json!({ "type": 1, "text_item": { "text": text } }),
            Item::Other(kind, fields) => {
                let mut wire = json!({ "type": kind });
                merge(&mut wire, fields);
                wire
            }
            Item::Quoting(quote, item) => {
                let mut wire = self.wire_item(bot, item, Ids::Message, message_id);
                wire["ref_msg"] = match quote {
                    Quote::Full { title, text } => json!({
                        "title": title,
                        "message_item": { "type": 1, "text_item": { "text": text } },
                    }),
                    Quote::Id(id) => json!({ "svr_id": self.wire_id(*id) }),
                };
                wire
            }
            Item::Image(media) => {
                let (wire, size, key) = self.user_media(bot, media);
                let mut image = json!({ "media": wire, "mid_size": size });
                if let Some(key) = key {
                    image["aeskey"] = key.into();
                }
                json!({ "type": 2, "image_item": image })
            }
            Item::Voice { transcript, media } => {
                let (wire, _, _) = self.user_media(bot, media);
                let mut voice =
                    json!({ "media": wire, "encode_type": 6, "sample_rate": 24_000, "playtime": 1_200 });
                if let Some(transcript) = transcript {
                    voice["text"] = transcript.as_str().into();
                }
                json!({ "type": 3, "voice_item": voice })
            }
            Item::File { name, media } => {
                let (wire, _, _) = self.user_media(bot, media);
                let len = media.bytes.len().to_string();
                json!({ "type": 4, "file_item": { "media": wire, "file_name": name, "len": len } })
            }
            Item::Video(media) => {
                let (wire, size, _) = self.user_media(bot, media);
                json!({ "type": 5, "video_item": { "media": wire, "video_size": size, "play_length": 3 } })
            }
        };
        if ids == Ids::Items {
            wire["msg_id"] = self.wire_id(message_id);
        }
        wire
    }
}

/// Merges objects, whatever their depth; `null` takes a field away (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let (Some(fields), Some(patch)) = (target.as_object_mut(), patch.as_object()) else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(fields.remove(key)),
            Value::Object(_) if fields.get(key).is_some_and(Value::is_object) => {
                if let Some(inner) = fields.get_mut(key) {
                    merge(inner, value);
                }
            }
            value => drop(fields.insert(key.clone(), value.clone())),
        }
    }
}
