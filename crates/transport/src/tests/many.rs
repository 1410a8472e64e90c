use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use moorline_channel::Message;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::peer::{authority, get, head, memory, network, run, serve, upgrade, websocket};

const SOCKETS: usize = 150;
const HUNG: usize = 150;

/// F-098, and the trap of awc's default limit of 100 connections: 150 accounts on one host, all over TLS, while 150
/// calls to the same host hang; neither holds back another call.
#[test]
fn many_sockets_and_hung_calls_on_one_host_do_not_hold_back_a_call() {
    run(async {
        let (root, acceptor) = authority(&[b"h2", b"http/1.1"]);
        let address = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                loop {
                    let head = head(&mut stream).await;
                    if head.contains("upgrade: websocket") {
                        let mut socket = upgrade(stream, &head).await;
                        while let Some(Ok(message)) = socket.next().await {
                            let _ = socket.send(message).await;
                        }
                        return;
                    }
                    if head.is_empty() || head.starts_with("GET /hang") {
                        return std::future::pending().await;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        })
        .await;
        let network = network(vec![root]);
        let host = format!("localhost:{}", address.port());

        let (before, started) = (memory("VmRSS:"), Instant::now());
        let opening = (0..SOCKETS).map(|number| {
            let mut request = websocket(&format!("wss://{host}/{number}"));
            request.deadline = Duration::from_secs(10);
            network.websocket.open(request)
        });
        let mut sockets: Vec<_> = join_all(opening).await.into_iter().map(Result::unwrap).collect();
        let opened = started.elapsed();
        let grown = memory("VmRSS:").saturating_sub(before) / SOCKETS as u64;

        let deadline = Duration::from_secs(5);
        let mut hung = Box::pin(join_all(
            (0..HUNG).map(|_| network.http.call(get(&format!("https://{host}/hang"), deadline))),
        ));
        let waiting = tokio::time::timeout(Duration::from_secs(1), &mut hung).await;
        assert!(waiting.is_err(), "they hang");

        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            let call = network.http.call(get(&format!("https://{host}/"), Duration::from_secs(2)));
            assert_eq!(call.await.unwrap().body, "ok");
            slowest = slowest.max(started.elapsed());
        }
        let started = Instant::now();
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::Text(number.to_string())).await.unwrap();
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Text(number.to_string()));
        }
        #[allow(clippy::disallowed_macros, reason = "the numbers are the result")]
        let () = println!(
            "{SOCKETS} wss opened in {opened:?} ({grown} KiB each, both ends), echoed in {:?}; slowest of 20 calls beside {HUNG} hung ones: {slowest:?}",
            started.elapsed()
        );
    });
}
