//! An operator is answered whatever the runtime's thread is doing (F-081), and whatever other clients do (F-085).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use moorline_admin::{Admin, admin_child, token};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_store::{DataDir, SqliteOptions, SqliteStore};
use moorline_supervision::{Root, Supervisor};
use moorline_tests::exposition::Exposition;
use moorline_tests::process::pause;
use moorline_tests::world::{Parts, chat_of};
use moorline_tests::{Settings, Setup, World, http};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// For how long the runtime's thread stands still.
const STANDSTILL: Duration = Duration::from_secs(2);

/// What needs no actor.
const VIEWS: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/status",
    "/v1/tree",
    "/v1/doctor",
    "/v1/accounts",
    "/v1/inbox?limit=10",
];

/// F-081: the thread of all actors hangs, and every view is answered meanwhile: nothing in them waits in
/// an actor's mailbox. The numbers say that it hangs.
#[test]
fn every_view_is_answered_while_the_runtimes_thread_stands_still_f081() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let store = Arc::new(SqliteStore::open(&data, SqliteOptions::default()).unwrap());
    let token = token::load_or_create(directory.path()).unwrap();
    let bearer = token.expose().to_owned();
    let listen = moorline_config::Admin { listen: "127.0.0.1:0".parse().unwrap(), allow_remote: false };
    let listener = Admin::bind(&listen).unwrap();
    let address = listener.local_addr();
    let stands_still = Arc::new(AtomicBool::new(false));
    actix_rt::System::new().block_on(async {
        let parts = Parts { store: Some(Arc::clone(&store)), ..Parts::default() };
        let mut world = World::assemble(Setup::default(), parts, |_, _| {}).await;
        let (handle, mut child) = (world.handle.clone(), admin_child(listener, token));
        let seen = handle.clone();
        let mut root =
            Root::start(seen.drills(), Supervisor::spec("operator", move |_| vec![child(&handle)]));
        while !(seen.readiness().is_ok() && seen.heartbeats().contains_key("admin")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let still = Arc::clone(&stands_still);
        let client = std::thread::spawn(move || {
            while !still.load(SeqCst) {
                std::thread::yield_now();
            }
            let (mut answered, mut oldest) = (BTreeMap::new(), 0.0_f64);
            'standing: loop {
                for path in VIEWS {
                    let answer = http::call(address, "GET", path, Some(&bearer), None).unwrap();
                    if !still.load(SeqCst) {
                        break 'standing;
                    }
                    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                    *answered.entry(path).or_insert(0) += 1;
                    if path == "/metrics" {
                        let page = Exposition::parse(&answer.text).unwrap();
                        oldest = oldest.max(page.value("moorline_heartbeat_age_seconds{thread=\"runtime\"}"));
                    }
                }
            }
            (answered, oldest)
        });
        stands_still.store(true, SeqCst);
        pause(STANDSTILL);
        stands_still.store(false, SeqCst);
        let (answered, oldest) = client.join().unwrap();
        println!("answered while the runtime's thread stood still: {answered:?}");
        for path in VIEWS {
            assert!(answered.contains_key(path), "{path}: {answered:?}");
        }
        assert!(oldest > 1.0, "the heartbeat was {oldest} s old at most");
        root.stop().await;
        world.shutdown().await;
    });
    store.close();
}

/// F-085: a gigabyte, JSON without an end to its depth, and connections closed by half, many at a time: refused or
/// ended, in bounded memory, and nobody else notices.
#[test]
fn greedy_clients_cost_nobody_else_anything_f085() {
    const CROWD: usize = 100;
    let simulator = Simulator::new(85);
    let app = simulator.add_app(NewApp::named("Bot"));
    let server = Server::start(&simulator, Options::default()).unwrap();
    let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
    let mut process = settings.start();
    process.ready(10 * SECOND);
    let address = process.address().unwrap();
    let token = fs::read_to_string(settings.data().join("admin.token")).unwrap();
    assert_eq!(process.call("GET", "/v1/status", None).unwrap().status, 200);
    let before = process.resident_kib();
    let post = |length: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(15 * SECOND)).unwrap();
        stream.set_write_timeout(Some(15 * SECOND)).unwrap();
        write!(
            stream,
            "POST /v1/accounts/feishu:a0/messages HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n",
            token.trim()
        )
        .unwrap();
        stream
    };
    let read = |stream: &mut TcpStream| {
        let mut answer = Vec::new();
        // One that was refused while it still wrote may be reset after the answer.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    };

    // A gigabyte is refused by its head, before a byte of it; who sends it all the same is cut off.
    let mut gigabytes: Vec<TcpStream> = (0..CROWD).map(|_| post(1 << 30)).collect();
    let chunk = vec![b' '; 1 << 20];
    let (began, mut taken) = (Instant::now(), 0);
    while gigabytes[0].write_all(&chunk).is_ok() {
        taken += chunk.len();
        assert!(began.elapsed() < 15 * SECOND, "{taken} bytes were taken, and more would be");
    }
    assert!(read(&mut gigabytes[1]).starts_with("HTTP/1.1 413 "));
    // The deepest JSON that a body holds, from everybody at the same time.
    let depth = 60_000;
    let mut deep: Vec<TcpStream> = (0..CROWD)
        .map(|n| {
            let body = if n % 2 == 0 { "[" } else { "{\"to\":" }.repeat(depth);
            let body = &body[..depth];
            let mut stream = post(body.len());
            stream.write_all(body.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &mut deep {
        let answer = read(stream);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Closed by half: in the middle of the head, in the middle of the body, and after a whole request.
    let mut halves: Vec<TcpStream> = (0..CROWD)
        .map(|n| {
            let mut stream = match n % 3 {
                0 => post(100),
                _ => TcpStream::connect(address).unwrap(),
            };
            let head: &[u8] = match n % 3 {
                0 => b"{\"to\":",
                1 => b"GET /v1/status HTTP/1.1\r\nhost: ",
                _ => b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
            };
            stream.write_all(head).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream
        })
        .collect();
    simulator.push(&app.app_id, Push::direct("oc_alice", "ou_alice", "well?")).unwrap();
    process.until("answered meanwhile", 5 * SECOND, |process| {
        process.call("GET", "/v1/status", None).is_some_and(|answer| answer.status == 200)
            && simulator.read_ledger(|ledger| ledger.visible_copies(&chat_of("alice"), "well?")) == 1
    });
    for stream in &mut halves {
        stream.set_read_timeout(Some(15 * SECOND)).unwrap();
        let mut answer = Vec::new();
        // Each of them is ended from the other side; a time-out would be an error of another kind.
        let ended = stream.read_to_end(&mut answer).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
    let grown = process.resident_kib().saturating_sub(before);
    println!("{taken} bytes of a gigabyte were taken; {grown} KiB more");
    assert!(grown < 32 << 10, "{grown} KiB");
    assert_eq!(simulator.counters(&app.app_id).unwrap().opened, 1, "no channel noticed");
    assert!(process.terminate(15 * SECOND).success());
}
