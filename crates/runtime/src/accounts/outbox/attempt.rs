//! One attempt to send one message: claimed, sent, settled, told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use moorline_channel::Outgoing;
use moorline_core::{Effect, Failure, FailureClass, InboxId, Receipt, Secret, millis};
use moorline_store::{Claim, Op, OutboxRow, OutboxState, Outcome, ReplyWindow, SendResult, StoreError, Tx};

use super::gate::Gate;
use crate::accounts::{Probe, with_token};
use crate::events::{Sort, What};
use crate::services::{Account, STORE_RETRY, Services};

/// A platform with a reply window may call it a rate limit when the window is closed: what was throttled so often in a
/// row waits for its user.
const MOST_THROTTLED: u32 = 5;

/// So many repetitions of which nobody knows whether they took effect may a message have, where the platform does not
/// recognise its key: a user sees it twice at most, and an operator hears that it may have been delivered (F-056).
const MOST_REPEATS: u32 = 1;

/// The attempt of a series whose delay is the longest one.
const LATE: u32 = 32;

/// Why a row waits for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Its own last attempt failed.
    Own,
    /// The platform said so: ChannelReady does not end it.
    Told,
    /// The account as a whole cannot send.
    Account,
}

/// What an attempt came to.
pub(super) struct Attempted {
    /// The wait before the next one; `None` when there is none to come, or none to wait for.
    pub(super) wait: Option<(Duration, Wait)>,
    /// The pause that the platform's pace asks of the conversation.
    pub(super) pause: Duration,
    /// The row needs no attempt any more, or none until its user writes.
    pub(super) settled: bool,
    /// It was throttled.
    pub(super) throttled: bool,
    /// It showed that the account can send again.
    pub(super) opened: bool,
}

/// An attempt.
pub(super) struct Attempt {
    pub(super) services: Rc<Services>,
    pub(super) account: Rc<Account>,
    pub(super) gate: Rc<RefCell<Gate>>,
    pub(super) row: OutboxRow,
    pub(super) claim: Claim,
    pub(super) possibly_repeated: bool,
    /// How many of the last attempts were throttled.
    pub(super) throttled: u32,
}

/// What an answer means, for the row and for the others.
struct Judgement {
    result: SendResult,
    why: Wait,
    throttled: bool,
    opened: bool,
}

