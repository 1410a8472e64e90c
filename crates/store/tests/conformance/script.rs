//! Transactions in short form: small numbers that are made into ids and claims when they are carried out, so that
//! what is generated hits what exists often enough, and misses it often enough.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use moorline_core::{
    AccountId, BootId, Chat, ChatId, ChatKind, ConversationId, DedupeKey, DropReason, Epoch, EventId,
    Fingerprint, Generation, HoldReason, IdempotencyKey, Identity, InboxId, JobId, MessageId, Outbound,
    OutboxId, Route, Secret, Timestamp, TurnId, UserId,
};
use moorline_store::{
    Claim, GapKind, JobKind, Lease, MissedPolicy, NewGap, NewJob, NewMessage, NewReply, NewReplyToken,
    NewRun, Op, Outcome, Role, RunContent, SendResult, Trigger, Tx, Verdict,
};

/// How many accounts and conversations there are; reads also ask for one that is not there.
pub(crate) const ACCOUNTS: u8 = 2;
pub(crate) const CONVERSATIONS: u8 = 2;

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A transaction under the account's lease, or under the one before.
    Under { account: u8, stale: bool, ops: Vec<Act> },
    /// Operations without a lease.
    Global { ops: Vec<Act> },
    /// The file is closed and opened again.
    Reopen,
}

/// One operation.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    BeginBoot(u8),
    EndBoot(u8),
    TakeOver(u8),
    Prune { age: u8, dedupe_age: u8, limit: u8 },
    Receive { keys: Vec<u8>, conversation: u8, verdict: Verdict },
    SetCursor(u8),
    SaveIdentity(u8),
    Judge { back: u8, verdict: Verdict },
    StartTurn { conversation: u8, backs: Vec<u8>, claim: By },
    ResumeTurn { back: u8, attempt: u32, claim: By },
    CountAttempt { back: u8, claim: By, counts: bool },
    FinishTurn { back: u8, claim: By, entries: u8, replies: Vec<(u8, u8)> },
    InterruptTurns { conversation: Option<u8>, generation: u8 },
    ParkTurn { back: u8, notice: Option<(u8, u8)> },
    Enqueue { conversation: u8, key: u8 },
    ClaimSend { back: u8, claim: By },
    SettleSend { back: u8, claim: By, result: SendResult },
    InterruptSends { generation: u8 },
    ExpireHeld { back: u8, age: u8 },
    Heard { ago: u8, orderly: bool },
    RecordGap { from: u8, to: u8, kind: u8 },
    RetrySend { back: u8 },
    DiscardSend { back: u8 },
    ReopenTurns { conversation: u8 },
    ResetSession { conversation: u8 },
    DiscardRows,
    AddJob { account: u8, key: Option<u8> },
    RemoveJob { back: u8 },
    SwitchJob { back: u8, enabled: bool },
    RecordRun { back: u8, due: u8, span: u8, what: u8, by_operator: bool, stale: bool },
}

/// A claim: of the present epoch or the one before, by one of a few generations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By {
    pub(crate) stale: bool,
    pub(crate) generation: u8,
}

/// What a script has made so far, as the outcomes tell: enough to name it.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) epochs: BTreeMap<u8, i64>,
    inbox: Vec<(AccountId, u8, i64)>,
    turns: Vec<(AccountId, i64)>,
    outbox: Vec<AccountId>,
    jobs: i64,
    runs: i64,
    step: i64,
}

impl Made {
    /// The transaction that a step stands for.
    pub(crate) fn tx(&mut self, account: Option<u8>, stale: bool, acts: &[Act]) -> Tx {
        self.step += 1;
        let lease = account.map(|number| {
            let epoch = self.epochs.get(&number).copied().unwrap_or(0);
            Lease { account: self::account(number), epoch: Epoch::new(epoch) }
        });
        let mut tx =
            Tx { ops: acts.iter().map(|act| self.op(act, lease.as_ref())).collect(), lease, at: self.ago(0) };
        if let Some(lease) = tx.lease.as_mut().filter(|_| stale) {
            lease.epoch = Epoch::new(lease.epoch.get() - 1);
        }
        tx
    }

    /// The time of the step so many steps ago: later than the step before it, and not evenly so.
    fn ago(&self, steps: u8) -> Timestamp {
        let step = self.step - i64::from(steps);
        Timestamp::from_millis(1_000 * step + step % 7)
    }

