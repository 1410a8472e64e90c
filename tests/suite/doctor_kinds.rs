//! Every kind of finding that the code has is provoked here, by what would provoke it, and shown; the list is the
//! code's own. A healthy system has none, with everything there is to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moorline_channel::{Factory, Output};
use moorline_config::{Config, DirectPolicy, GroupPolicy};
use moorline_core::{
    Chat, ChatId, ChatKind, ConversationId, DedupeKey, Epoch, EventId, Generation, IdempotencyKey, InboxId,
    MessageId, Monotonic, Outbound, OutboxId, Route, UserId,
};
use moorline_feishu::Feishu;
use moorline_runtime::{AddJob, ConfigFile, Disk, Exposed, FindingKind, JobKind, MissedPolicy};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, Cut, Fault, NewApp, Times};
use moorline_simulator::server::Server;
use moorline_store::{
    Claim, Fault as StoreFault, Lease, NewMessage, NewReply, Op, SendResult, SqliteStore, Store, Tx, Verdict,
};
use moorline_supervision::Fault as Drill;
use moorline_tests::disguise::Disguise;
use moorline_tests::model::{AGENT, Behaviour};
use moorline_tests::outside::ALERTS;
use moorline_tests::sim::store::{Mood, Moody};
use moorline_tests::world::Parts;
use moorline_tests::{Settings, Setup, World, in_virtual_time};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Kinds = BTreeSet<FindingKind>;

/// What the doctor finds; each finding says what to do and where to read more.
async fn kinds(world: &World) -> Kinds {
    let report = world.handle.doctor().await.unwrap();
    for finding in &report.findings {
        assert_eq!(finding.page, format!("docs/doctor.md#{}", finding.kind.as_str()));
        assert!(
            !finding.what.is_empty() && !finding.why.is_empty() && !finding.what_to_do.is_empty(),
            "{finding:?}"
        );
    }
    report.findings.into_iter().map(|finding| finding.kind).collect()
}

fn set(world: &World, n: usize, fault: Fault) {
    world.simulator.set_fault(world.app(n), fault, Times::UntilCleared).unwrap();
}

fn refused(status: u16, code: i64) -> Answer {
    Answer::Code { status, code }
}

async fn ready(setup: Setup) -> World {
    let world = World::start(setup).await;
    world.settled().await;
    assert_eq!(kinds(&world).await, Kinds::new(), "before anything is wrong");
    world
}

/// Panics an actor until it is given a rest.
async fn wear_out(world: &World, path: &str) {
    for _ in 0..6 {
        world.until("it lives", 30 * SECOND, |world| world.handle.drills().inject(path, Drill::Panic)).await;
        sleep(SECOND / 10).await;
    }
}

async fn the_platform() -> Kinds {
    let world = ready(Setup { accounts: 6, ..Setup::default() }).await;
    set(&world, 0, Fault::Hold);
    set(&world, 1, Fault::Endpoint(refused(200, 1_000_040_345)));
    set(&world, 2, Fault::Token(Answer::Status(500)));
    set(&world, 3, Fault::Endpoint(refused(200, 1_000_049_999)));
    set(&world, 4, Fault::MissingScopes(vec!["im:message".to_owned(), "im:message:send_as_bot".to_owned()]));
    set(&world, 5, Fault::Send(refused(400, 230_001)));
    for n in [1, 3] {
        world.simulator.drop_connections(world.app(n), &Cut::Reset).unwrap();
    }
    world.simulator.revoke_tokens(world.app(2)).unwrap();
    for n in [2, 4, 5] {
        world.say(n, "alice", "hello");
    }
    sleep(15 * MINUTE).await;
    let report = world.handle.doctor().await.unwrap();
    let scopes = report.findings.iter().find(|finding| finding.kind == FindingKind::MissingScopes).unwrap();
    assert!(scopes.what_to_do.contains("im:message, im:message:send_as_bot"), "{scopes:?}");
    kinds(&world).await
}