impl Attempt {
    /// Claims, sends and settles the row.
    pub(super) async fn make(self) -> Attempted {
        let Self { services, account, row, claim, .. } = &self;
        let not_claimed = |settled| Attempted { settled, ..Attempted::over(None, STORE_RETRY) };
        let under = |op| Tx::under(&account.lease, services.clock.wall(), [op]);
        let window = match self.window().await {
            Ok(window) => window,
            Err(error) => {
                tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, "reply token not read, trying again: {error}");
                return not_claimed(false);
            }
        };
        let spent = self.possibly_repeated && row.repeats >= MOST_REPEATS;
        let possibly_repeated = self.possibly_repeated && !spent;
        let claiming = Op::ClaimSend { outbox: row.id, claim: *claim, possibly_repeated };
        match services.store.commit(under(claiming)).await {
            Ok(outcomes) if outcomes.iter().all(|outcome| outcome.is_done()) => {}
            // Somebody settled or claimed it meanwhile, or the account is another process's now.
            Ok(_) => return not_claimed(true),
            Err(error) => {
                tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, "not claimed, trying again: {error}");
                return not_claimed(false);
            }
        }
        let began = services.clock.now();
        let Judgement { result, why, throttled, opened } = if spent {
            let last = row.last_error.as_deref().unwrap_or("the process ended while it was sent");
            Judgement { result: self.given_up(last), why: Wait::Own, throttled: false, opened: false }
        } else {
            let token = window.token.map(|token| token.secret);
            let answer = self.call(token.as_ref()).await;
            self.judge(answer, token.is_some(), window.heard)
        };
        let settle = Op::SettleSend { outbox: row.id, claim: *claim, result: result.clone() };
        // The platform may have the message: what became of it must reach the store, however long that takes.
        let outcome = loop {
            match services.store.commit(under(settle.clone())).await {
                Ok(outcomes) => break outcomes.first().copied(),
                Err(error) => {
                    if matches!(error, StoreError::Failed(_)) {
                        break None;
                    }
                    tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, "outcome not stored, trying again: {error}");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        };
        let wait = match &result {
            SendResult::Retry { wait, .. } | SendResult::Unknown { wait, .. } => Some((*wait, why)),
            // Its user has written while it was being sent.
            SendResult::Held { .. } if outcome == Some(Outcome::Applied(1)) => {
                Some((Duration::ZERO, Wait::Own))
            }
            SendResult::Held { .. } | SendResult::Sent { .. } | SendResult::Dead { .. } => None,
        };
        if outcome.is_some() {
            self.tell(&result, wait.map(|(wait, _)| wait));
        }
        let attempted = Attempted { throttled, opened, ..Attempted::over(wait, Duration::ZERO) };
        if !matches!(result, SendResult::Sent { .. }) || outcome.is_none() {
            return attempted;
        }
        services
            .board
            .update(&account.id, |status| status.evidence.last_sent_at = Some(services.clock.wall()));
        let pace = Duration::from_secs(1) / account.plan.capabilities().chat_rate.max(1);
        Attempted { pause: pace.saturating_sub(services.clock.now() - began), ..attempted }
    }

    /// Calls the platform.
    async fn call(&self, reply_token: Option<&Secret>) -> Result<Receipt, Failure> {
        let Self { services, account, row, .. } = self;
        let began = services.clock.now();
        let (sender, http) = (account.plan.sender(), services.network_of(&account.id).http);
        let answer = with_token(Rc::clone(account), |token| {
            let outgoing = Outgoing { outbound: &row.outbound, key: &row.key, reply_token };
            sender.send(Rc::clone(&http), token, outgoing)
        })
        .await;
        let failure = answer.as_ref().err().map(|failure| failure.class);
        services.board.measures().attempted(&account.id, failure, services.clock.now() - began);
        services.board.update(&account.id, |status| {
            status.called("send", answer.as_ref().err(), services.clock.wall());
        });
        answer
    }

    /// What its user last gave us to write with, as of this moment; nothing where the platform has no such thing.
    async fn window(&self) -> Result<ReplyWindow, StoreError> {
        let plan = &self.account.plan;
        if !plan.capabilities().reply_window {
            return Ok(ReplyWindow { token: None, heard: InboxId::new(i64::MAX) });
        }
        let chat = &self.row.outbound.route.chat;
        self.services.store.reply_window(&self.account.id, chat, &plan.fingerprint()).await
    }

    /// What an answer of the platform means; `with_reply_token` says whether there was one.
    fn judge(&self, answer: Result<Receipt, Failure>, with_reply_token: bool, heard: InboxId) -> Judgement {
        let Self { services, account, row, .. } = self;
        let attempt = row.attempts + 1;
        let failure = match answer {
            Ok(receipt) => {
                // A platform that takes messages only after a user wrote may show this one to nobody (F-059).
                let delivery_doubted = account.plan.capabilities().reply_window && !with_reply_token;
                tracing::info!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, message_id = %receipt.message_id, attempts = attempt, delivery_doubted, "sent");
                let message_id = receipt.message_id;
                return self.taken_note_of(SendResult::Sent { message_id, delivery_doubted });
            }
            Err(failure) => failure,
        };
        let error = failure.to_string();
        if failure.class == FailureClass::Rejected {
            tracing::error!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, code = failure.code, "never to be sent, kept as a dead letter: {failure}");
            return self.taken_note_of(SendResult::Dead { error });
        }
        let throttled = failure.class == FailureClass::Throttled;
        let too_often = account.plan.capabilities().reply_window && self.throttled + 1 >= MOST_THROTTLED;
        let awaits_user = failure.class == FailureClass::AwaitsUser || (throttled && too_often);
        if awaits_user && failure.effect == Effect::None {
            tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, class = %failure.class, attempt, "held until its user writes again: {error}");
            return self.taken_note_of(SendResult::Held { heard, error });
        }
        let (mut wait, why, opened) = self.wait_after(&failure);
        let unconfirmed = failure.effect == Effect::Unknown;
        if unconfirmed && self.possibly_repeated && row.repeats + 1 >= MOST_REPEATS {
            return Judgement { result: self.given_up(&error), why, throttled, opened };
        }
        if unconfirmed && self.is_seen_again() {
            // There is one repetition, and most of what nobody confirms is out: it is made when trouble may be over.
            wait = wait.max(account.retry().delay(&failure, LATE, services.random.unit()));
        }
        tracing::warn!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, class = %failure.class, attempt, next_in_ms = millis(wait), "not sent: {error}");
        let result = match failure.effect {
            // An earlier one may have had an effect all the same, and the store knows of it.
            Effect::None => SendResult::Retry { wait, error },
            Effect::Unknown => SendResult::Unknown { wait, error },
        };
        Judgement { result, why, throttled, opened }
    }

    /// It was repeated as often as it may be, and nobody knows whether it is out.
    fn given_up(&self, last: &str) -> SendResult {
        let Self { account, row, .. } = self;
        let error = format!("it may have been delivered, and may not: no attempt was confirmed; {last}");
        tracing::error!(account = %account.id, actor = "outbox", outbox = %row.id, conversation = %row.conversation, "not sent again, kept as a dead letter: {error}");
        SendResult::Dead { error }
    }

    /// Whether a repetition at this moment would be seen as a message of its own.
    fn is_seen_again(&self) -> bool {
        self.possibly_repeated || self.account.plan.capabilities().idempotency.is_none()
    }

    /// The platform has dealt with this one message: so it would with others.
    fn taken_note_of(&self, result: SendResult) -> Judgement {
        let opened = self.gate.borrow_mut().prove();
        Judgement { result, why: Wait::Own, throttled: false, opened }
    }

    /// How long the row waits after a failure and why, and whether the failure showed that the account can send.
    fn wait_after(&self, failure: &Failure) -> (Duration, Wait, bool) {
        let Self { services, account, row, .. } = self;
        let (retry, unit, now) = (account.retry(), services.random.unit(), services.clock.now());
        let mut gate = self.gate.borrow_mut();
        if gate.concerns_all(failure.class) {
            let shut = gate.shut(row.id, failure, &retry, unit, now);
            if shut.first && failure.class == FailureClass::SessionExpired {
                // It finds out for itself; whatever it finds, sending goes on as it would (G10).
                account.actors.connection.tell(Probe);
            }
            return (shut.wait, Wait::Account, false);
        }
        let wait = retry.delay(failure, row.attempts + 1, unit);
        let opened = match failure.class {
            FailureClass::Throttled | FailureClass::Permission | FailureClass::AwaitsUser => gate.prove(),
            _ => {
                gate.learned_nothing(row.id, now + wait);
                false
            }
        };
        (wait, if failure.retry_after.is_some() { Wait::Told } else { Wait::Own }, opened)
    }

    /// Tells what became of the attempt, once it is stored.
    fn tell(&self, result: &SendResult, wait: Option<Duration>) {
        let Self { services, account, row, .. } = self;
        let sort = if matches!(result, SendResult::Dead { .. }) { Sort::Lifecycle } else { Sort::Message };
        services.board.events().tell(sort, || {
            let (account, conversation, outbox) = (account.id.clone(), row.conversation.clone(), row.id);
            let attempt = row.attempts + 1;
            let in_doubt = row.state == OutboxState::Unknown && matches!(result, SendResult::Retry { .. });
            let outcome_unknown = in_doubt || matches!(result, SendResult::Unknown { .. });
            match (result.clone(), wait) {
                (SendResult::Sent { message_id, delivery_doubted }, _) => What::MessageSent {
                    account,
                    conversation,
                    outbox,
                    message_id,
                    attempts: attempt,
                    delivery_doubted,
                },
                (SendResult::Dead { error }, _) => What::DeadLetter { account, conversation, outbox, error },
                (SendResult::Held { error, .. }, None) => {
                    What::SendHeld { account, conversation, outbox, error, attempt }
                }
                (
                    SendResult::Retry { error, .. }
                    | SendResult::Unknown { error, .. }
                    | SendResult::Held { error, .. },
                    wait,
                ) => {
                    let next_attempt_at = services.clock.wall() + wait.unwrap_or_default();
                    What::SendFailed {
                        account,
                        conversation,
                        outbox,
                        error,
                        outcome_unknown,
                        attempt,
                        next_attempt_at,
                    }
                }
            }
        });
    }
}

impl Attempted {
    /// An attempt that is over, after which the row waits so long, or for ever.
    fn over(wait: Option<(Duration, Wait)>, pause: Duration) -> Self {
        Self { settled: wait.is_none(), wait, pause, throttled: false, opened: false }
    }
}
