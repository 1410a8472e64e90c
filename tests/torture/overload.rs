//! Far more comes than the agent takes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use moorline_core::ChatId;
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Push, Redelivery};
use moorline_simulator::server::{Options, Server};
use moorline_tests::process::{Process, pause};
use moorline_tests::{Settings, world::chat_of};

const SECOND: Duration = Duration::from_secs(1);

/// How many messages, and in how many conversations.
const MESSAGES: usize = 100_000;
const CHATS: usize = 1_000;

/// How many come at a time, so that the platform waits for each within its patience.
const AT_ONCE: usize = 500;

fn count(process: &Process, name: &str) -> u64 {
    process.get("/v1/accounts/feishu:a0")["counts"][name].as_u64().unwrap_or_default()
}

/// How much memory may grow while messages wait (F-042),
const WAITING_KIB: u64 = 64 << 10;
/// and until they are answered: the store's four connections may fill page caches of 16 MiB each.
const DRAINED_KIB: u64 = 128 << 10;

/// F-042: 100,000 messages while the agent stands still. All are acknowledged, memory stays bounded, the backlog is
/// shown; when the agent goes on they are answered in order, each once.
#[test]
fn a_hundred_thousand_messages_wait_in_the_store_while_the_agent_hangs_f042() {
    let simulator = Simulator::new(42);
    simulator.set_rates(None);
    simulator.set_redelivery(Redelivery { ladder: vec![15 * SECOND; 8], ..Redelivery::default() });
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    // Long enough for everything to come; a turn may take ten minutes.
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "540s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    pause(SECOND);
    let before = process.resident_kib();

    let mut pushed = Vec::new();
    let mut slowest = Duration::ZERO;
    for batch in 0..MESSAGES / AT_ONCE {
        for n in batch * AT_ONCE..(batch + 1) * AT_ONCE {
            let user = format!("u{}", n % CHATS);
            let push = Push::direct(chat_of(&user).as_str(), user, (n / CHATS).to_string());
            pushed.push(simulator.push(&app.app_id, push).unwrap().event_id);
        }
        let acked = |_: &Process| {
            let first = pushed.len() - AT_ONCE;
            simulator.read_ledger(|l| pushed[first..].iter().all(|id| l.event(id).unwrap().is_acked()))
        };
        slowest = slowest.max(process.until("acknowledged", 60 * SECOND, acked));
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert_eq!(count(&process, "pending"), MESSAGES as u64);
    println!("{MESSAGES} acknowledged, {AT_ONCE} within {slowest:?} at worst; grown by {grown} KiB");
    assert!(grown <= WAITING_KIB, "{grown} KiB");

    let file = fs::read_to_string(settings.file()).unwrap();
    fs::write(settings.file(), file.replace("delay = \"540s\"", "delay = \"0s\"")).unwrap();
    let took = process.until("drained", 1_800 * SECOND, |p| {
        pause(5 * SECOND);
        count(p, "answered") == MESSAGES as u64 && count(p, "outbox") == 0
    });
    let grown = process.resident_kib().saturating_sub(before);
    println!("drained within {took:?} of the agent's going on; grown by {grown} KiB");
    assert!(grown <= DRAINED_KIB, "{grown} KiB");

    let mut seen: BTreeMap<ChatId, Vec<String>> = BTreeMap::new();
    simulator.read_ledger(|ledger| {
        for message in ledger.visible() {
            seen.entry(message.chat.clone()).or_default().push(message.text.clone());
        }
    });
    let expected: Vec<String> = (0..MESSAGES / CHATS).map(|n| n.to_string()).collect();
    assert_eq!(seen.len(), CHATS);
    for (chat, texts) in seen {
        assert_eq!(texts, expected, "{chat}");
    }
    assert!(process.terminate(15 * SECOND).success());
}