    /// Takes note of what a transaction made.
    pub(crate) fn learn(&mut self, tx: &Tx, acts: &[Act], outcomes: &[Outcome]) {
        for (act, outcome) in acts.iter().zip(outcomes) {
            match (act, outcome, &tx.lease) {
                (Act::TakeOver(account), Outcome::Applied(epoch), _) => {
                    _ = self.epochs.insert(*account, *epoch)
                }
                (Act::Receive { conversation, .. }, Outcome::Applied(id), Some(lease)) => {
                    self.inbox.push((lease.account.clone(), *conversation, *id));
                }
                (Act::StartTurn { .. }, Outcome::Applied(id), Some(lease)) => {
                    self.turns.push((lease.account.clone(), *id));
                }
                (Act::AddJob { .. }, Outcome::Applied(id), _) => self.jobs = *id,
                (Act::RecordRun { .. }, Outcome::Applied(id), _) => self.runs = *id,
                _ => {}
            }
        }
    }

    /// How many runs and jobs there were; some may be gone.
    pub(crate) fn runs_and_jobs(&self) -> (i64, i64) {
        (self.runs, self.jobs)
    }

    /// Takes note of the next row of the outbox, whatever made it.
    pub(crate) fn learn_outbox(&mut self, account: AccountId) {
        self.outbox.push(account);
    }

    /// How many rows the outbox has.
    pub(crate) fn outbox_rows(&self) -> i64 {
        self.outbox.len() as i64
    }

    fn job(&self, back: u8) -> JobId {
        JobId::new(self.jobs - i64::from(back))
    }

    /// Mostly something of the account; beyond that, whatever came last, which may be another's or nothing.
    fn pick(last: i64, own: impl DoubleEndedIterator<Item = i64>, back: u8) -> i64 {
        own.rev().nth(back.into()).unwrap_or(last)
    }

