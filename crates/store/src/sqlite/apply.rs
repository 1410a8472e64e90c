//! One transaction's operations, carried out on a connection inside a savepoint that the caller opens and closes.

mod cron;
mod discard;
mod gap;
mod inbox;
mod operator;
mod outbox;
mod prune;
mod replies;
mod requests;
mod session;
mod turn;

use std::collections::BTreeMap;

use moorline_core::{AccountId, DropReason, Generation, HoldReason, Timestamp};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use self::session::Sessions;
use super::statements as sql;
use crate::tx::{Claim, Lease, Op, Outcome, Tx};

/// Why a transaction has to be undone.
#[derive(Debug)]
pub(super) enum Stop {
    /// An operation was fenced or in conflict.
    Not(Outcome),
    /// The request makes no sense.
    Refused(String),
    /// SQLite could not do it.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

type Step<T = Outcome> = Result<T, Stop>;

/// Carries out the operations of `tx`, in order, up to the first that is fenced or in conflict.
pub(super) fn apply(conn: &Connection, tx: &Tx) -> Step<Vec<Outcome>> {
    let mut tally = Tally::default();
    let mut sessions = Sessions::default();
    let mut outcomes = Vec::with_capacity(tx.ops.len());
    for op in &tx.ops {
        // Before each operation, since one of them may be a take-over.
        let account = tx.lease.as_ref().map(|lease| owned(conn, lease)).transpose()?;
        outcomes.push(match (op, account) {
            (Op::BeginBoot { boot, version }, _) => begin_boot(conn, boot.as_str(), version, tx.at)?,
            (Op::EndBoot { boot }, _) => end_boot(conn, boot.as_str(), tx.at)?,
            (Op::TakeOver { account }, _) => take_over(conn, account, tx.at)?,
            (&Op::Prune { before, dedupe_before, limit }, _) => {
                // It goes by the sums, which must know of what came before it in the same transaction.
                std::mem::take(&mut sessions).write(conn, tx.at)?;
                prune::prune(conn, &mut tally, before, dedupe_before, limit)?
            }
            (Op::RememberAnswer { key, answer }, _) => requests::remember(conn, key, tx.at, answer)?,
            (&Op::ForgetAnswers { before, limit }, _) => requests::forget(conn, before, limit)?,
            (Op::Remember { name, value }, _) => {
                conn.run(sql::MEMO_SET, params![name, value, tx.at.as_millis()])?;
                Outcome::Applied(0)
            }
            (Op::AddJob { job }, _) => cron::add_job(conn, tx.at, job)?,
            (&Op::RemoveJob { job }, _) => cron::remove_job(conn, job)?,
            (Op::SwitchJob { job, enabled, next_due, reason }, _) => {
                cron::switch_job(conn, tx.at, *job, *enabled, *next_due, reason.as_deref())?
            }
            (Op::RecordRun { run }, lease) => {
                let (tally, sessions) = (&mut tally, &mut sessions);
                let mut scope = lease.map(|lease| Scope { conn, lease, at: tx.at, tally, sessions });
                cron::record_run(conn, tx.at, scope.as_mut(), run)?
            }
            (_, None) => return Err(Stop::Refused("this operation needs a lease".to_owned())),
            (op, Some(lease)) => {
                Scope { conn, lease, at: tx.at, tally: &mut tally, sessions: &mut sessions }.apply(op)?
            }
        });
    }
    tally.write(conn)?;
    sessions.write(conn, tx.at)?;
    Ok(outcomes)
}

/// A lease that was found valid in this transaction.
#[derive(Debug, Clone, Copy)]
struct Owned {
    account: i64,
    epoch: i64,
}

fn owned(conn: &Connection, lease: &Lease) -> Step<Owned> {
    let found = conn.find(sql::ACCOUNT, [lease.account.to_string()], |row| {
        Ok(Owned { account: row.get(0)?, epoch: row.get(1)? })
    })?;
    found.filter(|owned| owned.epoch == lease.epoch.get()).ok_or(Stop::Not(Outcome::Fenced))
}

fn begin_boot(conn: &Connection, boot: &str, version: &str, at: Timestamp) -> Step {
    let inserted = conn.run(sql::BOOT_BEGIN, params![boot, version, at.as_millis()])?;
    Ok(if inserted == 1 { Outcome::Applied(0) } else { Outcome::Duplicate(0) })
}

fn end_boot(conn: &Connection, boot: &str, at: Timestamp) -> Step {
    if conn.run(sql::BOOT_END, params![boot, at.as_millis()])? == 1 {
        return Ok(Outcome::Applied(0));
    }
    match conn.find(sql::BOOT_EXISTS, [boot], |_| Ok(()))? {
        Some(()) => Ok(Outcome::Duplicate(0)),
        None => Err(Stop::Not(Outcome::Conflict)),
    }
}

/// Everything the account's former owner left under way is decided here, by statement, before any actor of the
/// new owner can start (F-065).
fn take_over(conn: &Connection, account: &AccountId, at: Timestamp) -> Step {
    let (id, epoch): (i64, i64) =
        conn.get(sql::ACCOUNT_TAKE_OVER, params![account.to_string(), at.as_millis()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    conn.run(sql::TURNS_INTERRUPT_OLDER, [id, epoch, at.as_millis()])?;
    conn.run(sql::SENDS_INTERRUPT_OLDER, [id, epoch])?;
    Ok(Outcome::Applied(epoch))
}

/// What an operation under a lease works with.
struct Scope<'a> {
    conn: &'a Connection,
    lease: Owned,
    at: Timestamp,
    tally: &'a mut Tally,
    sessions: &'a mut Sessions,
}

impl Scope<'_> {
    fn apply(&mut self, op: &Op) -> Step {
        match op {
            Op::BeginBoot { .. }
            | Op::EndBoot { .. }
            | Op::TakeOver { .. }
            | Op::Prune { .. }
            | Op::AddJob { .. }
            | Op::RemoveJob { .. }
            | Op::SwitchJob { .. }
            | Op::RecordRun { .. }
            | Op::Remember { .. }
            | Op::RememberAnswer { .. }
            | Op::ForgetAnswers { .. } => {
                Err(Stop::Refused("this operation belongs to no account".to_owned()))
            }
            Op::Receive { message } => self.hear(message),
            Op::SetCursor { kind, value } => self.set_cursor(kind, value),
            Op::Judge { inbox, verdict } => self.judge(*inbox, *verdict),
            Op::StartTurn { conversation, inputs, claim } => self.start_turn(conversation, inputs, *claim),
            Op::ResumeTurn { turn, attempt, claim } => self.resume_turn(*turn, *attempt, *claim),
            Op::CountAttempt { turn, claim, counts } => self.count_attempt(*turn, *claim, *counts),
            Op::FinishTurn { turn, claim, entries, replies } => {
                self.finish_turn(*turn, *claim, entries, replies)
            }
            Op::InterruptTurns { conversation, generation } => {
                self.interrupt_turns(conversation.as_ref(), *generation)
            }
            Op::ParkTurn { turn, notice } => self.park_turn(*turn, notice.as_ref()),
            Op::Enqueue { parts } => self.enqueue_parts(parts),
            Op::ClaimSend { outbox, claim, possibly_repeated } => {
                self.claim_send(*outbox, *claim, *possibly_repeated)
            }
            Op::SettleSend { outbox, claim, result } => self.settle_send(*outbox, *claim, result),
            Op::InterruptSends { generation } => self.interrupt_sends(*generation),
            Op::ExpireHeld { outbox, before, error } => self.expire_held(*outbox, *before, error),
            Op::SaveIdentity { fingerprint, identity } => self.save_identity(fingerprint, identity),
            Op::Heard { at, orderly } => self.note_heard(*at, *orderly),
            Op::RecordGap { gap } => self.record_gap(gap),
            Op::RetrySend { outbox } => self.retry_send(*outbox),
            Op::DiscardSend { outbox } => self.discard_send(*outbox),
            Op::ReopenTurns { conversation } => self.reopen_turns(conversation),
            Op::ResetSession { conversation } => self.reset_session(conversation),
            Op::DiscardRows { limit } => self.discard_rows(*limit),
        }
    }

    /// A new claim has to be of the lease's own epoch: no later interruption would find it otherwise.
    fn own_claim(&self, claim: Claim) -> Step<i64> {
        if claim.epoch.get() != self.lease.epoch {
            return Err(Stop::Not(Outcome::Fenced));
        }
        number(claim.generation)
    }

    fn session(&mut self, conversation: &str) -> &mut session::Change {
        self.sessions.of(self.lease.account, conversation)
    }

    fn count(&mut self, kind: Kind, by: i64) {
        self.tally.add(self.lease.account, kind, by);
    }
}

fn number(generation: Generation) -> Step<i64> {
    i64::try_from(generation.get())
        .map_err(|_| Stop::Refused(format!("generation {generation} is too large")))
}

fn rows(changed: usize) -> i64 {
    i64::try_from(changed).unwrap_or(i64::MAX)
}

fn json(value: &impl serde::Serialize) -> Step<String> {
    serde_json::to_string(value).map_err(|error| Stop::Refused(format!("not to be written as JSON: {error}")))
}

/// What is counted per account (design §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Received,
    Answered,
    Dropped(DropReason),
    Held(HoldReason),
    Pending,
    Duplicates,
    Outbox,
    OutboxHeld,
    Dead,
    Discarded,
    Gaps,
}

