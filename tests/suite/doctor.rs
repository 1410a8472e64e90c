//! The doctor says what is wrong, since when and what to do; and what a message was dropped for can be seen.

use std::time::Duration;

use moorline_config::{DirectPolicy, GroupPolicy};
use moorline_core::UserId;
use moorline_runtime::FindingKind;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, Fault, NewApp, Push, Times};
use moorline_simulator::server::Server;
use moorline_store::Store;
use moorline_tests::{Logs, Settings, Setup, World, in_virtual_time};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_account_that_is_gone_leaves_rows_and_a_finding_f055() {
    in_virtual_time(async {
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        world.say(2, "alice", "hello");
        world.until("answered", SECOND, |w| w.copies("alice", "hello") == 1).await;
        world.reload(|config| drop(config.accounts.pop())).await.unwrap();
        let report = world.handle.doctor().await.unwrap();
        let found: Vec<_> = report.findings.iter().map(|f| (f.account.clone().unwrap(), f.kind)).collect();
        assert_eq!(found, [(world.id(2), FindingKind::Orphaned)]);
        world.check().await;
    });
}

/// What the doctor has found, each as its account's number and its kind.
async fn findings(world: &World) -> Vec<(usize, FindingKind)> {
    let report = world.handle.doctor().await.unwrap();
    assert_eq!(report.healthy, report.findings.is_empty());
    assert_eq!(report.accounts.len(), world.apps.len());
    let number = |id| (0..world.apps.len()).find(|&n| world.id(n) == id).unwrap();
    report.findings.into_iter().map(|finding| (number(finding.account.unwrap()), finding.kind)).collect()
}

#[test]
fn a_healthy_day_has_no_findings_and_each_trouble_has_its_own_f101() {
    in_virtual_time(async {
        let world = World::start(Setup { accounts: 5, ..Setup::default() }).await;
        let early: Vec<FindingKind> = findings(&world).await.into_iter().map(|(_, kind)| kind).collect();
        assert!(early.contains(&FindingKind::NotReady), "{early:?}");
        world.settled().await;
        for _ in 0..24 {
            world.say(0, "alice", "hello");
            tokio::time::sleep(3_600 * SECOND).await;
            assert_eq!(findings(&world).await, []);
        }
        let refused = |code| Answer::Code { status: 200, code };
        let set = |n, fault| world.simulator.set_fault(world.app(n), fault, Times::UntilCleared).unwrap();
        set(0, Fault::Hold);
        set(1, Fault::Endpoint(refused(1_000_040_345)));
        world.simulator.drop_connections(world.app(1), &moorline_simulator::feishu::Cut::Reset).unwrap();
        set(2, Fault::Token(Answer::Status(500)));
        world.simulator.revoke_tokens(world.app(2)).unwrap();
        world.say(2, "bob", "are you there?");
        set(3, Fault::Endpoint(refused(1_000_049_999)));
        world.simulator.drop_connections(world.app(3), &moorline_simulator::feishu::Cut::Reset).unwrap();
        tokio::time::sleep(900 * SECOND).await;
        let found = findings(&world).await;
        assert_eq!(
            found,
            [
                (0, FindingKind::NotReady),
                (1, FindingKind::Blocked),
                (2, FindingKind::NoToken),
                (2, FindingKind::SendsWait),
                (3, FindingKind::NotReady),
                (3, FindingKind::UnknownCode),
            ]
        );
        for n in 0..4 {
            world.simulator.clear_faults(world.app(n)).unwrap();
        }
        world.handle.probe(&world.id(1)).await.unwrap();
        world.all_ready(61 * SECOND).await;
        tokio::time::sleep(61 * SECOND).await;
        assert_eq!(findings(&world).await, []);
        world.check().await;
    });
}

/// A bot whose allowlist was empty dropped every message for four weeks, and its status page was green.
#[test]
fn a_policy_that_drops_everything_is_told_with_the_ids_and_the_setting_f092_f102() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let mut world = World::start(Setup::default()).await;
        world.settled().await;
        world
            .reload(|config| {
                config.accounts[0].access.direct = DirectPolicy::Allowlist;
                config.accounts[1].access.direct = DirectPolicy::Allowlist;
                config.accounts[1].access.users = vec![UserId::new("ou_friend")];
                config.accounts[2].access.group = GroupPolicy::Deny;
                config.accounts[2].access.direct = DirectPolicy::Deny;
            })
            .await
            .unwrap();
        let kinds = findings(&world).await;
        assert_eq!(
            kinds,
            [(0, FindingKind::EmptyAllowlist), (2, FindingKind::AdmitsNobody)],
            "from the configuration alone"
        );
        drop(logs.take(""));
        for n in 0..400 {
            world.say(1, "stranger", &format!("hello {n}"));
            if n % 20 == 0 {
                world.say(1, "another", &format!("hello {n}"));
            }
        }
        tokio::time::sleep(5 * SECOND).await;
        assert!(findings(&world).await.contains(&(1, FindingKind::EverythingDropped)));
        let counts = world.handle.account(&world.id(1)).await.unwrap().counts;
        assert_eq!(counts.dropped.get("user_not_allowed"), Some(&420));
        let told = logs.take("message dropped");
        assert_eq!(told.len(), 2, "one for each chat and reason: {told:?}");
        let line = told.iter().find(|line| line["chat"] == "oc_stranger").unwrap();
        assert_eq!((&line["level"], &line["reason"]), (&"WARN".into(), &"user_not_allowed".into()));
        let message = line["message"].as_str().unwrap();
        let key = "channels.feishu.accounts.a1.access.users";
        assert!(message.contains(key) && message.contains("stranger"), "{message}");
        tokio::time::sleep(600 * SECOND).await;
        let summed = logs.take("since the last such line");
        assert_eq!(summed.len(), 1, "{summed:?}");
        assert!(summed[0]["message"].as_str().unwrap().contains("user_not_allowed 418"));
        // One who may ends the row.
        let push = Push::direct("oc_friend", "ou_friend", "hello");
        world.simulator.push(world.app(1), push).unwrap();
        tokio::time::sleep(SECOND).await;
        assert!(!findings(&world).await.contains(&(1, FindingKind::EverythingDropped)));
        world.check().await;
    });
}

