//! Group commit: many transactions, one sync, a savepoint each (design §6).

use std::sync::Arc;

use rusqlite::Connection;
use tokio::time::Instant;

use super::apply::{Prepared, Stop, apply};
use super::statements as sql;
use super::status::Status;
use crate::StoreError;
use crate::tx::{Outcome, Tx};

/// What a transaction's caller gets.
pub(super) type Answer = Result<Vec<Outcome>, StoreError>;

/// The one connection that writes.
pub(super) struct Committer {
    conn: Connection,
    status: Arc<Status>,
}

impl Committer {
    pub(super) fn new(conn: Connection, status: Arc<Status>) -> Self {
        Self { conn, status }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Commits the transactions together. Returns one answer for each, after the sync.
    pub(super) fn commit<'a>(&mut self, group: impl ExactSizeIterator<Item = &'a Tx>) -> Vec<Answer> {
        let size = group.len();
        if self.status.failed().is_some() {
            return vec![Err(self.status.gone()); size];
        }
        self.status.drill_panic();
        let began = Instant::now();
        match self.in_one_transaction(group) {
            Ok(answers) => {
                self.status.committed(size, began.elapsed());
                // Another thread may have met a failed sync meanwhile.
                if self.status.failed().is_some() {
                    return vec![Err(self.status.gone()); size];
                }
                if answers.iter().any(|answer| matches!(answer, Ok(outcomes) if done(outcomes))) {
                    self.status.room();
                }
                answers
            }
            Err(error) => {
                self.status.not_committed();
                let error = self.status.judge("a commit", &error);
                self.roll_back();
                vec![Err(error); size]
            }
        }
    }

    fn in_one_transaction<'a>(&self, group: impl Iterator<Item = &'a Tx>) -> rusqlite::Result<Vec<Answer>> {
        self.conn.run(sql::BEGIN, [])?;
        let answers = group.map(|tx| self.in_savepoint(tx)).collect::<rusqlite::Result<Vec<_>>>()?;
        self.status.drill_commit()?;
        self.conn.run(sql::COMMIT, [])?;
        Ok(answers)
    }

    /// An error here is one that spoils the whole group.
    fn in_savepoint(&self, tx: &Tx) -> rusqlite::Result<Answer> {
        self.conn.run(sql::SAVEPOINT, [])?;
        let answer = match apply(&self.conn, tx) {
            Ok(outcomes) => {
                self.conn.run(sql::RELEASE, [])?;
                return Ok(Ok(outcomes));
            }
            // Every operation of the transaction shares its fate.
            Err(Stop::Not(outcome)) => Ok(vec![outcome; tx.ops.len()]),
            Err(Stop::Refused(why)) => Err(StoreError::Refused(why)),
            Err(Stop::Sqlite(error)) => match self.status.judge("a transaction", &error) {
                StoreError::Refused(why) if !self.conn.is_autocommit() => Err(StoreError::Refused(why)),
                // SQLite has undone the neighbours too, or nothing can be relied upon any more.
                _ => return Err(error),
            },
        };
        self.conn.run(sql::ROLLBACK_TO, [])?;
        self.conn.run(sql::RELEASE, [])?;
        Ok(answer)
    }

    fn roll_back(&self) {
        if self.conn.is_autocommit() {
            return;
        }
        if let Err(error) = self.conn.run(sql::ROLLBACK, []) {
            // Whatever is committed next would contain what was just refused.
            self.status.fail(&format!("a rollback: {error}"));
        }
    }
}

fn done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.is_done())
}
