//! Connections that die while nobody uses them.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use http::Method;
use moorline_channel::core::Effect;
use moorline_channel::{HttpRequest, NetworkErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::peer::{BlackHole, get, head, network, run, serve, spawn};

const DEADLINE: Duration = Duration::from_millis(800);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How a server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fin,
    Rst,
}

/// What a server does with the second request of a connection.
#[derive(Clone, Copy, Debug)]
enum Second {
    End(End),
    /// One byte of an answer, and then the end.
    Begin,
    Hang,
}

/// A server of connections that are good for one request. Counts the requests.
async fn once_only(second: Second) -> (SocketAddr, Rc<RefCell<Vec<String>>>) {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let log = requests.clone();
    let answer = move |mut stream: TcpStream| {
        let log = log.clone();
        async move {
            let first = head(&mut stream).await;
            log.borrow_mut().push(first);
            stream.write_all(OK).await.unwrap();
            let next = head(&mut stream).await;
            if next.is_empty() {
                return;
            }
            log.borrow_mut().push(next);
            match second {
                Second::End(End::Fin) => {}
                Second::End(End::Rst) => stream.set_zero_linger().unwrap(),
                Second::Begin => stream.write_all(b"H").await.unwrap(),
                Second::Hang => std::future::pending().await,
            }
        }
    };
    (serve(answer).await, requests)
}

fn post(address: SocketAddr, idempotent: bool) -> HttpRequest {
    let request = get(&format!("http://{address}/"), DEADLINE);
    HttpRequest { method: Method::POST, body: "body".into(), idempotent, ..request }
}

/// A call that may be repeated does not notice; one that may not is never sent twice, and says that it may have taken
/// effect. Once is enough: the connection of the second attempt is a new one.
#[test]
fn only_an_idempotent_call_is_repeated_and_only_once() {
    run(async {
        for end in [End::Fin, End::Rst] {
            for (request, sent) in [
                (Box::new(|at| get(&format!("http://{at}/"), DEADLINE)) as Box<dyn Fn(SocketAddr) -> _>, 3),
                (Box::new(|at| post(at, true)), 3),
                (Box::new(|at| post(at, false)), 2),
            ] {
                let (address, requests) = once_only(Second::End(end)).await;
                let network = network(Vec::new());
                network.http.call(request(address)).await.unwrap();
                let result = network.http.call(request(address)).await;
                assert_eq!(requests.borrow().len(), sent, "{end:?}: {:?}", requests.borrow());
                if sent == 3 {
                    assert_eq!(result.unwrap().body, "ok");
                    let last = requests.borrow().last().cloned().unwrap();
                    assert!(last.contains("connection: close\r\n"), "{last}");
                } else {
                    let error = result.unwrap_err();
                    assert_eq!((error.kind, error.effect()), (NetworkErrorKind::Reset, Effect::Unknown));
                }
            }
        }
    });
}

/// An answer that has begun, and one that does not come, are no signs of a stale connection.
#[test]
fn a_call_is_not_repeated_when_the_peer_was_there() {
    run(async {
        for (second, kind) in
            [(Second::Begin, NetworkErrorKind::Reset), (Second::Hang, NetworkErrorKind::Timeout)]
        {
            let (address, requests) = once_only(second).await;
            let network = network(Vec::new());
            network.http.call(post(address, true)).await.unwrap();
            let error = network.http.call(post(address, true)).await.unwrap_err();
            assert_eq!((error.kind, requests.borrow().len()), (kind, 2), "{second:?}");
        }
    });
}

/// A new connection that is reset is the peer's answer to this call, and no stale one.
#[test]
fn a_call_on_a_new_connection_is_not_repeated() {
    run(async {
        let requests = Rc::new(RefCell::new(0));
        let count = requests.clone();
        let address = serve(move |mut stream| {
            let count = count.clone();
            async move {
                head(&mut stream).await;
                *count.borrow_mut() += 1;
            }
        })
        .await;
        let error = network(Vec::new()).http.call(post(address, true)).await.unwrap_err();
        assert_eq!((error.kind, *requests.borrow()), (NetworkErrorKind::Reset, 1));
    });
}

/// What becomes of a server after its first connection.
#[derive(Clone, Copy, Debug)]
enum Then {
    Gone,
    Silent,
    Unreachable,
}

/// The second attempt has what is left of the deadline; and however it fails, the first one may have taken effect.
#[test]
fn a_second_attempt_that_fails_is_not_certain_of_the_first() {
    run(async {
        for (then, kind, message) in [
            (Then::Gone, NetworkErrorKind::Reset, "and then no connection"),
            (Then::Silent, NetworkErrorKind::Timeout, "answer not complete within 800ms"),
            (Then::Unreachable, NetworkErrorKind::Timeout, "TCP connection not complete within 800ms"),
        ] {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await;
                stream.write_all(OK).await.unwrap();
                head(&mut stream).await;
                let ending = async {
                    tokio::time::sleep(DEADLINE / 8).await;
                    drop(stream);
                    std::future::pending::<()>().await;
                };
                match then {
                    Then::Gone => {
                        drop(listener);
                        ending.await;
                    }
                    Then::Silent => ending.await,
                    Then::Unreachable => {
                        let _hole = BlackHole::behind(listener).await;
                        ending.await;
                    }
                }
            });
            let network = network(Vec::new());
            network.http.call(post(address, true)).await.unwrap();
            let started = Instant::now();
            let error = network.http.call(post(address, true)).await.unwrap_err();
            assert_eq!((error.kind, error.effect()), (kind, Effect::Unknown), "{then:?}: {error}");
            assert!(error.message.contains(message), "{error}");
            let took = started.elapsed();
            assert!(took < DEADLINE + Duration::from_millis(300), "{took:?}");
        }
    });
}

/// The server has ended the connection between two calls, and we have not looked at the network since: nothing shows
/// it before the request is sent.
#[test]
fn a_connection_that_died_between_two_calls_costs_nothing() {
    for end in [End::Fin, End::Rst] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ask, asked) = mpsc::channel::<()>();
        let (ended, ending) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let mut connections = 0;
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                connections += 1;
                let mut request = Vec::new();
                // To close what is not read to its end is to reset it.
                let whole = connections > 1 || end == End::Fin;
                while !request.ends_with(b"body") && (whole || request.is_empty()) {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                stream.write_all(OK).unwrap();
                if connections == 1 {
                    asked.recv().unwrap();
                    drop(stream);
                    ended.send(()).unwrap();
                }
            }
            connections
        });
        run(async {
            let network = network(Vec::new());
            network.http.call(post(address, true)).await.unwrap();
            // Blocks this thread, so that nothing is read while the connection ends.
            ask.send(()).unwrap();
            ending.recv().unwrap();
            assert_eq!(network.http.call(post(address, true)).await.unwrap().body, "ok", "{end:?}");
        });
        assert_eq!(server.join().unwrap(), 2);
    }
}