async fn who_we_are() -> Kinds {
    let unknown = World::prepare(Setup { accounts: 1, ..Setup::default() }, |simulator, apps| {
        let fault = Fault::BotInfo(Answer::Status(500));
        simulator.set_fault(&apps[0].app_id, fault, Times::UntilCleared).unwrap();
    })
    .await;
    unknown.all_ready(5 * SECOND).await;
    sleep(MINUTE).await;
    let mut found = kinds(&unknown).await;
    let mut world = ready(Setup { accounts: 1, ..Setup::default() }).await;
    set(&world, 0, Fault::BotInfo(Answer::Status(500)));
    world.crash().await;
    world.boot().await;
    world.all_ready(5 * SECOND).await;
    sleep(MINUTE).await;
    found.extend(kinds(&world).await);
    found
}

async fn who_may_write() -> Kinds {
    let mut world = ready(Setup { accounts: 4, ..Setup::default() }).await;
    world.say(3, "alice", "hello");
    world.until("answered", SECOND, |world| world.copies("alice", "hello") == 1).await;
    let change = |config: &mut Config| {
        config.accounts[0].access.direct = DirectPolicy::Allowlist;
        (config.accounts[1].access.direct, config.accounts[1].access.group) =
            (DirectPolicy::Deny, GroupPolicy::Deny);
        config.accounts[2].access.direct = DirectPolicy::Allowlist;
        config.accounts[2].access.users = vec![UserId::new("ou_friend")];
        drop(config.accounts.pop());
    };
    world.reload(change).await.unwrap();
    for n in 0..3 {
        world.say(2, "stranger", &format!("hello {n}"));
    }
    sleep(SECOND).await;
    let mut found = kinds(&world).await;
    world.reload(|config| config.accounts.clear()).await.unwrap();
    found.extend(kinds(&world).await);
    found
}

async fn agents() -> Kinds {
    let world = ready(Setup { tables: AGENT, ..Setup::default() }).await;
    world.model().set(Behaviour::Status(401, None));
    for n in 0..3 {
        world.say(0, "alice", &format!("anybody {n}?"));
        sleep(MINUTE).await;
    }
    let mut found = kinds(&world).await;
    world.model().set(Behaviour::Refuse);
    world.say(0, "alice", "and now?");
    sleep(MINUTE).await;
    found.extend(kinds(&world).await);

    // Its own time is half of the turns', and counts.
    let world = ready(Setup { tables: AGENT, ..Setup::default() }).await;
    world.model().set(Behaviour::Hang);
    world.say(1, "alice", "think");
    sleep(2 * MINUTE).await;
    assert_eq!(kinds(&world).await, Kinds::new(), "it may think");
    sleep(MINUTE).await;
    let report = world.handle.doctor().await.unwrap();
    assert!(report.findings[0].why.contains("feishu:a1~oc_alice"), "{report:?}");
    found.extend(kinds(&world).await);
    found
}

async fn jobs() -> Kinds {
    let world = ready(Setup { accounts: 1, tables: AGENT, ..Setup::default() }).await;
    world.model().set(Behaviour::Status(401, None));
    let job = AddJob {
        name: None,
        account: world.id(0),
        to: ChatId::new("oc_alice"),
        schedule: "* * * * *".to_owned(),
        zone: "UTC".to_owned(),
        kind: JobKind::Prompt,
        body: "what is new?".to_owned(),
        missed: MissedPolicy::Once,
        max_delay: 60 * MINUTE,
        key: None,
    };
    world.handle.add_job(job).await.unwrap();
    sleep(2 * MINUTE).await;
    let mut found = kinds(&world).await;
    sleep(8 * MINUTE).await;
    found.extend(kinds(&world).await);
    found
}

