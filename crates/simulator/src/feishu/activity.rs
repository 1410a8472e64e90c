//! What happens in a chat beside new messages, as the app is told (§4.1, §4.3, §4.4).

use moorline_core::{ChatId, EventId, MessageId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::AppId;
use super::platform::{Platform, UnknownApp};
use super::push::{ChatType, TENANT};
use super::reactions::Reaction;
use crate::link::Now;

/// Something that happens. In JSON: `{"recalled":{"message_id":"om_…"}}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// A user changes their message. The protocol page names no event for it; here the message comes again as
    /// `im.message.receive_v1` under a new event_id, with the new text and a later `update_time`.
    Edited {
        /// Their message.
        message_id: MessageId,
        /// What it says now.
        text: String,
    },
    /// A message is taken back: `im.message.recalled_v1`, and 230011 for whoever answers it.
    Recalled {
        /// The message.
        message_id: MessageId,
        /// `message_owner` when absent, `group_owner`, `group_manager`, `enterprise_manager`.
        #[serde(default)]
        recall_type: Option<String>,
    },
    /// The bot is added to a chat: `im.chat.member.bot.added_v1`.
    BotAdded {
        /// The chat.
        chat_id: ChatId,
        /// By whom.
        operator: UserId,
    },
    /// The bot is removed: `im.chat.member.bot.deleted_v1`, and 230002 for what it sends there.
    BotDeleted {
        /// The chat.
        chat_id: ChatId,
        /// By whom.
        operator: UserId,
    },
    /// Somebody reacts: `im.message.reaction.created_v1`.
    ReactionCreated {
        /// To what.
        message_id: MessageId,
        /// Who; an app's id for a bot.
        user: UserId,
        /// With what.
        emoji: String,
    },
    /// Somebody takes a reaction back: `im.message.reaction.deleted_v1`.
    ReactionDeleted {
        /// To what.
        message_id: MessageId,
        /// Who.
        user: UserId,
        /// With what.
        emoji: String,
    },
    /// Somebody has read messages of the bot: `im.message.message_read_v1`.
    Read {
        /// Who.
        user: UserId,
        /// What.
        message_ids: Vec<MessageId>,
    },
    /// Somebody opens the direct chat: `im.chat.access_event.bot_p2p_chat_entered_v1`.
    ChatEntered {
        /// The chat.
        chat_id: ChatId,
        /// Who.
        user: UserId,
    },
    /// Somebody uses a card: `card.action.trigger`. What the ack answers is in the event's record
    /// ([`super::EventRecord::callback`]).
    CardAction {
        /// The card's message.
        message_id: MessageId,
        /// Who.
        user: UserId,
        /// `action`, with `tag` and `value` and whatever else there is.
        action: Value,
    },
    /// An event of schema 1 (§4.1).
    V1 {
        /// `event.type`.
        event_type: String,
        /// The rest of `event`.
        event: Value,
    },
    /// Any other event of schema 2.
    Other {
        /// `header.event_type`.
        event_type: String,
        /// `event`.
        event: Value,
    },
}

