//! WeChat takes ten messages for a chat after each of its user's, for a day, with the token of that message: what the
//! runtime makes of it, by the real channel against the simulated platform (F-060).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{Factory, Plan, SavedLogin};
use moorline_config::{AGENT_KINDS, Config, Source, load};
use moorline_core::{AccountId, AccountState, BootId, ChatId, Clock, Secret, Timestamp, UserId};
use moorline_runtime::{Handle, Logins, MemoryLogins, Options, Runtime, Saved};
use moorline_simulator::memory;
use moorline_simulator::weixin::{Bot, Endpoint, Expiry, NewBot, NewMessage, Simulator};
use moorline_store::{Listing, OutboxFilter, OutboxState, Page, SqliteStore};
use moorline_tests::in_virtual_time;
use moorline_tests::world::VirtualClock;
use moorline_weixin::Weixin;
use serde_json::json;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const ALICE: &str = "o9cq80alice@im.wechat";

/// One account that somebody is logged in to, and an echo agent.
struct Rig {
    simulator: Simulator,
    bot: Bot,
    store: Arc<SqliteStore>,
    clock: Arc<VirtualClock>,
    logins: MemoryLogins,
    handle: Handle,
    runtime: Option<Runtime>,
    boots: u64,
}

fn id() -> AccountId {
    "weixin:main".parse().unwrap()
}

fn configuration() -> (Config, BTreeMap<AccountId, Arc<dyn Plan>>) {
    let text = "data_dir = \"unused\"\n[agents.default]\nkind = \"echo\"\n[channels.weixin.accounts.main]\n";
    let source = Source { path: "weixin.toml".into(), text: text.to_owned() };
    let config = load(&source, &BTreeMap::new(), &[Weixin.schema()], AGENT_KINDS)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let accounts = config.accounts.iter();
    let plans =
        accounts.map(|account| (account.id.clone(), Weixin.parse(&account.settings).unwrap())).collect();
    (config, plans)
}

impl Rig {
    async fn start() -> Self {
        let simulator = Simulator::new(7);
        let bot = simulator.add_bot(NewBot::default());
        let saved = json!({
            "token": bot.token, "base_url": bot.base_url, "bot_id": bot.bot_id.as_str(), "user_id": bot.user_id.as_str(),
        });
        let login = SavedLogin(Secret::new(saved.to_string()));
        let logins = MemoryLogins::default();
        logins.save(&id(), Saved { login, person: None, saved_at: Timestamp::default() }).await.unwrap();
        let store = Arc::new(SqliteStore::inline(None).unwrap());
        let clock = VirtualClock::start();
        let runtime = run(&simulator, &store, &clock, &logins, 1).await;
        let handle = runtime.handle();
        let rig = Self { simulator, bot, store, clock, logins, handle, runtime: Some(runtime), boots: 1 };
        rig.until("it is ready", MINUTE, |rig| rig.state() == AccountState::Ready).await;
        rig
    }

    async fn crash(&mut self) {
        drop(self.runtime.take());
        sleep(Duration::from_millis(1)).await;
    }

    async fn boot(&mut self) {
        self.boots += 1;
        let runtime = run(&self.simulator, &self.store, &self.clock, &self.logins, self.boots).await;
        self.handle = runtime.handle();
        self.runtime = Some(runtime);
    }

    fn state(&self) -> AccountState {
        self.handle.board().account(&id()).unwrap().state
    }

    fn say(&self, user: &str, text: &str) {
        self.simulator.push(&self.bot.bot_id, NewMessage::text(user, text)).unwrap();
    }

    async fn send(&self, user: &str, text: &str) {
        self.handle.send(&id(), ChatId::new(user), text.to_owned(), None).await.unwrap();
    }

    fn seen(&self, user: &str) -> Vec<String> {
        let user = UserId::new(user);
        self.simulator.read_ledger(|ledger| ledger.visible_to(&user).map(|seen| seen.text.clone()).collect())
    }

    async fn in_state(&self, state: OutboxState) -> Vec<String> {
        let filter = OutboxFilter { state: Some(state), ..OutboxFilter::default() };
        let rows = self.store.outbox(&filter, Page { before: None, limit: 500 }).await.unwrap().rows;
        rows.into_iter().rev().map(|row| row.outbound.text).collect()
    }

    async fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}; she sees {:?}", self.seen(ALICE));
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    async fn sees(&self, user: &str, count: usize, limit: Duration) -> Duration {
        self.until(&format!("{user} sees {count}"), limit, |rig| rig.seen(user).len() >= count).await
    }

    /// Every text once, and in this order.
    fn assert_news(&self, count: usize) {
        let seen = self.seen(ALICE);
        let news: Vec<&String> = seen.iter().filter(|text| text.starts_with("news")).collect();
        let expected: Vec<String> = (1..=count).map(|n| format!("news {n}")).collect();
        assert_eq!(news, expected.iter().collect::<Vec<_>>());
        let violations: Vec<String> =
            self.simulator.read_ledger(|ledger| ledger.violations().map(|one| format!("{one:?}")).collect());
        assert!(violations.is_empty(), "{violations:?}");
    }

    async fn check(&self) {
        use moorline_store::Store;
        assert_eq!(self.store.counts().await.unwrap(), self.store.recount().await.unwrap());
    }
}

