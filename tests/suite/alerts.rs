//! An operator is told of lasting trouble once, and once that it is over; of blips never (F-103).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use moorline_runtime::FindingKind;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{Answer, Cut, Fault, NewApp, Times};
use moorline_simulator::server::Server;
use moorline_tests::outside::ALERTS;
use moorline_tests::{Logs, Settings, Setup, World, in_virtual_time};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(180);

async fn world() -> World {
    let world = World::start(Setup { tables: ALERTS, ..Setup::default() }).await;
    world.settled().await;
    world.outside().machine(|facts| facts.host = Some("host1".to_owned()));
    world
}

/// The accounts' platform is not there for so long.
async fn outage(world: &World, accounts: std::ops::Range<usize>, span: Duration) {
    for n in accounts.clone() {
        let gone = Fault::Endpoint(Answer::Status(503));
        world.simulator.set_fault(world.app(n), gone, Times::UntilCleared).unwrap();
        world.simulator.drop_connections(world.app(n), &Cut::Reset).unwrap();
    }
    sleep(span).await;
    for n in accounts {
        world.simulator.clear_faults(world.app(n)).unwrap();
        world.handle.probe(&world.id(n)).await.unwrap();
    }
    world.all_ready(SECOND).await;
}

fn kinds(posted: &[(Instant, Value)]) -> Vec<(&str, u64)> {
    posted.iter().map(|(_, body)| (body["kind"].as_str().unwrap(), body["count"].as_u64().unwrap())).collect()
}

#[test]
fn a_blip_is_not_told_and_an_outage_is_one_alert_and_one_all_clear_f103() {
    in_virtual_time(async {
        let logs = Logs::collect();
        let world = world().await;
        for _ in 0..20 {
            outage(&world, 0..3, GRACE - 20 * SECOND).await;
            sleep(120 * SECOND).await;
        }
        assert_eq!(world.outside().posted().len(), 0, "{:?}", world.outside().posted());
        assert!(logs.take("\"actor\":\"alerts\"").is_empty());

        let began = Instant::now();
        outage(&world, 0..3, 1_000 * SECOND).await;
        sleep(300 * SECOND).await;
        let posted = world.outside().posted();
        assert_eq!(kinds(&posted), [("alert", 3), ("all_clear", 3)], "several at a time are one message");
        let after = posted[0].0 - began;
        assert!(after >= GRACE && after <= GRACE + 10 * SECOND, "{after:?}");
        let (alert, over) = (&posted[0].1, &posted[1].1);
        assert_eq!(
            (alert["host"].as_str(), alert["findings"][0]["kind"].as_str()),
            (Some("host1"), Some("not_ready"))
        );
        assert!(alert["text"].as_str().unwrap().contains("feishu:a2 receives nothing"), "{alert}");
        let lasted = over["findings"][0]["lasted_ms"].as_u64().unwrap();
        assert!(lasted.abs_diff(1_000_000) <= 5_000, "{lasted}");
        assert!(over["text"].as_str().unwrap().contains("over after 16 min"), "{over}");
        let told = logs.take("\"actor\":\"alerts\"");
        let told: Vec<_> =
            told.iter().map(|line| (line["level"].as_str(), line["message"].as_str())).collect();
        assert_eq!(
            told.iter().map(|line| line.0).collect::<Vec<_>>(),
            [Some("WARN"), Some("INFO")],
            "{told:?}"
        );
        assert!(told[0].1.unwrap().starts_with("alert: "), "{told:?}");
        assert!(told[1].1.unwrap().starts_with("all clear: "), "{told:?}");
        assert!(!format!("{posted:?}").contains("secret-of-a"), "F-090");
        world.check().await;
    });
}

#[test]
fn what_needs_an_operator_is_told_at_once_and_an_account_that_flaps_once_f103() {
    in_virtual_time(async {
        let world = world().await;
        let wrong = Fault::Endpoint(Answer::Code { status: 200, code: 1_000_040_345 });
        world.simulator.set_fault(world.app(1), wrong, Times::UntilCleared).unwrap();
        world.simulator.drop_connections(world.app(1), &Cut::Reset).unwrap();
        world
            .until("blocked", 10 * SECOND, |w| w.status(1).state == moorline_core::AccountState::Blocked)
            .await;
        sleep(5 * SECOND).await;
        assert_eq!(kinds(&world.outside().posted()), [("alert", 1)]);
        // It is tried every ten minutes: no news.
        sleep(3_600 * SECOND).await;
        world.simulator.clear_faults(world.app(1)).unwrap();
        world.handle.probe(&world.id(1)).await.unwrap();
        sleep(120 * SECOND).await;
        assert_eq!(kinds(&world.outside().posted()), [("alert", 1), ("all_clear", 1)]);
        for _ in 0..60 {
            outage(&world, 0..1, 50 * SECOND).await;
            sleep(10 * SECOND).await;
        }
        sleep(120 * SECOND).await;
        assert_eq!(kinds(&world.outside().posted())[2..], [("alert", 1), ("all_clear", 1)]);
        world.check().await;
    });
}

