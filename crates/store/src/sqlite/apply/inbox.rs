//! Messages received, and what else a connector keeps.

use moorline_core::{ChatKind, Fingerprint, Identity, InboxId};
use rusqlite::params;

use super::{Kind, Prepared, Scope, Step, Stop, sql};
use crate::tx::{NewMessage, Outcome, Verdict};

impl Scope<'_> {
    pub(super) fn receive(&mut self, message: &NewMessage) -> Step {
        if message.dedupe.is_empty() {
            return Err(Stop::Refused("a message without a key to recognise its repetition".to_owned()));
        }
        // A hit on any key makes it a duplicate: the event id may be a new one (F-032).
        for key in &message.dedupe {
            let seen =
                self.conn
                    .find(sql::DEDUPE_FIND, params![self.lease.account, key.as_str()], |row| row.get(0))?;
            if let Some(inbox) = seen {
                self.remember(message, inbox)?;
                self.conn.run(sql::REPEATED_ADD, params![inbox, self.at.as_millis()])?;
                self.count(Kind::Duplicates, 1);
                return Ok(Outcome::Duplicate(inbox));
            }
        }
        let inbox = self.insert(message)?;
        // In the same savepoint as the row: a claim on a key never outlives a failed receipt (F-033).
        self.remember(message, inbox)?;
        self.count(Kind::Received, 1);
        self.session(message.conversation.as_str()).received(inbox, message.verdict);
        match message.verdict {
            Verdict::Allow => {
                self.wait(message, inbox, None)?;
                self.count(Kind::Pending, 1);
            }
            Verdict::Hold(reason) => {
                self.wait(message, inbox, Some(reason.as_str()))?;
                self.count(Kind::Held(reason), 1);
            }
            Verdict::Drop(reason) => {
                let at = self.at.as_millis();
                self.conn.run(sql::SETTLED_INSERT, params![inbox, reason.as_str(), at])?;
                self.count(Kind::Dropped(reason), 1);
            }
        }
        Ok(Outcome::Applied(inbox))
    }

    pub(super) fn judge(&mut self, inbox: InboxId, verdict: Verdict) -> Step {
        let row = params![inbox.get(), self.lease.account];
        let found: Option<(String, Option<String>)> =
            self.conn.find(sql::PENDING_FIND, row, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (conversation, held) = found.ok_or(Stop::Not(Outcome::Conflict))?;
        let reason = match held.as_deref().map(moorline_core::HoldReason::from_name) {
            None => return Err(Stop::Not(Outcome::Conflict)),
            Some(None) => {
                return Err(Stop::Refused(format!("message {inbox} is held for an unknown reason")));
            }
            Some(Some(reason)) => reason,
        };
        match verdict {
            Verdict::Hold(_) => return Err(Stop::Not(Outcome::Conflict)),
            Verdict::Allow => {
                self.conn.run(sql::PENDING_RELEASE, [inbox.get()])?;
                self.count(Kind::Pending, 1);
                self.session(&conversation).pending += 1;
            }
            Verdict::Drop(reason) => {
                self.conn.run(sql::PENDING_DELETE, [inbox.get()])?;
                let settled = params![inbox.get(), reason.as_str(), self.at.as_millis()];
                self.conn.run(sql::SETTLED_INSERT, settled)?;
                self.count(Kind::Dropped(reason), 1);
                self.session(&conversation).dropped += 1;
            }
        }
        let judged = params![inbox.get(), reason.as_str(), self.at.as_millis()];
        self.conn.run(sql::JUDGED_INSERT, judged)?;
        self.count(Kind::Held(reason), -1);
        self.session(&conversation).held -= 1;
        Ok(Outcome::Applied(0))
    }

    pub(super) fn set_cursor(&mut self, kind: &str, value: &str) -> Step {
        match value {
            "" => self.conn.run(sql::CURSOR_FORGET, params![self.lease.account, kind])?,
            _ => self
                .conn
                .run(sql::CURSOR_SET, params![self.lease.account, kind, value, self.at.as_millis()])?,
        };
        Ok(Outcome::Applied(0))
    }

    pub(super) fn save_identity(&mut self, fingerprint: &Fingerprint, identity: &Identity) -> Step {
        let row = params![
            self.lease.account,
            fingerprint.as_str(),
            identity.id.as_str(),
            identity.name,
            self.at.as_millis()
        ];
        self.conn.run(sql::IDENTITY_SAVE, row)?;
        Ok(Outcome::Applied(0))
    }

    fn insert(&self, message: &NewMessage) -> Step<i64> {
        let row = params![
            self.lease.account,
            message.conversation.as_str(),
            message.event_id.as_str(),
            message.message_id.as_ref().map(|id| id.as_str()),
            message.chat.id.as_str(),
            match message.chat.kind {
                ChatKind::Direct => "direct",
                ChatKind::Group => "group",
            },
            super::json(&message.route)?,
            message.text,
            message.context,
            message.written_at.map(|at| at.as_millis()),
            self.at.as_millis(),
            &message.raw[..]
        ];
        self.conn.run(sql::INBOX_INSERT, row)?;
        Ok(self.conn.last_insert_rowid())
    }

    fn wait(&self, message: &NewMessage, inbox: i64, held: Option<&str>) -> Step<()> {
        let row = params![inbox, self.lease.account, message.conversation.as_str(), held];
        self.conn.run(sql::PENDING_INSERT, row)?;
        Ok(())
    }

    fn remember(&self, message: &NewMessage, inbox: i64) -> Step<()> {
        for key in &message.dedupe {
            let row = params![self.lease.account, key.as_str(), inbox, self.at.as_millis()];
            self.conn.run(sql::DEDUPE_REMEMBER, row)?;
        }
        Ok(())
    }
}