    fn op(&self, act: &Act, lease: Option<&Lease>) -> Op {
        let epoch = lease.map_or(0, |lease| lease.epoch.get());
        let claim = |by: &By| Claim {
            epoch: Epoch::new(epoch - i64::from(by.stale)),
            generation: Generation::new(by.generation.into()),
        };
        let own = |account: &AccountId| lease.is_some_and(|lease| lease.account == *account);
        let input = |of: Option<u8>, back: &u8| {
            let own = self.inbox.iter().filter(|row| own(&row.0) && of.is_none_or(|of| of == row.1));
            InboxId::new(Self::pick(self.inbox.len() as i64, own.map(|row| row.2), *back))
        };
        let turn = |back: &u8| {
            let own = self.turns.iter().filter(|row| own(&row.0)).map(|row| row.1);
            TurnId::new(Self::pick(self.turns.len() as i64, own, *back))
        };
        let outbox = |back: &u8| {
            let own = (1..=self.outbox_rows()).filter(|id| own(&self.outbox[*id as usize - 1]));
            OutboxId::new(Self::pick(self.outbox_rows(), own, *back))
        };
        match act {
            Act::BeginBoot(number) => Op::BeginBoot { boot: boot(*number), version: "0.1.0".to_owned() },
            Act::EndBoot(number) => Op::EndBoot { boot: boot(*number) },
            Act::TakeOver(number) => Op::TakeOver { account: account(*number) },
            Act::Prune { age, dedupe_age, limit } => Op::Prune {
                before: self.ago(*age),
                dedupe_before: self.ago(*dedupe_age),
                limit: (*limit).into(),
            },
            Act::Receive { keys, conversation, verdict } => {
                Op::Receive { message: message(keys, *conversation, *verdict) }
            }
            Act::SetCursor(value) => Op::SetCursor {
                kind: "poll".to_owned(),
                value: if *value == 0 { String::new() } else { value.to_string() },
            },
            Act::SaveIdentity(name) => Op::SaveIdentity {
                fingerprint: fingerprint(name % 2),
                identity: Identity { id: UserId::new(format!("ou_{name}")), name: name.to_string() },
            },
            Act::Judge { back, verdict } => Op::Judge { inbox: input(None, back), verdict: *verdict },
            Act::StartTurn { conversation, backs, claim: by } => Op::StartTurn {
                conversation: self::conversation(*conversation),
                inputs: backs.iter().map(|back| input(Some(*conversation), back)).collect(),
                claim: claim(by),
            },
            Act::ResumeTurn { back, attempt, claim: by } => {
                Op::ResumeTurn { turn: turn(back), attempt: *attempt, claim: claim(by) }
            }
            Act::CountAttempt { back, claim: by, counts } => {
                Op::CountAttempt { turn: turn(back), claim: claim(by), counts: *counts }
            }
            Act::FinishTurn { back, claim: by, entries, replies } => Op::FinishTurn {
                turn: turn(back),
                claim: claim(by),
                entries: [Role::System, Role::User, Role::Agent]
                    .into_iter()
                    .cycle()
                    .take((*entries).into())
                    .zip(0..)
                    .map(|(role, number)| (role, format!("{number} of {}", self.step)))
                    .collect(),
                replies: replies.iter().map(|(conversation, key)| reply(*conversation, *key)).collect(),
            },
            Act::InterruptTurns { conversation, generation } => Op::InterruptTurns {
                conversation: conversation.map(self::conversation),
                generation: Generation::new((*generation).into()),
            },
            Act::ParkTurn { back, notice } => Op::ParkTurn {
                turn: turn(back),
                notice: notice.map(|(conversation, key)| reply(conversation, key)),
            },
            Act::Enqueue { conversation, key } => {
                let parts = (0..=key % 3).map(|part| reply(*conversation, key + part)).collect();
                Op::Enqueue { parts }
            }
            Act::ClaimSend { back, claim: by } => {
                Op::ClaimSend { outbox: outbox(back), claim: claim(by), possibly_repeated: back % 3 == 1 }
            }
            Act::SettleSend { back, claim: by, result } => {
                Op::SettleSend { outbox: outbox(back), claim: claim(by), result: result.clone() }
            }
            Act::InterruptSends { generation } => {
                Op::InterruptSends { generation: Generation::new((*generation).into()) }
            }
            Act::ExpireHeld { back, age } => Op::ExpireHeld {
                outbox: outbox(back),
                before: self.ago(*age),
                error: "nobody wrote".to_owned(),
            },
            Act::Heard { ago, orderly } => Op::Heard { at: self.ago(*ago), orderly: *orderly },
            // Times near each other, so that they meet.
            Act::RecordGap { from, to, kind } => {
                let moment = |second: &u8| Timestamp::from_millis(1_000 * i64::from(*second));
                let kind = GapKind::ALL[usize::from(*kind) % GapKind::ALL.len()];
                let why = format!("step {}", self.step);
                Op::RecordGap { gap: NewGap { from: moment(from), to: moment(to), kind, why } }
            }
            Act::RetrySend { back } => Op::RetrySend { outbox: outbox(back) },
            Act::DiscardSend { back } => Op::DiscardSend { outbox: outbox(back) },
            Act::ReopenTurns { conversation } => {
                Op::ReopenTurns { conversation: self::conversation(*conversation) }
            }
            Act::ResetSession { conversation } => {
                Op::ResetSession { conversation: self::conversation(*conversation) }
            }
            // In one go, since the model does it so.
            Act::DiscardRows => Op::DiscardRows { limit: u32::MAX },
            Act::AddJob { account, key } => Op::AddJob { job: Box::new(job(*account, *key)) },
            Act::RemoveJob { back } => Op::RemoveJob { job: self.job(*back) },
            Act::SwitchJob { back, enabled } => Op::SwitchJob {
                job: self.job(*back),
                enabled: *enabled,
                next_due: enabled.then_some(NEXT_DUE),
                reason: (*back == 1).then(|| "it failed".to_owned()),
            },
            Act::RecordRun { back, due, span, what, by_operator, stale } => {
                let job = self.job(*back);
                let content = match what {
                    0 => RunContent::Text((0..=due % 2).map(|part| reply(*span, 2 * due + part)).collect()),
                    1 => RunContent::Prompt(Box::new(prompt(*due, *span))),
                    2 => RunContent::Missed { reason: "nobody was there".to_owned() },
                    3 => RunContent::Expired,
                    _ => RunContent::Failed { reason: "no account".to_owned() },
                };
                let due_at = |due: u8| Timestamp::from_millis(1_000 * i64::from(due));
                let trigger = if *by_operator {
                    Trigger::Operator { key: IdempotencyKey::new(format!("r{due}")) }
                } else {
                    // Every job is due at the same time for ever, so that scripts hit it.
                    let seen = if *stale { Timestamp::from_millis(1) } else { NEXT_DUE };
                    Trigger::Schedule { seen, next_due: Some(NEXT_DUE) }
                };
                let until = if *what < 2 { *due } else { due + span };
                let (due, until, count) = (due_at(*due), due_at(until), 1 + u64::from(until - due));
                Op::RecordRun { run: Box::new(NewRun { job, due, until, count, trigger, content }) }
            }
        }
    }
}