async fn given_up() -> Kinds {
    let world = ready(Setup { agent_delay: "5s", ..Setup::default() }).await;
    let alice = ConversationId::new("oc_alice");
    let poison = async |text: &str| {
        world.say(0, "alice", text);
        for _ in 0..3 {
            world.until("the turn runs", 30 * SECOND, |w| w.handle.board().turns() == 1).await;
            let tree = world.handle.tree();
            let path = tree.into_iter().find(|node| node.path.contains("oc_alice")).unwrap().path;
            assert!(world.handle.drills().inject(&path, Drill::Panic));
            world.until("it is down", SECOND, |w| w.handle.board().turns() == 0).await;
        }
        sleep(20 * SECOND).await;
    };
    poison("one").await;
    let found = kinds(&world).await;
    world.handle.resume_session(&world.id(0), &alice).await.unwrap();
    sleep(20 * SECOND).await;
    assert_eq!(kinds(&world).await, Kinds::new(), "answered after all");
    sleep(2 * MINUTE).await;
    poison("two").await;
    assert_eq!(kinds(&world).await, found);
    world.handle.reset_session(&world.id(0), &alice).await.unwrap();
    assert_eq!(kinds(&world).await, Kinds::new(), "begun anew");
    found
}

/// Rows that nobody was told of, as after a hint that was lost.
async fn forgotten() -> Kinds {
    let world = ready(Setup { accounts: 1, ..Setup::default() }).await;
    let chat = ChatId::new("oc_alice");
    let (conversation, route) =
        (ConversationId::new("oc_alice"), Route { chat: chat.clone(), reply_to: None, in_thread: false });
    let message = NewMessage {
        event_id: EventId::new("e1"),
        dedupe: vec![DedupeKey::new("e1")],
        conversation: conversation.clone(),
        chat: Chat { id: chat, kind: ChatKind::Direct },
        message_id: Some(MessageId::new("om_1")),
        route: route.clone(),
        text: "hello".to_owned(),
        context: String::new(),
        written_at: None,
        reply_token: None,
        raw: Bytes::new(),
        verdict: Verdict::Allow,
    };
    let reply = NewReply {
        conversation,
        outbound: Outbound { route, text: "hello".to_owned() },
        key: IdempotencyKey::new("k1"),
    };
    let lease = Lease { account: world.id(0), epoch: Epoch::new(1) };
    let ops = [Op::Receive { message }, Op::Enqueue { parts: vec![reply] }];
    world.store.commit(Tx::under(&lease, world.handle.now(), ops)).await.unwrap();
    sleep(MINUTE).await;
    assert_eq!(kinds(&world).await, Kinds::new(), "a minute is nothing");
    sleep(2 * MINUTE).await;
    let found = kinds(&world).await;
    // And one that its platform takes only when its user has written.
    let (outbox, claim) = (OutboxId::new(1), Claim { epoch: Epoch::new(1), generation: Generation::FIRST });
    let result = SendResult::Held { heard: InboxId::new(i64::MAX), error: "the window is closed".to_owned() };
    let ops =
        [Op::ClaimSend { outbox, claim, possibly_repeated: false }, Op::SettleSend { outbox, claim, result }];
    world.store.commit(Tx::under(&lease, world.handle.now(), ops)).await.unwrap();
    let held = kinds(&world).await;
    assert_eq!(&held - &found, Kinds::from([FindingKind::RepliesHeld]));
    &found | &held
}

async fn the_store() -> Kinds {
    let world = ready(Setup { accounts: 1, ..Setup::default() }).await;
    world.store.inject(StoreFault::Full(true));
    world.say(0, "alice", "hello");
    sleep(SECOND).await;
    let mut found = kinds(&world).await;
    world.store.inject(StoreFault::Full(false));
    world.store.inject(StoreFault::FailSync);
    world.say(0, "alice", "hello again");
    sleep(SECOND).await;
    found.extend(kinds(&world).await);
    found
}