#[test]
fn a_webhook_that_refuses_is_a_finding_and_is_told_later_and_nothing_twice_over_a_restart_f103() {
    in_virtual_time(async {
        let mut world = world().await;
        world.outside().webhook(Some(500));
        let hold = |world: &World| {
            world.simulator.set_fault(world.app(0), Fault::Hold, Times::UntilCleared).unwrap();
        };
        hold(&world);
        sleep(GRACE + 600 * SECOND).await;
        let refused = world.outside().refused();
        assert!((8..=40).contains(&refused), "with growing pauses: {refused}");
        let report = world.handle.doctor().await.unwrap();
        assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::AlertFailed), "{report:?}");
        assert!(!format!("{report:?}").contains("token-of-the-webhook"), "F-090");
        world.say(1, "alice", "hello");
        world.until("answered meanwhile", SECOND, |w| w.copies("alice", "hello") == 1).await;
        world.outside().webhook(None);
        sleep(70 * SECOND).await;
        assert_eq!(kinds(&world.outside().posted()), [("alert", 1)]);
        let report = world.handle.doctor().await.unwrap();
        assert!(report.findings.iter().all(|finding| finding.kind != FindingKind::AlertFailed), "{report:?}");
        // Neither a crash of the process nor one of the actor tells it again.
        world.crash().await;
        world.boot().await;
        sleep(600 * SECOND).await;
        let drill = moorline_supervision::Fault::Panic;
        assert!(world.handle.drills().inject("runtime/alerts", drill));
        sleep(600 * SECOND).await;
        assert_eq!(kinds(&world.outside().posted()), [("alert", 1)]);
        world.crash().await;
        world.simulator.clear_faults(world.app(0)).unwrap();
        world.boot().await;
        sleep(120 * SECOND).await;
        let posted = world.outside().posted();
        assert_eq!(kinds(&posted), [("alert", 1), ("all_clear", 1)], "over while nobody was there to see it");
        assert!(posted[1].1["findings"][0]["lasted_ms"].as_u64() > Some(1_900_000), "{posted:?}");
    });
}

/// Over real sockets, by the binary, as Feishu's custom bots take it.
#[test]
fn the_binary_posts_to_a_webhook_f103() {
    let simulator = Simulator::new(17);
    let apps = [simulator.add_app(NewApp::named("Bot"))];
    let server = Server::start(&simulator, moorline_simulator::server::Options::default()).unwrap();
    let settings = Settings::new(server.address(), &apps, "0s");
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(settings.file()).unwrap();
    let alerts = format!(
        "[alerts]\nwebhook = \"http://{}/hook/token-of-the-webhook\"\nbody = \"feishu\"\nafter = \"1s\"\n",
        hook.local_addr().unwrap()
    );
    std::fs::write(settings.file(), format!("{text}{alerts}")).unwrap();
    simulator.set_fault(&apps[0].app_id, Fault::Endpoint(Answer::Status(503)), Times::UntilCleared).unwrap();
    let process = settings.start();
    hook.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let mut stream = loop {
        match hook.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(began.elapsed() < 30 * SECOND, "{}", process.log_tail()),
        }
        moorline_tests::process::pause(SECOND / 50);
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(5 * SECOND)).unwrap();
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"\"text\"}") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request is cut");
        request.extend_from_slice(&piece[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"code\":0}").unwrap();
    let request = String::from_utf8(request).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook/token-of-the-webhook HTTP/1.1"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["msg_type"], "text");
    assert!(body["content"]["text"].as_str().unwrap().contains("feishu:a0 receives nothing"), "{body}");
    assert!(process.terminate(15 * SECOND).success());
    let log = std::fs::read_to_string(settings.log()).unwrap();
    assert!(log.contains("alert: feishu:a0") && !log.contains("token-of-the-webhook"), "{log}");
}