/// Replies waited for a permission that was missing, and turns failed one after the other, and nothing was wrong.
#[test]
fn what_cannot_be_sent_and_what_an_agent_never_answers_are_findings_f101_f047() {
    in_virtual_time(async {
        let tables = moorline_tests::model::AGENT;
        let world = World::start(Setup { tables, ..Setup::default() }).await;
        world.settled().await;
        let kinds = async |world: &World| {
            let report = world.handle.doctor().await.unwrap();
            report.findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
        };
        let missing = Fault::Send(Answer::Code { status: 400, code: 230_027 });
        world.simulator.set_fault(world.app(0), missing, Times::UntilCleared).unwrap();
        world.say(0, "alice", "hello");
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(kinds(&world).await, [FindingKind::MissingScopes, FindingKind::SendsWait]);
        world.simulator.clear_faults(world.app(0)).unwrap();
        let row = world.store.outbox_heads(&world.id(0), 1).await.unwrap()[0].id;
        world.handle.retry_send(row).await.unwrap();
        world.until("sent", SECOND, |w| w.copies("alice", "hello") == 1).await;
        assert_eq!(kinds(&world).await, []);

        world.model().set(moorline_tests::model::Behaviour::Status(401, None));
        for n in 0..3 {
            world.say(0, "alice", &format!("anybody {n}?"));
            tokio::time::sleep(60 * SECOND).await;
        }
        assert_eq!(kinds(&world).await, [FindingKind::AgentFailing]);
        world.model().set(moorline_tests::model::Behaviour::Echo(Duration::ZERO));
        world.say(0, "alice", "and now?");
        world.until("answered", SECOND, |w| w.copies("alice", "and now?") == 1).await;
        assert_eq!(kinds(&world).await, []);
    });
}

#[test]
fn the_doctors_exit_code_says_whether_anything_is_wrong_f101() {
    let simulator = Simulator::new(3);
    let apps: Vec<_> = (0..2).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, moorline_simulator::server::Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let (code, text) = settings.command(&["doctor"]);
    assert_eq!(code, Some(69), "nothing runs yet");
    assert!(text.contains("moorline doctor --offline"), "{text}");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    process.until("the doctor is content", 5 * SECOND, |p| p.get("/v1/doctor")["healthy"] == true);
    let (code, text) = settings.command(&["doctor"]);
    assert!(code == Some(0) && text.contains("nothing is wrong"), "{text}");
    assert!(text.contains("feishu:a0: ready for") && text.contains("identity verified"), "{text}");
    assert!(text.contains("token valid, fetched ") && text.contains(", expires in "), "{text}");
    // Wherever an account is typed its channel may be left out, and numbers may have their prefix.
    for list in ["outbox", "inbox", "session"] {
        assert_eq!(settings.command(&[list, "list", "--account", "a0"]).0, Some(0), "{list}");
        assert_eq!(settings.command(&[list, "list", "--account", "nobody"]).0, Some(64), "{list}");
    }
    let (code, text) = settings.command(&["outbox", "show", "out:33"]);
    assert!(code == Some(64) && text.contains("404"), "{text}");
    assert_eq!(settings.command(&["outbox", "show", "in:33"]).0, Some(64));
    simulator.set_fault(&apps[1].app_id, Fault::Hold, Times::UntilCleared).unwrap();
    process.until("it is not", 5 * SECOND, |p| p.get("/v1/doctor")["healthy"] == false);
    let (code, text) = settings.command(&["doctor"]);
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "error: feishu:a1 receives nothing",
        "since: ",
        "why: ",
        "do: ",
        "moorline account probe feishu:a1",
        "more:  docs/doctor.md#not_ready",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, json) = settings.command(&["--json", "doctor"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, report["findings"][0]["kind"].as_str()), (Some(1), Some("not_ready")));
    assert!(process.terminate(15 * SECOND).success());
}
