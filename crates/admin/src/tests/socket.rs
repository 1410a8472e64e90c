//! The actor and its server over a real socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::web::Data;
use moorline_core::{Clock, Monotonic, Secret, Timestamp};
use moorline_runtime::supervision::{ExitReason, Fault, Root, Supervisor, Tree};

use super::TOKEN;
use super::fake::Fake;
use crate::listener::Listener;
use crate::operator::Operator;
use crate::server::{Admin, spec};

/// A clock that stands still: only the tree's times of day come from it.
pub(super) struct Still;

impl Clock for Still {
    fn now(&self) -> Monotonic {
        Monotonic::default()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::default()
    }
}

fn bind(listen: &str) -> std::io::Result<Listener> {
    Admin::bind(&moorline_config::Admin { listen: listen.parse().unwrap(), allow_remote: false })
}

/// Runs `client` on a thread of its own against an endpoint with a tree around it; stops it all when it returns.
pub(super) fn serve<T: Send + 'static>(
    fake: &Arc<Fake>,
    client: impl FnOnce(SocketAddr, Tree) -> T + Send + 'static,
) -> T {
    let listener = Arc::new(bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr();
    let operator = Data::from(Arc::clone(fake) as Arc<dyn Operator>);
    actix_rt::System::new().block_on(async move {
        let tree = Tree::new(Arc::new(Still), 7);
        let seen = tree.clone();
        let token = Secret::new(TOKEN);
        let children = move |_: &_| vec![spec(&listener, &token, operator.clone())];
        let mut root = Root::start(&tree, Supervisor::spec("runtime", children));
        let (done, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || drop(done.send(client(address, seen))));
        let outcome = ended.await;
        tokio::time::timeout(Duration::from_secs(4), root.stop()).await.expect("it stops");
        let last_exit =
            tree.snapshot().into_iter().find(|node| node.path == "runtime/admin").unwrap().last_exit;
        assert_eq!(last_exit.unwrap().reason, ExitReason::Shutdown);
        thread.join().unwrap();
        outcome.unwrap()
    })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends and reads until the other side closes.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status_request(token: &str) -> String {
    format!(
        "GET /v1/status HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
}

#[test]
fn a_port_in_use_is_found_before_anything_starts() {
    let first = bind("127.0.0.1:0").unwrap();
    let address = first.local_addr();
    let error = bind(&address.to_string()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn it_serves_and_comes_back_on_the_same_socket_after_a_panic() {
    serve(&Arc::default(), |address, tree| {
        assert!(exchange(address, &status_request(TOKEN)).starts_with("HTTP/1.1 200 "));
        assert!(exchange(address, &status_request("wrong")).starts_with("HTTP/1.1 401 "));
        assert!(tree.inject("runtime/admin", Fault::Panic));
        // F-080: who comes while it is down waits, and is answered by the next life.
        let next = loop {
            let mut stream = connect(address);
            stream.write_all(status_request(TOKEN).as_bytes()).unwrap();
            let mut answer = String::new();
            // The server of the life that ends may still have taken the connection.
            if stream.read_to_string(&mut answer).is_ok() && answer.contains("x-request-id: 2-") {
                break answer;
            }
        };
        assert!(next.starts_with("HTTP/1.1 200 "), "{next}");
        for _ in 0..20 {
            let answer = exchange(address, &status_request(TOKEN));
            assert!(answer.contains("x-request-id: 2-"), "the first life's server is gone: {answer}");
        }
        let node = tree.snapshot().into_iter().find(|node| node.path == "runtime/admin").unwrap();
        assert_eq!(node.restarts, 1);
    });
}

#[test]
fn a_panic_in_a_handler_is_answered_and_costs_nobody_else_anything() {
    let fake = Arc::new(Fake { panics: true, ..Fake::default() });
    serve(&fake, |address, tree| {
        for round in 0..5 {
            let answer = exchange(address, &status_request(TOKEN).replace("/v1/status", "/v1/tree"));
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(answer.contains("\"code\":\"internal_error\""), "{answer}");
            assert!(!answer.contains("drill"), "what panicked is for the log only: {answer}");
            assert!(answer.contains(&format!("x-request-id: 1-{}\r\n", 2 * round + 1)), "{answer}");
            assert!(answer.contains("cache-control: no-store"), "{answer}");
            assert!(exchange(address, &status_request(TOKEN)).starts_with("HTTP/1.1 200 "));
        }
        let node = tree.snapshot().into_iter().find(|node| node.path == "runtime/admin").unwrap();
        assert_eq!(node.restarts, 0, "the server's life went on");
    });
}

#[test]
fn slow_and_broken_clients_are_ended_and_nobody_else_notices() {
    serve(&Arc::default(), |address, _| {
        // F-085: heads that never end, beside one body that does not arrive.
        let mut slow: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect();
        for stream in &mut slow {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ").unwrap();
        }
        let body = std::thread::spawn(move || {
            let head = format!(
                "POST /v1/shutdown HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n\
                 content-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
            );
            exchange(address, &head)
        });
        assert!(exchange(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        drop(connect(address));
        assert!(exchange(address, &status_request(TOKEN)).starts_with("HTTP/1.1 200 "));
        let answer = body.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
        for mut stream in slow {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    });
}

#[test]
fn a_body_without_an_end_is_not_read_for_ever() {
    serve(&Arc::default(), |address, _| {
        // F-085; whoever sends it, and wherever to.
        for (line, token, status) in
            [("POST /v1/shutdown", TOKEN, 411), ("GET /healthz", "none", 411), ("POST /v1/x", "none", 401)]
        {
            let head = format!(
                "{line} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            );
            let mut stream = connect(address);
            stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
            let chunk = [b"10000\r\n".to_vec(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
            // The end comes after a time, not after a number of bytes: over loopback that may be gigabytes.
            let began = tokio::time::Instant::now();
            let ended = loop {
                if let Err(error) = stream.write_all(&chunk) {
                    break error.kind();
                }
                assert!(began.elapsed() < Duration::from_secs(10), "still being read after 10 s");
            };
            assert!(matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended:?}");
        }
        assert!(exchange(address, &status_request(TOKEN)).starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_runtime_that_does_not_answer_is_told_from_one_that_is_gone() {
    let hanging = Arc::new(Fake { delay: Duration::from_secs(3600), ..Fake::default() });
    serve(&hanging, |address, _| {
        let request = status_request(TOKEN).replace("/v1/status", "/v1/accounts/feishu:main");
        let answer = exchange(address, &request);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("no_answer"), "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
    });
}

#[test]
fn a_request_under_way_is_answered_before_the_endpoint_goes() {
    // F-080
    let slow = Arc::new(Fake { delay: Duration::from_millis(300), ..Fake::default() });
    let asked = Arc::clone(&slow);
    let mut stream = serve(&slow, move |address, _| {
        let mut stream = connect(address);
        let request = status_request(TOKEN).replace("/v1/status", "/v1/accounts/feishu:main");
        stream.write_all(request.as_bytes()).unwrap();
        while asked.asked.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        stream
    });
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