impl Act {
    /// For saying which operations were seen with which outcome.
    pub(crate) fn name(&self) -> String {
        let debug = format!("{self:?}");
        debug.split([' ', '(']).next().unwrap_or_default().to_owned()
    }
}

pub(crate) fn account(number: u8) -> AccountId {
    format!("feishu:a{number}").parse().unwrap()
}

pub(crate) fn conversation(number: u8) -> ConversationId {
    ConversationId::new(format!("oc_{number}"))
}

pub(crate) fn chat(number: u8) -> ChatId {
    ChatId::new(format!("chat {number}"))
}

pub(crate) fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::new(format!("f{number}"))
}

pub(crate) fn boot(number: u8) -> BootId {
    BootId::new(format!("b{number}"))
}

pub(crate) fn message(keys: &[u8], conversation: u8, verdict: Verdict) -> NewMessage {
    let name = format!("{keys:?}");
    let first = keys.first().copied().unwrap_or(0);
    NewMessage {
        event_id: EventId::new(format!("event {name}")),
        dedupe: keys.iter().map(|key| DedupeKey::new(format!("key {key}"))).collect(),
        conversation: self::conversation(conversation),
        chat: Chat {
            id: chat(conversation),
            kind: if conversation == 0 { ChatKind::Direct } else { ChatKind::Group },
        },
        message_id: keys.first().map(|key| MessageId::new(format!("om_{key}"))),
        route: route(conversation),
        text: format!("“{name}” it's\0me"),
        context: "{\"sender\":1}".to_owned(),
        written_at: (first % 4 != 3).then(|| Timestamp::from_millis(i64::from(first % 3) - 5)),
        reply_token: (first % 2 == 0).then(|| NewReplyToken {
            secret: Secret::new(format!("token {name}")),
            credentials: fingerprint(u8::from(first % 10 == 0)),
        }),
        raw: Bytes::from_static(b"\xff\0\x01"),
        verdict,
    }
}

/// What a job has to say in a chat: nobody wrote it.
pub(crate) fn prompt(key: u8, conversation: u8) -> NewMessage {
    NewMessage { message_id: None, ..message(&[key], conversation, Verdict::Allow) }
}

pub(crate) fn reply(conversation: u8, key: u8) -> NewReply {
    NewReply {
        conversation: self::conversation(conversation),
        outbound: Outbound { route: route(conversation), text: format!("reply {key}") },
        key: IdempotencyKey::new(format!("k{key}")),
    }
}

fn route(conversation: u8) -> Route {
    Route {
        chat: chat(conversation),
        reply_to: (conversation == 1).then(|| MessageId::new("om_1")),
        in_thread: conversation == 1,
    }
}

/// When every job is due.
const NEXT_DUE: Timestamp = Timestamp::from_millis(7);

pub(crate) fn job(account: u8, key: Option<u8>) -> NewJob {
    NewJob {
        name: key.map(|key| format!("job {key}")),
        account: self::account(account),
        chat: ChatId::new("chat 0"),
        schedule: "0 9 * * *".to_owned(),
        zone: "Asia/Shanghai".to_owned(),
        kind: if key.is_some() { JobKind::Text } else { JobKind::Prompt },
        body: "good morning".to_owned(),
        missed: MissedPolicy::Once,
        max_delay_ms: 3_600_000,
        next_due: Some(NEXT_DUE),
        key: key.map(|key| IdempotencyKey::new(format!("j{key}"))),
    }
}

pub(crate) const DROP: Verdict = Verdict::Drop(DropReason::NotMentioned);
pub(crate) const ECHO: Verdict = Verdict::Drop(DropReason::OwnMessage);
pub(crate) const HOLD: Verdict = Verdict::Hold(HoldReason::Identity);

pub(crate) fn results() -> [SendResult; 7] {
    let error = || "no route".to_owned();
    [
        SendResult::Sent { message_id: MessageId::new("om_sent"), delivery_doubted: false },
        SendResult::Retry { wait: Duration::from_secs(7), error: error() },
        SendResult::Unknown { wait: Duration::from_secs(3), error: error() },
        SendResult::Dead { error: error() },
        SendResult::Held { heard: InboxId::new(i64::MAX), error: error() },
        SendResult::Held { heard: InboxId::new(2), error: error() },
        SendResult::Sent { message_id: MessageId::new("om_taken"), delivery_doubted: true },
    ]
}