impl Platform {
    /// Something happens, and the app is told.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn report(&mut self, app: &AppId, activity: Activity, now: Now) -> Result<EventId, UnknownApp> {
        self.app(app)?;
        let at = now.wall.as_millis().to_string();
        let operator = |platform: &Self, user: &UserId| platform.identity(app, user).ids();
        let (event_type, event) = match activity {
            Activity::Edited { message_id, text } => {
                return Ok(self.edit_of_user(app, &message_id, &text, now));
            }
            Activity::V1 { event_type, event } => return Ok(self.report_v1(app, &event_type, event, now)),
            Activity::Other { event_type, event } => (event_type, event),
            Activity::Recalled { message_id, recall_type } => {
                self.recall_message(&message_id, now);
                let event = json!({
                    "message_id": message_id,
                    "chat_id": self.messages.get(&message_id).map(|posted| &posted.chat),
                    "recall_time": at,
                    "recall_type": recall_type.as_deref().unwrap_or("message_owner"),
                });
                ("im.message.recalled_v1".to_owned(), event)
            }
            Activity::BotAdded { chat_id, operator: by } => {
                self.add_chat(app, chat_id.clone(), ChatType::Group)?;
                ("im.chat.member.bot.added_v1".to_owned(), self.membership(app, &chat_id, &by))
            }
            Activity::BotDeleted { chat_id, operator: by } => {
                self.remove_chat(app, &chat_id)?;
                ("im.chat.member.bot.deleted_v1".to_owned(), self.membership(app, &chat_id, &by))
            }
            Activity::ReactionCreated { message_id, user, emoji } => {
                let id = self.hex(40);
                if let Some(posted) = self.messages.get_mut(&message_id) {
                    let (by, emoji) = (user.clone(), emoji.clone());
                    posted.reactions.push(Reaction { id, by, emoji, at: now.wall });
                }
                let event = self.reaction_event(app, &message_id, &user, &emoji, &at);
                ("im.message.reaction.created_v1".to_owned(), event)
            }
            Activity::ReactionDeleted { message_id, user, emoji } => {
                if let Some(posted) = self.messages.get_mut(&message_id) {
                    posted.reactions.retain(|reaction| reaction.by != user || reaction.emoji != emoji);
                }
                let event = self.reaction_event(app, &message_id, &user, &emoji, &at);
                ("im.message.reaction.deleted_v1".to_owned(), event)
            }
            Activity::Read { user, message_ids } => {
                let event = json!({
                    "reader": { "reader_id": operator(self, &user), "read_time": at, "tenant_key": TENANT },
                    "message_id_list": message_ids,
                });
                ("im.message.message_read_v1".to_owned(), event)
            }
            Activity::ChatEntered { chat_id, user } => {
                self.add_chat(app, chat_id.clone(), ChatType::P2p)?;
                if let Some(chat) = self.chats.get_mut(&chat_id) {
                    chat.user = Some(user.clone());
                }
                let event = json!({
                    "chat_id": chat_id,
                    "operator_id": operator(self, &user),
                    "last_message_id": "",
                    "last_message_create_time": at,
                });
                ("im.chat.access_event.bot_p2p_chat_entered_v1".to_owned(), event)
            }
            Activity::CardAction { message_id, user, action } => {
                let by = self.identity(app, &user);
                let token = format!("c-{}", self.hex(40));
                let chat = self.messages.get(&message_id).map(|posted| posted.chat.clone());
                let event = json!({
                    "operator": {
                        "tenant_key": TENANT,
                        "open_id": by.open_id,
                        "union_id": by.union_id,
                        "user_id": by.user_id,
                    },
                    "token": token,
                    "action": action,
                    "host": "im_message",
                    "context": { "open_message_id": message_id, "open_chat_id": chat },
                });
                return Ok(self.announce(app, CARD_ACTION, event, Some(message_id), now));
            }
        };
        Ok(self.announce(app, &event_type, event, None, now))
    }

    fn membership(&self, app: &AppId, chat: &ChatId, by: &UserId) -> Value {
        json!({
            "chat_id": chat,
            "operator_id": self.identity(app, by).ids(),
            "external": false,
            "operator_tenant_key": TENANT,
            "name": chat,
            "i18n_names": { "zh_cn": chat, "en_us": chat, "ja_jp": chat },
        })
    }

    fn reaction_event(&self, app: &AppId, message: &MessageId, by: &UserId, emoji: &str, at: &str) -> Value {
        let identity = self.identity(app, by);
        let mut event = json!({
            "message_id": message,
            "reaction_type": { "emoji_type": emoji },
            "operator_type": if identity.bot { "app" } else { "user" },
            "action_time": at,
        });
        if identity.bot {
            event["app_id"] = json!(by);
        } else {
            event["user_id"] = identity.ids();
        }
        event
    }

    /// Pushes an event of schema 2.
    fn announce(
        &mut self,
        app: &AppId,
        event_type: &str,
        event: Value,
        card: Option<MessageId>,
        now: Now,
    ) -> EventId {
        let event_id = EventId::new(self.hex(32));
        let payload = json!({
            "schema": "2.0",
            "header": {
                "event_id": event_id,
                "event_type": event_type,
                "create_time": now.wall.as_millis().to_string(),
                "token": "",
                "app_id": app,
                "tenant_key": TENANT,
            },
            "event": event,
        });
        self.enqueue_activity(app, event_id.clone(), event_type, payload.to_string().into_bytes(), card, now);
        event_id
    }

    fn report_v1(&mut self, app: &AppId, event_type: &str, mut event: Value, now: Now) -> EventId {
        let event_id = EventId::new(self.hex(32));
        if !event.is_object() {
            event = json!({});
        }
        event["type"] = json!(event_type);
        event["app_id"] = json!(app);
        let payload = json!({
            "uuid": event_id,
            "token": "",
            "ts": format!("{}.000000", now.wall.as_millis() / 1_000),
            "type": "event_callback",
            "event": event,
        });
        self.enqueue_activity(app, event_id.clone(), event_type, payload.to_string().into_bytes(), None, now);
        event_id
    }
}

/// The one event type whose ack has an answer in it.
pub(crate) const CARD_ACTION: &str = "card.action.trigger";
