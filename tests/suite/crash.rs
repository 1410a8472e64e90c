//! The binary is killed and started again: nothing acknowledged is lost, nothing is answered twice.

use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{App, Fault, NewApp, Push, Redelivery, Times};
use moorline_simulator::server::Server;
use moorline_tests::Settings;
use moorline_tests::process::pause;
use moorline_tests::world::chat_of;

const SECOND: Duration = Duration::from_secs(1);

/// A platform on real sockets with this many apps.
fn platform(apps: usize) -> (Simulator, Server, Vec<App>) {
    let simulator = Simulator::new(11);
    let apps = (0..apps).map(|n| simulator.add_app(NewApp::named(format!("Bot {n}")))).collect();
    let server = Server::start(&simulator, moorline_simulator::server::Options::default()).unwrap();
    (simulator, server, apps)
}

fn copies(simulator: &Simulator, chat: &ChatId, text: &str) -> usize {
    simulator.read_ledger(|ledger| ledger.visible_copies(chat, text))
}

#[test]
fn sigkill_during_a_5_s_turn_with_the_channel_down_for_a_minute_afterwards_g9_f064() {
    let (simulator, server, apps) = platform(2);
    let settings = Settings::new(server.address(), &apps, "5s");
    let mut first = settings.start();
    first.ready(10 * SECOND);
    let push = Push::direct("oc_alice", "ou_alice", "do not forget me");
    simulator.push(&apps[0].app_id, push).unwrap();
    first.until("the turn runs", 2 * SECOND, |p| p.get("/v1/status")["turns"]["running"] == 1);
    pause(SECOND);
    first.kill();

    simulator.set_fault(&apps[0].app_id, Fault::Hold, Times::UntilCleared).unwrap();
    let mut second = settings.start();
    second.until("the other account ready", 5 * SECOND, |p| {
        p.get("/v1/accounts/feishu:a1")["state"] == "ready"
    });
    for _ in 0..60 {
        pause(SECOND);
        assert_eq!(second.get("/v1/status")["turns"]["running"], 0, "resumed before ChannelReady");
    }
    assert_eq!(copies(&simulator, &chat_of("alice"), "do not forget me"), 0);
    simulator.clear_faults(&apps[0].app_id).unwrap();
    second.ready(61 * SECOND);
    let took = second
        .until("answered", 7 * SECOND, |_| copies(&simulator, &chat_of("alice"), "do not forget me") == 1);
    println!("answered {took:?} after ChannelReady, 5 s of it the agent's");
    pause(5 * SECOND);
    assert_eq!(copies(&simulator, &chat_of("alice"), "do not forget me"), 1);
    assert!(second.terminate(15 * SECOND).success());
}

#[test]
fn sigkill_again_and_again_under_load_loses_nothing_and_doubles_nothing_g1_g2_f028() {
    let (simulator, server, apps) = platform(3);
    simulator.set_redelivery(Redelivery {
        ack_budget: SECOND,
        ladder: vec![SECOND; 60],
        ..Redelivery::default()
    });
    let settings = Settings::new(server.address(), &apps, "20ms");
    let mut texts = Vec::new();
    for round in 0..12_u64 {
        let mut process = settings.start();
        process.until("listening", 10 * SECOND, |p| p.address().is_some());
        for n in 0..25 {
            let (app, user) = (&apps[n % 3].app_id, format!("u{}", n % 5));
            let text = format!("round {round} message {n}");
            let chat = format!("oc_{user}");
            simulator.push(app, Push::direct(chat, format!("ou_{user}"), text.as_str())).unwrap();
            texts.push((chat_of(&user), text));
            pause(Duration::from_millis(4));
        }
        // Each round dies at another moment of the messages' way.
        pause(Duration::from_millis(round * 13));
        process.kill();
    }
    let mut last = settings.start();
    last.ready(10 * SECOND);
    last.until("every message answered", 60 * SECOND, |_| {
        texts.iter().all(|(chat, text)| copies(&simulator, chat, text) >= 1)
    });
    pause(2 * SECOND);
    for (chat, text) in &texts {
        assert_eq!(copies(&simulator, chat, text), 1, "{text}");
    }
    let status = last.get("/v1/status");
    for account in status["accounts"].as_array().unwrap() {
        let counts = &account["counts"];
        assert_eq!(
            (&counts["pending"], &counts["outbox"], &counts["dead"]),
            (&0.into(), &0.into(), &0.into())
        );
        assert_eq!(counts["received"], counts["answered"], "{account}");
    }
    assert!(last.terminate(15 * SECOND).success());
}

#[test]
fn a_second_process_on_the_same_data_directory_refuses_within_a_second_f043_f070() {
    let (_simulator, server, apps) = platform(1);
    let settings = Settings::new(server.address(), &apps, "0s");
    let mut first = settings.start();
    first.ready(10 * SECOND);
    let began = tokio::time::Instant::now();
    let (code, output) = settings.command(&["run"]);
    assert_eq!(code, Some(75), "{output}");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert!(output.contains(&first.pid().to_string()), "{output}");
    first.kill();
    let mut next = settings.start();
    next.ready(10 * SECOND);
    assert!(next.terminate(15 * SECOND).success());
}

#[test]
fn what_an_operator_types_is_answered() {
    let (simulator, server, apps) = platform(2);
    let settings = Settings::new(server.address(), &apps, "0s");
    assert_eq!(settings.command(&["status"]).0, Some(69), "nothing runs yet");
    assert_eq!(settings.command(&["no-such-command"]).0, Some(64));
    assert_eq!(settings.command(&["check"]).0, Some(0));
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let (code, status) = settings.command(&["status"]);
    assert_eq!(code, Some(0), "{status}");
    assert!(status.contains("feishu:a0") && status.contains("ready"), "{status}");
    let (code, status) = settings.command(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, status["ready"].as_bool()), (Some(0), Some(true)));
    let (code, tree) = settings.command(&["tree"]);
    assert!(code == Some(0) && tree.contains("connection"), "{tree}");

    assert_eq!(settings.command(&["account", "stop", "feishu:a1"]).0, Some(0));
    let (code, list) = settings.command(&["account", "list"]);
    assert!(code == Some(0) && list.contains("stopped"), "{list}");
    assert_eq!(simulator.counters(&apps[1].app_id).unwrap().open, 0);
    assert_eq!(settings.command(&["account", "start", "feishu:a1"]).0, Some(0));
    process.ready(10 * SECOND);
    assert_eq!(settings.command(&["account", "restart", "feishu:a0"]).0, Some(0));
    process.ready(10 * SECOND);
    assert_eq!(settings.command(&["account", "probe", "feishu:a0"]).0, Some(0));
    assert_eq!(settings.command(&["account", "show", "feishu:nobody"]).0, Some(64));

    simulator.add_chat(&apps[0].app_id, chat_of("alice"), moorline_simulator::feishu::ChatType::P2p).unwrap();
    let send = ["send", "feishu:a0", "oc_alice", "by hand", "--idempotency-key", "k1"];
    for _ in 0..3 {
        assert_eq!(settings.command(&send).0, Some(0));
    }
    process.until("sent", 5 * SECOND, |_| copies(&simulator, &chat_of("alice"), "by hand") == 1);
    assert_eq!(settings.command(&["shutdown"]).0, Some(0));
    assert!(process.exit(15 * SECOND).success());
    assert_eq!(copies(&simulator, &chat_of("alice"), "by hand"), 1);
}
