//! What a user's message means for what we write to them: its token, and what was held until it came.

use moorline_core::{InboxId, OutboxId, Timestamp};
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, Stop, rows, sql};
use crate::tx::{NewMessage, Outcome};

impl Scope<'_> {
    /// A user's message; others that are put into the inbox open no window.
    pub(super) fn hear(&mut self, message: &NewMessage) -> Step {
        let outcome = self.receive(message)?;
        if matches!(outcome, Outcome::Applied(_)) && message.verdict.is_of_a_user() {
            self.keep_token(message)?;
            let row = params![self.lease.account, message.route.chat.as_str(), self.at.as_millis()];
            let released = self.conn.run(sql::RELEASE_HELD, row)?;
            self.count(Kind::OutboxHeld, -rows(released));
        }
        Ok(outcome)
    }

    fn keep_token(&self, message: &NewMessage) -> Step<()> {
        let Some(token) = &message.reply_token else { return Ok(()) };
        let row = params![
            self.lease.account,
            message.route.chat.as_str(),
            token.credentials.as_str(),
            token.secret.expose(),
            message.written_at.map(Timestamp::as_millis),
            self.at.as_millis()
        ];
        self.conn.run(sql::REPLY_TOKEN_SET, row)?;
        Ok(())
    }

    /// What the user wrote while the attempt was under way let nothing go: the row was not held yet.
    pub(super) fn hold(&mut self, outbox: OutboxId, heard: InboxId, error: &str) -> Step {
        let since = params![self.lease.account, heard.get(), outbox.get()];
        let news = self.conn.find(sql::HEARD_SINCE, since, |_| Ok(()))?.is_some();
        let row = params![outbox.get(), self.at.as_millis(), error];
        if news {
            self.conn.run(sql::OUTBOX_TRY_AGAIN, row)?;
        } else {
            self.conn.run(sql::OUTBOX_HOLD, row)?;
            self.count(Kind::OutboxHeld, 1);
        }
        Ok(Outcome::Applied(i64::from(news)))
    }

    pub(super) fn expire_held(&mut self, outbox: OutboxId, before: Timestamp, error: &str) -> Step {
        let (id, account) = (outbox.get(), self.lease.account);
        let (at, before) = (self.at.as_millis(), before.as_millis());
        let found: Option<(String, String)> =
            self.conn.find(sql::HELD_FOR_LONG, params![id, account, before], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let (conversation, chat) = found.ok_or(Stop::Not(Outcome::Conflict))?;
        self.conn.run(sql::OUTBOX_DEAD, params![id, error, at])?;
        let behind = params![account, conversation, chat, id, error, at, before];
        let dead = 1 + rows(self.conn.run(sql::EXPIRE_BEHIND, behind)?);
        self.count(Kind::OutboxHeld, -1);
        self.count(Kind::Outbox, -dead);
        self.count(Kind::Dead, dead);
        Ok(Outcome::Applied(dead))
    }
}