impl Kind {
    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Received => ("received", ""),
            Self::Answered => ("answered", ""),
            Self::Dropped(reason) => ("dropped", reason.as_str()),
            Self::Held(reason) => ("held", reason.as_str()),
            Self::Pending => ("pending", ""),
            Self::Duplicates => ("duplicates", ""),
            Self::Outbox => ("outbox", ""),
            Self::OutboxHeld => ("outbox_held", ""),
            Self::Dead => ("dead", ""),
            Self::Discarded => ("discarded", ""),
            Self::Gaps => ("gaps", ""),
        }
    }
}

/// By how much a transaction changes the counts; written once, in the same savepoint as the rows.
#[derive(Debug, Default)]
struct Tally {
    counted: BTreeMap<(i64, Kind), i64>,
    /// Of what was counted, what is gone.
    pruned: BTreeMap<(i64, Kind), i64>,
}

impl Tally {
    fn add(&mut self, account: i64, kind: Kind, by: i64) {
        *self.counted.entry((account, kind)).or_default() += by;
    }

    fn pruned(&mut self, account: i64, kind: Kind) {
        *self.pruned.entry((account, kind)).or_default() += 1;
    }

    /// Nothing of the account is left to be counted.
    fn forget(&mut self, account: i64) {
        self.counted.retain(|(of, _), _| *of != account);
        self.pruned.retain(|(of, _), _| *of != account);
    }

    fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        for (changes, statement) in [(&self.counted, sql::TALLY_ADD), (&self.pruned, sql::PRUNED_ADD)] {
            for (&(account, kind), &by) in changes.iter().filter(|&(_, &by)| by != 0) {
                let (kind, reason) = kind.name();
                conn.run(statement, params![account, kind, reason, by])?;
            }
        }
        Ok(())
    }
}

/// Statements prepared once per connection.
pub(super) trait Prepared {
    /// Runs a statement and says how many rows it changed.
    fn run(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize>;

    /// The one row of a query.
    fn get<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T>;

    /// The first row of a query, if it has one.
    fn find<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.get(sql, params, read).optional()
    }

    /// All rows of a query.
    fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>>;
}

impl Prepared for Connection {
    fn run(&self, sql: &'static str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    fn get<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.prepare_cached(sql)?.query_map(params, read)?.collect()
    }
}
