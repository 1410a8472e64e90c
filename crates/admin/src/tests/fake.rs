//! An operator's side with one account, `feishu:main`, and a list of what it was asked to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_core::{
    AccountId, AccountState, BootId, ChatId, Evidence, Generation, IdempotencyKey, IdentityState, OutboxId,
    Timestamp,
};
use moorline_runtime::supervision::Node;
use moorline_runtime::{
    AccountStatus, AccountView, CommandError, Counts, Enqueued, IdentityStatus, NotReady, OutboxState,
    Status, StoreError, StoreStatus, Turns,
};
use parking_lot::Mutex;

use crate::operator::{Operator, Verb};

#[derive(Debug, Default)]
pub(super) struct Fake {
    /// What was done, in order.
    pub(super) done: Mutex<Vec<String>>,
    /// What the next commands answer with, instead of doing anything.
    pub(super) refuses: Mutex<Option<CommandError>>,
    /// Why it is not ready.
    pub(super) reasons: Mutex<NotReady>,
    /// How long it takes to answer for an account.
    pub(super) delay: Duration,
    /// How often it was asked for one.
    pub(super) asked: AtomicUsize,
}

impl Fake {
    pub(super) fn refusing(error: CommandError) -> Self {
        Self { refuses: Mutex::new(Some(error)), ..Self::default() }
    }

    async fn known(&self, id: &AccountId) -> Result<(), CommandError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if *id != main() {
            return Err(CommandError::UnknownAccount(id.clone()));
        }
        self.refuses.lock().clone().map_or(Ok(()), Err)
    }
}

pub(super) fn main() -> AccountId {
    "feishu:main".parse().unwrap()
}

fn view() -> AccountView {
    let since = Timestamp::from_millis(0);
    let identity = IdentityStatus {
        state: IdentityState::Verified,
        id: None,
        name: Some("Bot".to_owned()),
        since,
        attempt: 0,
        next_attempt_at: None,
        last_error: None,
    };
    let status = AccountStatus {
        id: main(),
        channel: "feishu".to_owned(),
        state: AccountState::Ready,
        since,
        generation: Generation::FIRST,
        cause: None,
        blocked: None,
        attempt: 0,
        next_attempt_at: None,
        identity,
        evidence: Evidence::default(),
        skipped: 0,
    };
    AccountView { status, counts: Counts::default() }
}

impl Operator for Fake {
    fn status(&self) -> LocalBoxFuture<'_, Result<Status, StoreError>> {
        Box::pin(async {
            Ok(Status {
                version: "1.2.3",
                pid: 7,
                boot: BootId::new("boot"),
                started_at: Timestamp::from_millis(0),
                ready: true,
                turns: Turns { running: 0 },
                store: StoreStatus { state: "ok", message: None },
                accounts: vec![view()],
            })
        })
    }

    fn accounts(&self) -> LocalBoxFuture<'_, Result<Vec<AccountView>, StoreError>> {
        Box::pin(async { Ok(vec![view()]) })
    }

    fn account<'a>(&'a self, id: &'a AccountId) -> LocalBoxFuture<'a, Result<AccountView, CommandError>> {
        Box::pin(async move { self.known(id).await.map(|()| view()) })
    }

    fn readiness(&self) -> Result<(), NotReady> {
        let reasons = self.reasons.lock().clone();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn tree(&self) -> Vec<Node> {
        Vec::new()
    }

    fn command<'a>(&'a self, id: &'a AccountId, verb: Verb) -> LocalBoxFuture<'a, Result<(), CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            self.done.lock().push(format!("{} {id}", verb.name()));
            Ok(())
        })
    }

    fn send<'a>(
        &'a self,
        id: &'a AccountId,
        to: ChatId,
        text: String,
        key: Option<IdempotencyKey>,
    ) -> LocalBoxFuture<'a, Result<Enqueued, CommandError>> {
        Box::pin(async move {
            self.known(id).await?;
            let key = key.map_or_else(|| "-".to_owned(), |key| key.to_string());
            let message = format!("send {id} {to} {text} {key}");
            let mut done = self.done.lock();
            let repeated = done.contains(&message);
            done.push(message);
            Ok(Enqueued { id: OutboxId::new(41), state: OutboxState::Ready, repeated })
        })
    }

    fn shutdown(&self) {
        self.done.lock().push("shutdown".to_owned());
    }
}
