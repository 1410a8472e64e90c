//! Messages on their way to apps: of users, of other bots, again, changed, and our own coming back.

use moorline_core::{EventId, MessageId, UserId};
use serde_json::{Value, json};

use super::app::AppId;
use super::delivery::record;
use super::fault::{Echo, Fault};
use super::ledger::EventRecord;
use super::platform::{Chat, Platform, UnknownApp};
use super::push::{ChatType, Mention, Push, Pushed};
use super::sending::{Author, Posted};
use crate::link::Now;

impl Platform {
    /// A user writes.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push(&mut self, app: &AppId, push: &Push, now: Now) -> Result<Pushed, UnknownApp> {
        let mut pushed = self.push_to(std::slice::from_ref(app), push, now)?;
        pushed.pop().ok_or_else(|| UnknownApp(app.clone()))
    }

    /// A user writes in a chat of several bots: one message, and an event for each of these apps (F-017).
    ///
    /// # Errors
    /// When there is no such app; then nothing is pushed.
    pub fn push_to(&mut self, apps: &[AppId], push: &Push, now: Now) -> Result<Vec<Pushed>, UnknownApp> {
        for app in apps {
            self.app(app)?;
        }
        // One id is drawn for each event, and the message's after the first, so that one app's ids never depend on
        // whether there are others.
        let first = EventId::new(self.hex(32));
        let message_id = MessageId::new(format!("om_{}", self.hex(32)));
        let mut event_id = Some(first);
        for app in apps {
            self.join(app, push);
        }
        let posted = self.posted_by_user(apps, push, now);
        self.messages.insert(message_id.clone(), posted);
        let mut all = Vec::with_capacity(apps.len());
        for app in apps {
            let event_id = event_id.take().unwrap_or_else(|| EventId::new(self.hex(32)));
            let pushed = Pushed { event_id, message_id: message_id.clone() };
            self.announce_message(app, push, &pushed, now)?;
            all.push(pushed);
        }
        Ok(all)
    }

    /// The app's last event about this message comes again under a new event_id (F-032); `None` when there is none.
    ///
    /// # Errors
    /// When there is no such app.
    pub fn push_again(
        &mut self,
        app: &AppId,
        message: &MessageId,
        now: Now,
    ) -> Result<Option<EventId>, UnknownApp> {
        self.app(app)?;
        let changed = |envelope: &mut Value, event_id: &EventId| {
            envelope["header"]["event_id"] = json!(event_id);
        };
        Ok(self.vary(app, message, now, changed))
    }

    /// A user changes what they wrote.
    pub(crate) fn edit_of_user(&mut self, app: &AppId, message: &MessageId, text: &str, now: Now) -> EventId {
        let content = json!({ "text": text }).to_string();
        if let Some(posted) = self.messages.get_mut(message) {
            posted.content.clone_from(&content);
            posted.updated = now.wall;
            posted.edits += 1;
        }
        let at = now.wall.as_millis().to_string();
        let edited = self.vary(app, message, now, |envelope, event_id| {
            envelope["header"]["event_id"] = json!(event_id);
            envelope["header"]["create_time"] = json!(at);
            envelope["event"]["message"]["update_time"] = json!(at);
            envelope["event"]["message"]["content"] = json!(content);
        });
        // Nobody was told of the message; the id stands for nothing then.
        edited.unwrap_or_else(|| EventId::new(self.hex(32)))
    }

    /// Pushes the app's last event about this message, changed like this.
    fn vary(
        &mut self,
        app: &AppId,
        message: &MessageId,
        now: Now,
        change: impl FnOnce(&mut Value, &EventId),
    ) -> Option<EventId> {
        let mut records = self.ledger.events.iter().rev();
        let last = records.find(|known| known.app == *app && known.message_id.as_ref() == Some(message))?;
        let (number, event_type, chat) = (last.number, last.event_type.clone(), last.chat.clone());
        let mut envelope: Value = serde_json::from_slice(&self.events.get(&number)?.payload).ok()?;
        let event_id = EventId::new(self.hex(32));
        change(&mut envelope, &event_id);
        let record = EventRecord {
            message_id: Some(message.clone()),
            chat,
            ..record(app, event_id.clone(), &event_type, now)
        };
        self.enqueue(record, envelope.to_string().into_bytes(), now);
        Some(event_id)
    }

    /// A message of a bot became visible: whoever is to hear of it does.
    pub(crate) fn echo(&mut self, app: &AppId, message: &MessageId, now: Now) {
        let echo = self.take_fault(app, |fault| match fault {
            Fault::Echo(echo) => Some(*echo),
            _ => None,
        });
        let (Some(echo), Some(posted)) = (echo, self.messages.get(message)) else { return };
        let Some(chat) = self.chats.get(&posted.chat) else { return };
        let others: Vec<AppId> = chat.apps.iter().filter(|other| *other != app).cloned().collect();
        let push = Push {
            chat_type: chat.chat_type,
            other: Some((posted.msg_type.clone(), posted.content.clone())),
            parent_id: posted.parent.clone(),
            root_id: posted.root.clone(),
            thread_id: posted.thread.clone(),
            ..Push::direct(posted.chat.as_str(), app.as_str(), "")
        };
        match echo {
            Echo::SameId => {
                let pushed = Pushed { event_id: EventId::new(self.hex(32)), message_id: message.clone() };
                // Both ids are known: the app has just sent the message.
                drop(self.announce_message(app, &push, &pushed, now));
            }
            Echo::NewId => drop(self.push(app, &push, now)),
            Echo::Others => {
                for other in others {
                    let pushed = Pushed { event_id: EventId::new(self.hex(32)), message_id: message.clone() };
                    let push = Push { mentioned: vec![Mention::Bot(other.clone())], ..push.clone() };
                    drop(self.announce_message(&other, &push, &pushed, now));
                }
            }
        }
    }

    /// The chat of a message is there, and this app in it.
    fn join(&mut self, app: &AppId, push: &Push) {
        let by_bot = self.identity(app, &push.user).bot;
        let fresh = || Chat { apps: Default::default(), user: None, chat_type: push.chat_type };
        let chat = self.chats.entry(push.chat_id.clone()).or_insert_with(fresh);
        chat.apps.insert(app.clone());
        if chat.chat_type == ChatType::P2p && !by_bot {
            chat.user = Some(push.user.clone());
        }
    }

    fn posted_by_user(&self, apps: &[AppId], push: &Push, now: Now) -> Posted {
        let (msg_type, content) = push.content();
        let author = match self.apps.get(&AppId::new(push.user.as_str())) {
            Some(bot) => Author::Bot(bot.app.app_id.clone()),
            None => Author::User(push.user.clone()),
        };
        let bot = apps.first().filter(|_| push.mentions_bot);
        let own = bot.map(|app| Mention::Bot(app.clone()));
        let users = push.mentions.iter().cloned().map(Mention::User);
        Posted {
            chat: push.chat_id.clone(),
            root: push.root_id.clone().or_else(|| push.parent_id.clone()),
            parent: push.parent_id.clone(),
            thread: push.thread_id.clone(),
            author,
            msg_type,
            content,
            mentions: own.into_iter().chain(users).chain(push.mentioned.iter().cloned()).collect(),
            created: push.written(now.wall),
            updated: push.written(now.wall),
            edits: 0,
            recalled: false,
            reactions: Vec::new(),
        }
    }

    fn announce_message(
        &mut self,
        app: &AppId,
        push: &Push,
        pushed: &Pushed,
        now: Now,
    ) -> Result<(), UnknownApp> {
        let bot = &self.app(app)?.app;
        let identify = |id: &UserId| self.identity(app, id);
        let envelope = push.envelope(bot, pushed, now.wall, &identify);
        let event_type = envelope["header"]["event_type"].as_str().unwrap_or_default();
        let record = EventRecord {
            message_id: Some(pushed.message_id.clone()),
            chat: Some(push.chat_id.clone()),
            ..record(app, pushed.event_id.clone(), event_type, now)
        };
        self.enqueue(record, envelope.to_string().into_bytes(), now);
        Ok(())
    }
}
