//! The whole runtime on one thread, and the platform beside it, in virtual time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Network, Plan};
use moorline_config::Config;
use moorline_core::{AccountId, BootId, ChatId, Clock, IdempotencyKey, Timestamp};
use moorline_runtime::{
    InboxFilter, Logins as _, MemoryLogins, Options, OutboxFilter, Page, Runtime, Saved, Scope,
};
use moorline_store::{LONGEST_PAGE, SqliteStore, Store};
use serde_json::{Value, json};

use super::{Hold, PLATFORM, Stage, Wish, configuration, loaded};
use crate::sim::store::{Mood, Moody};
use crate::world::VirtualClock;

/// A commit that is held waits for longer than any scenario takes.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The first page, and all there is of what a scenario writes.
const ALL: Page = Page { before: None, limit: LONGEST_PAGE };

/// See [`super::Mount::Memory`].
pub struct InMemory {
    runtime: Option<Runtime>,
    /// Outlives every runtime.
    inner: Arc<SqliteStore>,
    store: Moody,
    clock: Arc<VirtualClock>,
    network: Network,
    config: Config,
    plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    boots: u64,
    logins: MemoryLogins,
}

impl InMemory {
    pub(super) async fn open(stage: &dyn Stage, wish: &Wish) -> Self {
        let config = loaded(stage, configuration(stage, wish, "unused", PLATFORM));
        let logins = MemoryLogins::default();
        for (n, account) in config.accounts.iter().enumerate() {
            if let Some(login) = stage.login(n, PLATFORM) {
                let saved = Saved { login, person: None, saved_at: Timestamp::default() };
                logins.save(&account.id, saved).await.unwrap();
            }
        }
        let plans = config.accounts.iter().map(|account| (account.id.clone(), stage.plan(account)));
        let inner = Arc::new(SqliteStore::inline(None).unwrap());
        let mut house = Self {
            runtime: None,
            store: Moody::new(Arc::clone(&inner), Duration::ZERO),
            inner,
            clock: VirtualClock::start(),
            network: stage.network(),
            plans: plans.collect(),
            config,
            boots: 0,
            logins,
        };
        house.start().await;
        house
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("nobody asks a process that is not there")
    }

    pub(super) async fn account(&self, id: &AccountId) -> Value {
        let Some(runtime) = &self.runtime else { return Value::Null };
        serde_json::to_value(runtime.handle().account(id).await.unwrap()).unwrap()
    }

    pub(super) fn turns(&self) -> u64 {
        self.runtime().handle().board().turns().into()
    }

    pub(super) async fn outbox(&self, id: &AccountId) -> Vec<Value> {
        let filter = OutboxFilter { scope: Scope::Account(id.clone()), state: None };
        let page = self.inner.listing().outbox(&filter, ALL).await.unwrap();
        let row = |row: &moorline_store::OutboxRow| {
            json!({
                "id": row.id,
                "state": row.state,
                "text": row.outbound.text,
                "attempts": row.attempts,
                "possibly_repeated": row.possibly_repeated,
                "last_error": row.last_error,
            })
        };
        page.rows.iter().map(row).collect()
    }

    pub(super) async fn inbox(&self, id: &AccountId) -> Vec<Value> {
        let filter = InboxFilter { scope: Scope::Account(id.clone()), state: None };
        let page = self.inner.listing().inbox(&filter, ALL).await.unwrap();
        let row = |entry: &moorline_store::InboxEntry| json!({ "text": entry.row.text });
        page.rows.iter().map(row).collect()
    }

    pub(super) async fn gaps(&self, id: &AccountId) -> Vec<Value> {
        let page = self.inner.listing().gaps(Some(id), ALL).await.unwrap();
        page.rows.iter().map(|gap| serde_json::to_value(gap).unwrap()).collect()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    pub(super) async fn send(&self, id: &AccountId, to: &ChatId, text: &str, key: &str) {
        let key = Some(IdempotencyKey::new(key));
        self.runtime().handle().send(id, to.clone(), text.to_owned(), key).await.unwrap();
    }

    pub(super) async fn hurry(&self, id: &AccountId) {
        let handle = self.runtime().handle();
        handle.probe(id).await.unwrap();
        for row in self.outbox(id).await {
            if let Ok(row) = serde_json::from_value(row["id"].clone()) {
                // One that is settled, or under way, is none of those that wait.
                drop(handle.retry_send(row).await);
            }
        }
    }

    pub(super) fn hold(&self, hold: Hold) {
        self.store.set(match hold {
            Hold::BeforeTheCommit => Mood::Slow(FOR_EVER),
            Hold::AfterTheCommit => Mood::FailAfter,
        });
    }

    pub(super) fn is_held(&self) -> bool {
        !self.store.struck().is_empty()
    }

    pub(super) async fn kill(&mut self) {
        drop(self.runtime.take());
        self.store.crash();
        self.store.clear();
        // Dropped actors end at their next poll.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn start(&mut self) {
        self.boots += 1;
        let options = Options {
            config: self.config.clone(),
            plans: self.plans.clone(),
            agents: BTreeMap::default(),
            store: Arc::new(self.store.clone()),
            network: self.network.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            boot: BootId::new(format!("boot-{}", self.boots)),
            seed: self.boots,
            version: "test",
            logins: Rc::new(self.logins.clone()),
            config_file: None,
            machine: Arc::new(()),
            children: Vec::new(),
        };
        self.runtime = Some(Runtime::start(options).await.unwrap());
    }

    pub(super) async fn miscounted(&self) -> Option<String> {
        let (counts, rows) = (self.inner.counts().await.unwrap(), self.inner.recount().await.unwrap());
        (counts != rows).then(|| format!("the counters say {counts:?}, the rows {rows:?}"))
    }
}