async fn run(
    simulator: &Simulator,
    store: &Arc<SqliteStore>,
    clock: &Arc<VirtualClock>,
    logins: &MemoryLogins,
    boot: u64,
) -> Runtime {
    let (config, plans) = configuration();
    let options = Options {
        config,
        plans,
        agents: BTreeMap::new(),
        store: Arc::clone(store) as Arc<dyn moorline_store::Store>,
        logins: Rc::new(logins.clone()),
        network: memory::network(simulator),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        boot: BootId::new(format!("boot-{boot}")),
        seed: boot,
        version: "test",
        config_file: None,
        machine: Arc::new(()),
        children: Vec::new(),
    };
    Runtime::start(options).await.unwrap()
}

/// She has written, was answered, and ten messages are out.
async fn ten_out() -> Rig {
    let rig = Rig::start().await;
    rig.say(ALICE, "hello");
    rig.sees(ALICE, 1, 5 * SECOND).await;
    for n in 1..=9 {
        rig.send(ALICE, &format!("news {n}")).await;
    }
    rig.sees(ALICE, 10, MINUTE).await;
    rig
}

#[test]
fn the_eleventh_message_waits_for_her_next_one_also_over_a_crash_f060() {
    in_virtual_time(async {
        let mut rig = ten_out().await;
        for n in 10..=12 {
            rig.send(ALICE, &format!("news {n}")).await;
        }
        sleep(MINUTE).await;
        assert_eq!(rig.in_state(OutboxState::Held).await, ["news 10"]);
        let calls = |rig: &Rig| {
            rig.simulator
                .read_ledger(|ledger| ledger.calls_of(&rig.bot.bot_id, Endpoint::SendMessage).count())
        };
        let before = calls(&rig);
        rig.crash().await;
        rig.boot().await;
        sleep(12 * HOUR).await;
        assert_eq!(calls(&rig), before, "nobody tries it by a clock");

        rig.say(ALICE, "still there?");
        rig.until("the first is out", 2 * SECOND, |rig| rig.seen(ALICE).iter().any(|text| text == "news 10"))
            .await;
        rig.crash().await;
        rig.boot().await;
        rig.sees(ALICE, 14, 2 * MINUTE).await;
        sleep(10 * MINUTE).await;
        assert_eq!(rig.seen(ALICE).len(), 14, "{:?}", rig.seen(ALICE));
        rig.assert_news(12);
        rig.check().await;
    });
}

#[test]
fn what_is_a_day_too_late_waits_for_her_too_f060() {
    in_virtual_time(async {
        let rig = Rig::start().await;
        rig.say(ALICE, "hello");
        rig.sees(ALICE, 1, 5 * SECOND).await;
        sleep(25 * HOUR).await;
        rig.send(ALICE, "news 1").await;
        sleep(MINUTE).await;
        assert_eq!(rig.in_state(OutboxState::Held).await, ["news 1"]);
        rig.say(ALICE, "good morning");
        rig.sees(ALICE, 3, 5 * SECOND).await;
        rig.assert_news(1);
    });
}

/// Somebody who never wrote has no token, and the platform refuses what has none.
#[test]
fn what_is_sent_to_somebody_who_never_wrote_waits_until_they_do_f060() {
    in_virtual_time(async {
        let rig = Rig::start().await;
        rig.send(ALICE, "news 1").await;
        sleep(HOUR).await;
        assert_eq!(rig.in_state(OutboxState::Held).await, ["news 1"]);
        rig.say(ALICE, "who is there?");
        rig.sees(ALICE, 2, 5 * SECOND).await;
        rig.assert_news(1);
        rig.check().await;
    });
}

/// Report 4: the poll's session is over, and sending goes on; where sends are refused too, one of them is tried for all.
#[test]
fn a_session_that_is_over_stops_no_send_that_the_platform_takes_g10() {
    in_virtual_time(async {
        let rig = Rig::start().await;
        rig.say(ALICE, "hello");
        rig.sees(ALICE, 1, 5 * SECOND).await;
        rig.simulator.expire(&rig.bot.bot_id, Expiry::after_failures(1_000)).unwrap();
        sleep(MINUTE).await;
        assert_ne!(rig.state(), AccountState::Ready);
        rig.send(ALICE, "news 1").await;
        rig.sees(ALICE, 2, SECOND).await;
        assert_ne!(rig.state(), AccountState::Ready);

        rig.simulator.heal(&rig.bot.bot_id).unwrap();
        let refused = Expiry { sends_refused: true, ..Expiry::after_failures(1_000) };
        rig.simulator.expire(&rig.bot.bot_id, refused).unwrap();
        for n in 2..=8 {
            rig.send(ALICE, &format!("news {n}")).await;
        }
        sleep(10 * MINUTE).await;
        let most = rig
            .simulator
            .read_ledger(|ledger| ledger.most_calls_within(&rig.bot.bot_id, Endpoint::SendMessage, MINUTE));
        assert!(most <= 6, "{most} sends in a minute");
        rig.simulator.heal(&rig.bot.bot_id).unwrap();
        rig.sees(ALICE, 9, 3 * MINUTE).await;
        sleep(MINUTE).await;
        rig.assert_news(8);
        rig.check().await;
    });
}
