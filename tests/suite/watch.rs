//! What a watcher is told by the runtime in virtual time ([`trouble`]: when something goes wrong), and by the binary on its
//! standard output ([`command`]).

mod command;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use moorline_core::{AccountId, AccountState, IdentityState};
use moorline_runtime::supervision::Fault as Drill;
use moorline_runtime::{AccountStatus, Event, EventScope, Missed, Subscription, TokenState, What};
use moorline_simulator::feishu::{Answer, Cut, Fault, Times};
use moorline_tests::{Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

/// What is known of one account from a snapshot and the events after it.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    state: AccountState,
    generation: u64,
    attempt: u32,
    cause: Option<String>,
    identity: (IdentityState, Option<String>),
    token: TokenState,
}

impl Known {
    fn of(status: &AccountStatus) -> Self {
        Self {
            state: status.state,
            generation: status.generation.get(),
            attempt: status.attempt,
            cause: status.cause.as_ref().map(|cause| cause.message.clone()),
            identity: (status.identity.state, status.identity.id.as_ref().map(ToString::to_string)),
            token: status.token.as_ref().map_or(TokenState::Unused, |token| token.state),
        }
    }
}

/// Somebody who watches: keeps what it was told, and never looks anywhere else.
struct Watcher {
    accounts: BTreeMap<AccountId, Known>,
    last: u64,
    seen: Vec<Event>,
    subscription: Subscription,
}

impl Watcher {
    fn begin(world: &World) -> Self {
        let scope = EventScope { messages: true, account: None };
        let (retained, subscription) = world.handle.events(&scope);
        let accounts =
            retained.accounts.iter().map(|status| (status.id.clone(), Known::of(status))).collect();
        Self { accounts, last: retained.seq, seen: Vec::new(), subscription }
    }

    /// Takes what was told until now.
    fn hear(&mut self) {
        while let Some(event) = self.subscription.next().now_or_never() {
            let event = event.unwrap();
            assert_eq!(event.seq, self.last + 1, "nothing is lost, and nothing told twice");
            self.last = event.seq;
            self.learn(&event.what);
            self.seen.push((*event).clone());
        }
    }