async fn the_file() -> Kinds {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("moorline.toml");
    fs::write(&path, "one").unwrap();
    let wanted = Arc::new(Mutex::new(None::<Config>));
    let load = {
        let wanted = Arc::clone(&wanted);
        move || {
            let config = wanted.lock().clone().ok_or_else(|| vec!["it is wrong".to_owned()])?;
            let accounts = config.accounts.iter();
            let plans = accounts.map(|a| (a.id.clone(), Feishu.parse(&a.settings).unwrap())).collect();
            Ok((config, plans))
        }
    };
    let store = Arc::new(SqliteStore::inline(None).unwrap());
    let moody = Moody::new(Arc::clone(&store), Duration::ZERO);
    let front = Arc::new(moody.clone()) as Arc<dyn Store>;
    let file = Some(ConfigFile { path: path.clone(), load: Arc::new(load) });
    let parts = Parts { front: Some(front), store: Some(store), file, ..Parts::default() };
    let mut world = World::assemble(Setup { accounts: 1, ..Setup::default() }, parts, |_, _| {}).await;
    world.settled().await;
    sleep(5 * SECOND).await;
    let mut found = kinds(&world).await;
    let mut config = world.config();
    world.add_account(&mut config);
    *wanted.lock() = Some(config);
    moody.set(Mood::Full);
    fs::write(&path, "another").unwrap();
    sleep(5 * SECOND).await;
    let failed = kinds(&world).await;
    assert!(!failed.contains(&FindingKind::ConfigInvalid), "it is right: {failed:?}");
    found.extend(failed);
    found
}

async fn the_machine() -> Kinds {
    let world = ready(Setup { accounts: 20, ..Setup::default() }).await;
    world.clock.step(90_000);
    world.outside().machine(|facts| {
        facts.disk = Some(Disk { path: "data".into(), free: 99 << 20, total: 1 << 40 });
        facts.exposed.push(Exposed { what: "data has mode 0755".into(), command: "chmod 700 data".into() });
        facts.warnings.push("moorline.toml: it is odd (ML0117)".into());
        facts.open_files = Some(64);
    });
    let found = kinds(&world).await;
    world.clock.step(-90_000);
    assert!(!kinds(&world).await.contains(&FindingKind::ClockSkew), "set right");
    world.clock.step(400_000);
    sleep(SECOND).await;
    assert!(!kinds(&world).await.contains(&FindingKind::Silent), "a step is no silence (F-089)");
    found
}

async fn worn_out_actors() -> Kinds {
    let world = ready(Setup::default()).await;
    wear_out(&world, "runtime/accounts/feishu:a0/connection").await;
    wear_out(&world, "runtime/accounts/feishu:a1/outbox").await;
    sleep(SECOND).await;
    let mut found = kinds(&world).await;
    // Only a defect brings silence about, such as a clock that leaps although nobody can set it.
    let world = ready(Setup::default()).await;
    world.clock.leap(6 * MINUTE);
    found.extend(kinds(&world).await);
    found
}

async fn alerts() -> Kinds {
    let world = ready(Setup { tables: ALERTS, ..Setup::default() }).await;
    world.outside().webhook(Some(500));
    set(&world, 0, Fault::Hold);
    sleep(10 * MINUTE).await;
    kinds(&world).await
}

async fn what_may_be_missing() -> Kinds {
    let disguise = Disguise::noncommittal();
    let world = ready(Setup { accounts: 1, disguise: disguise.clone(), ..Setup::default() }).await;
    disguise.say(Output::Suspect(Some("ten minutes of empty answers".to_owned())));
    sleep(MINUTE).await;
    let mut found = kinds(&world).await;
    assert_eq!(found, Kinds::from([FindingKind::Suspect]));
    disguise.say(Output::Suspect(None));
    sleep(MINUTE).await;
    assert_eq!(kinds(&world).await, Kinds::new(), "it was nothing");
    disguise.say(Output::Suspect(Some("again".to_owned())));
    sleep(MINUTE).await;
    world.simulator.drop_connections(world.app(0), &Cut::Reset).unwrap();
    sleep(MINUTE).await;
    assert_eq!(kinds(&world).await, Kinds::new(), "nothing is known of another connection");
    disguise.say(Output::Gap { since: Monotonic::default(), why: "an answer was cut off".to_owned() });
    sleep(MINUTE).await;
    found.extend(kinds(&world).await);
    found
}