    fn learn(&mut self, what: &What) {
        match what {
            What::AccountAdded { account } => {
                let known = Known {
                    state: AccountState::Connecting,
                    generation: 0,
                    attempt: 0,
                    cause: None,
                    identity: (IdentityState::Unknown, None),
                    token: TokenState::Unused,
                };
                assert_eq!(self.accounts.insert(account.clone(), known), None);
            }
            What::AccountRemoved { account } => assert!(self.accounts.remove(account).is_some()),
            What::Account { account, from, to, generation, cause, attempt, .. } => {
                let known = self.accounts.get_mut(account).unwrap();
                assert_eq!(known.state, *from, "{account} was told to be something else: {what:?}");
                known.state = *to;
                known.generation = generation.get();
                known.attempt = *attempt;
                known.cause = cause.as_ref().map(|cause| cause.message.clone());
            }
            What::Identity { account, from, to, id, .. } => {
                let known = self.accounts.get_mut(account).unwrap();
                assert_eq!(known.identity.0, *from);
                known.identity = (*to, id.as_ref().map(ToString::to_string));
            }
            What::Token { account, from, to, .. } => {
                let known = self.accounts.get_mut(account).unwrap();
                assert_eq!(known.token, *from);
                known.token = *to;
            }
            _ => {}
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.seen.iter().map(|event| event.what.kind()).collect()
    }
}

fn agree(world: &World, watchers: &mut [Watcher]) {
    let truth: BTreeMap<AccountId, Known> =
        world.handle.board().accounts().iter().map(|status| (status.id.clone(), Known::of(status))).collect();
    for watcher in watchers {
        watcher.hear();
        assert_eq!(watcher.accounts, truth);
    }
}

/// Whatever happens to accounts: who begins to watch at whatever moment knows from then on what `status` shows, from
/// nothing but the snapshot and the events.
#[test]
fn a_snapshot_and_the_events_after_it_are_the_status_at_every_moment_f103() {
    in_virtual_time(async {
        let mut world = World::start(Setup { accounts: 3, ..Setup::default() }).await;
        let mut watchers = vec![Watcher::begin(&world)];
        world.settled().await;
        let random = fastrand::Rng::with_seed(5);
        let mut random = random;
        for round in 0..120_u32 {
            let n = random.usize(0..3);
            let (id, app) = (world.id(n), world.app(n).clone());
            match random.u32(0..10) {
                0 => drop(world.simulator.drop_connections(&app, &Cut::Reset)),
                1 => world
                    .simulator
                    .set_fault(&app, Fault::Endpoint(Answer::Status(500)), Times::UntilCleared)
                    .unwrap(),
                2 => {
                    let refused = Answer::Code { status: 200, code: 1_000_040_345 };
                    world.simulator.set_fault(&app, Fault::Endpoint(refused), Times::UntilCleared).unwrap();
                    drop(world.simulator.drop_connections(&app, &Cut::Reset));
                }
                3 => world.simulator.clear_faults(&app).unwrap(),
                4 => {
                    let actor = ["connection", "identity", "credentials", "outbox"][random.usize(0..4)];
                    world.handle.drills().inject(&format!("runtime/accounts/{id}/{actor}"), Drill::Panic);
                }
                5 => drop(world.handle.stop(&id).await),
                6 => drop(world.handle.start(&id).await),
                7 => drop(world.handle.restart(&id).await),
                8 => {
                    world.simulator.revoke_tokens(&app).unwrap();
                    world.say(n, "alice", &format!("hello {round}"));
                }
                _ => drop(world.handle.probe(&id).await),
            }
            if round == 60 {
                world.reload(|config| drop(config.accounts.pop())).await.unwrap();
                let mut config = world.config();
                world.add_account(&mut config);
                agree(&world, &mut watchers);
                world.begin_reload(config).await.unwrap();
            }
            agree(&world, &mut watchers);
            tokio::time::sleep(Duration::from_millis(random.u64(1..4_000))).await;
            agree(&world, &mut watchers);
            if round % 20 == 0 {
                watchers.push(Watcher::begin(&world));
            }
        }
        let kinds: BTreeSet<_> = watchers[0].kinds().into_iter().collect();
        for kind in [
            "account",
            "account_added",
            "identity",
            "token",
            "actor_exited",
            "actor_restarting",
            "actor_started",
        ] {
            assert!(kinds.contains(kind), "{kind} never happened: {kinds:?}");
        }
    });
}

#[test]
fn an_outage_is_told_with_its_cause_its_attempts_and_its_end_f103() {
    in_virtual_time(async {
        let world = World::start(Setup { accounts: 1, ..Setup::default() }).await;
        world.settled().await;
        let mut watcher = Watcher::begin(&world);
        let down = Fault::Endpoint(Answer::Status(500));
        world.simulator.set_fault(world.app(0), down, Times::UntilCleared).unwrap();
        world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
        tokio::time::sleep(20 * SECOND).await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.all_ready(61 * SECOND).await;
        watcher.hear();
        let told: Vec<_> = watcher.seen.iter().filter(|event| event.what.kind() == "account").collect();
        let (first, last) = (told.first().unwrap(), told.last().unwrap());
        let What::Account { from, to, cause, next_attempt_at, attempt, .. } = &first.what else { panic!() };
        assert_eq!((from, to, attempt), (&AccountState::Ready, &AccountState::Reconnecting, &1));
        assert!(cause.is_some() && next_attempt_at.is_some_and(|next| next > first.at));
        let What::Account { to, cause, after_ms, attempts, .. } = &last.what else { panic!() };
        assert_eq!((to, cause), (&AccountState::Ready, &None));
        assert_eq!(after_ms.unwrap(), u64::try_from(last.at.since(first.at).as_millis()).unwrap());
        // One event for each failure, and none for an attempt that was announced.
        assert_eq!(usize::try_from(attempts.unwrap()).unwrap(), told.len() - 1, "{told:#?}");
    });
}

#[test]
fn a_message_is_told_from_receipt_to_reply_to_those_who_asked_and_to_nobody_else() {
    in_virtual_time(async {
        let world = World::start(Setup::default()).await;
        world.settled().await;
        let scope = |account| EventScope { messages: true, account };
        let mut all = Watcher::begin(&world);
        let (_, mut calm) = world.handle.events(&EventScope::default());
        let (retained, mut other) = world.handle.events(&scope(Some(world.id(1))));
        assert_eq!(retained.accounts.iter().map(|status| &status.id).collect::<Vec<_>>(), [&world.id(1)]);
        world.say(0, "alice", "hello");
        world.until("answered", SECOND, |w| w.copies("alice", "hello") == 1).await;
        tokio::time::sleep(SECOND).await;
        all.hear();
        let expected = ["message_received", "turn_started", "token", "turn_finished", "message_sent"];
        let kinds: BTreeSet<_> = all.kinds().into_iter().collect();
        assert_eq!(kinds.difference(&BTreeSet::from(expected)).count(), 0, "{kinds:?}");
        let order: Vec<_> = all.kinds().into_iter().filter(|kind| *kind != "token").collect();
        assert_eq!(order, ["message_received", "turn_started", "turn_finished", "message_sent"]);
        assert!(!format!("{:?}", all.seen).contains("hello"), "what people write is nobody's business");
        while let Some(event) = calm.next().now_or_never() {
            assert_eq!(event.unwrap().what.kind(), "token");
        }
        assert!(other.next().now_or_never().is_none());
    });
}

/// G12: who does not listen holds up nobody and holds no more than the ring.
#[test]
fn a_watcher_that_does_not_listen_loses_events_and_is_told_how_many_g12() {
    in_virtual_time(async {
        let world = World::start(Setup { accounts: 1, ..Setup::default() }).await;
        world.settled().await;
        let mut watcher = Watcher::begin(&world);
        for n in 0..400 {
            world.say(0, "alice", &format!("hello {n}"));
        }
        world.until("answered", 3_600 * SECOND, |w| w.copies("alice", "hello 399") == 1).await;
        let Err(Missed::Lagged(missed)) = watcher.subscription.next().await else {
            panic!("nothing was lost")
        };
        let next = watcher.subscription.next().await.unwrap();
        assert_eq!(next.seq, watcher.last + missed + 1);
        world.check().await;
    });
}

/// The table of events in the documentation, compared with the kinds that the code can tell.
#[test]
fn every_kind_of_event_is_in_the_documentation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("\n## Watching\n").nth(1).expect("a section").split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: Vec<&str> = rows.collect();
    assert_eq!(documented, What::KINDS);
}