/// What only `doctor --offline` finds, by the binary.
fn offline() -> Kinds {
    let simulator = Simulator::new(11);
    let apps = [simulator.add_app(NewApp::named("Bot"))];
    let server = Server::start(&simulator, moorline_simulator::server::Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let names: BTreeMap<&str, FindingKind> =
        FindingKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let look = |code: i32| {
        let (exit, text) = settings.command(&["--json", "doctor", "--offline"]);
        assert_eq!(exit, Some(code), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        let kinds = report["findings"].as_array().unwrap().iter();
        (kinds.map(|finding| names[finding["kind"].as_str().unwrap()]).collect::<Kinds>(), report)
    };
    let (mut found, _) = look(1);
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let (running, report) = look(0);
    assert_eq!((running, &report["running"]), (Kinds::new(), &Value::Bool(true)), "beside a process");
    process.kill();
    found.extend(look(1).0);
    assert!(settings.start().terminate_when_ready(15 * SECOND).success());
    assert_eq!(look(0).0, Kinds::new(), "ended in order");
    fs::set_permissions(settings.data().join("admin.token"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(look(1).0, Kinds::from([FindingKind::FileExposed]), "F-096");
    fs::remove_file(settings.data().join("moorline.db-wal")).ok();
    fs::write(settings.data().join("moorline.db"), "this is no database, and never was one").unwrap();
    found.extend(look(1).0);
    found
}

/// The same of logins by a person.
fn saved_logins() -> Kinds {
    let settings = Settings::of_tables(
        "[agents.default]\nkind = \"echo\"\n[channels.weixin.accounts.a]\n[channels.weixin.accounts.b]\n",
    );
    let logins = settings.data().join("logins");
    fs::create_dir_all(&logins).unwrap();
    for name in ["b", "gone"] {
        fs::write(logins.join(format!("weixin.{name}.json")), "{").unwrap();
    }
    let (_, text) = settings.command(&["--json", "doctor", "--offline"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let found: BTreeSet<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|finding| finding["kind"].as_str())
        .collect();
    FindingKind::ALL.iter().copied().filter(|kind| found.contains(kind.as_str())).collect()
}

#[test]
fn every_kind_of_finding_in_the_code_is_provoked_and_shown_f101() {
    let mut found = Kinds::new();
    found.extend(in_virtual_time(the_platform()));
    found.extend(in_virtual_time(who_we_are()));
    found.extend(in_virtual_time(who_may_write()));
    found.extend(in_virtual_time(agents()));
    found.extend(in_virtual_time(jobs()));
    found.extend(in_virtual_time(given_up()));
    found.extend(in_virtual_time(forgotten()));
    found.extend(in_virtual_time(the_store()));
    found.extend(in_virtual_time(the_file()));
    found.extend(in_virtual_time(the_machine()));
    found.extend(in_virtual_time(worn_out_actors()));
    found.extend(in_virtual_time(alerts()));
    found.extend(in_virtual_time(what_may_be_missing()));
    found.extend(offline());
    found.extend(saved_logins());
    let missing: Vec<&FindingKind> = FindingKind::ALL.iter().filter(|kind| !found.contains(kind)).collect();
    assert!(missing.is_empty(), "never provoked: {missing:?}");
}

/// A section for each kind, in the order of the code, and none of a kind that there is not.
#[test]
fn every_kind_of_finding_has_its_section() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
    let page = fs::read_to_string(page).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let heads: BTreeSet<&str> = sections.iter().filter_map(|section| section.lines().next()).collect();
    let kinds: BTreeSet<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(heads, kinds);
    assert_eq!(sections.len(), heads.len(), "a section is there twice");
    assert!(sections.iter().all(|section| section.len() > 100), "a section says nothing");
    for kind in FindingKind::ALL {
        assert_eq!(kind.page(), format!("docs/doctor.md#{}", kind.as_str()));
    }
}
