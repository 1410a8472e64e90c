use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use moorline_channel::{BoxSocket, Close, HandshakeError, Message, NetworkErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;

use super::peer::{CANARY, authority, head, network, run, serve, serve_sockets, spawn, upgrade, websocket};

const SOON: Duration = Duration::from_secs(2);

async fn open(url: &str) -> BoxSocket {
    network(Vec::new()).websocket.open(websocket(url)).await.unwrap()
}

/// Everything a server's bytes come out as, up to the end of the stream.
async fn received(bytes: Vec<u8>) -> Vec<Result<Message, NetworkErrorKind>> {
    let address = serve_sockets(move |mut socket| {
        let bytes = bytes.clone();
        async move {
            let _ = socket.get_mut().write_all(&bytes).await;
            let _ = socket.get_mut().read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let socket = open(&format!("ws://{address}/?{CANARY}")).await;
    let all = socket.map(|item| {
        item.map_err(|error| {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(&address.to_string()) && !shown.contains(CANARY), "{shown}");
            error.kind
        })
    });
    timeout(SOON, all.collect()).await.unwrap()
}

/// An h2-capable server and an authority of our own; the address arrives unchanged, and our headers with it.
#[test]
fn wss_works_with_a_server_that_prefers_h2() {
    run(async {
        let (root, acceptor) = authority(&[b"h2", b"http/1.1"]);
        let seen = Rc::new(RefCell::new(String::new()));
        let log = seen.clone();
        let address = serve(move |stream| {
            let (acceptor, log) = (acceptor.clone(), log.clone());
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                let head = head(&mut stream).await;
                log.replace(head.clone());
                let mut socket = upgrade(stream, &head).await;
                let Some(Ok(message)) = socket.next().await else { return };
                socket.send(message).await.unwrap();
            }
        })
        .await;
        let target = "/ws?a={|}^`[]~!$&()*+,;=:@/?%25&ticket=a%2Bb+c";
        let mut request = websocket(&format!("wss://localhost:{}{target}", address.port()));
        request.headers.insert("x-ours", HeaderValue::from_static("yes"));
        let mut socket = network(vec![root]).websocket.open(request).await.unwrap();
        socket.send(Message::Text("hé".to_owned())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Text("hé".to_owned()));
        let head = seen.borrow();
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("x-ours: yes\r\n") && head.contains("user-agent: moorline/"), "{head}");
        assert!(head.contains(&format!("host: localhost:{}\r\n", address.port())), "{head}");
        // permessage-deflate is not offered: a frame that claims it is refused (codec.rs).
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
    });
}

/// Whatever the status, and without waiting for a body; nobody is followed anywhere. Values are bytes, not text.
#[test]
fn a_refused_handshake_shows_status_and_headers() {
    run(async {
        for (said, status, name, value) in [
            (
                &b"200 OK\r\nhandshake-status: 514\r\nhandshake-msg: \xe5\xbf\x99\r\ncontent-length: 0"[..],
                200,
                "handshake-msg",
                "\u{5fd9}".as_bytes(),
            ),
            (b"403 No\r\nhandshake-status: 403\r\ncontent-length: 99", 403, "handshake-status", b"403"),
            (b"503 No\r\nretry-after: 7\r\ntransfer-encoding: chunked", 503, "retry-after", b"7"),
            (b"400 \xff\xfe\r\nx-raw: \xff\x80 \xfe", 400, "x-raw", b"\xff\x80 \xfe"),
            (
                b"302 Found\r\nlocation: ws://127.0.0.1:1/\r\ncontent-length: 0",
                302,
                "location",
                b"ws://127.0.0.1:1/",
            ),
        ] {
            let address = serve(move |mut stream| async move {
                head(&mut stream).await;
                stream.write_all(&[b"HTTP/1.1 ", said, b"\r\n\r\n"].concat()).await.unwrap();
                std::future::pending().await
            })
            .await;
            let result = network(Vec::new()).websocket.open(websocket(&format!("ws://{address}/"))).await;
            let Err(HandshakeError::Refused { status: seen, headers }) = result else {
                panic!("{status}: {:?}", result.err())
            };
            assert_eq!((seen.as_u16(), headers[name].as_bytes()), (status, value));
        }
    });
}

/// Messages beyond awc's limit of 64 KiB for a frame, both ways, in one frame each; up to ours, exactly.
#[test]
fn large_messages_are_taken_and_sent() {
    run(async {
        let address = serve_sockets(|mut socket| async move {
            while let Some(Ok(message)) = socket.next().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        for length in [65_535, 65_536, 65_537, 200_000, 1 << 20] {
            let message = Message::Binary(Bytes::from(vec![7; length]));
            socket.send(message.clone()).await.unwrap();
            let received = timeout(SOON, socket.next()).await.unwrap().unwrap();
            assert_eq!(received.unwrap(), message);
        }
        socket.send(Message::Binary(Bytes::from(vec![7; (1 << 20) + 1]))).await.unwrap();
        let error = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind, NetworkErrorKind::TooLarge);
    });
}

/// F-027: silence at the upgrade, before and within the answer, ends by the deadline; nonsense ends at once.
#[test]
fn a_handshake_without_an_answer_ends() {
    run(async {
        for (said, kind) in [
            ("", NetworkErrorKind::Timeout),
            ("HTTP/1.1 101 Swit", NetworkErrorKind::Timeout),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", NetworkErrorKind::Protocol),
            ("hello\r\n\r\n", NetworkErrorKind::Protocol),
        ] {
            let address = serve(move |mut stream| async move {
                head(&mut stream).await;
                stream.write_all(said.as_bytes()).await.unwrap();
                std::future::pending().await
            })
            .await;
            let mut request = websocket(&format!("ws://{address}/?{CANARY}"));
            request.deadline = Duration::from_millis(200);
            let started = Instant::now();
            let result = network(Vec::new()).websocket.open(request).await;
            let Err(HandshakeError::Network(error)) = result else { panic!("{said:?}: no error") };
            assert_eq!(error.kind, kind, "{error}");
            assert!(started.elapsed() < Duration::from_secs(1));
            assert!(!format!("{error:?}").contains(CANARY));
        }
    });
}

#[test]
fn fragments_pings_and_the_close_come_out_whole_and_then_nothing() {
    run(async {
        let bytes = b"\x01\x03abc\x89\x01p\x80\x03def\x82\x01\x07\x88\x04\x0f\xa9go\x81\x01x";
        let expected = vec![
            Ok(Message::Ping(Bytes::from_static(b"p"))),
            Ok(Message::Text("abcdef".to_owned())),
            Ok(Message::Binary(Bytes::from_static(&[7]))),
            Ok(Message::Close(Some(Close { code: 4009, reason: "go".to_owned() }))),
        ];
        assert_eq!(received(bytes.to_vec()).await, expected);
        assert_eq!(received(b"\x81\x02\xff\xff\x81\x01x".to_vec()).await, [Err(NetworkErrorKind::Protocol)]);
        let endless =
            [&b"\x02\x7f\x00\x00\x00\x00\x00\x0f\xff\xff"[..], &vec![0; 0xf_ffff], b"\x00\x02ab"].concat();
        assert_eq!(received(endless).await, [Err(NetworkErrorKind::TooLarge)]);
    });
}

/// A connection that ends without a close is lost, not finished.
#[test]
fn a_connection_cut_off_is_an_error() {
    run(async {
        for zero_linger in [false, true] {
            let address = serve_sockets(move |socket| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if zero_linger {
                    socket.get_ref().set_zero_linger().unwrap();
                }
            })
            .await;
            let mut socket = open(&format!("ws://{address}/")).await;
            let error = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap_err();
            assert_eq!(error.kind, NetworkErrorKind::Reset);
            assert!(socket.next().await.is_none());
        }
    });
}

/// F-095: a frame of 100 MiB is refused on its first bytes; what the kernel buffers is all that is ever sent.
#[test]
fn an_oversized_frame_is_refused_before_it_is_held() {
    run(async {
        let sent = Rc::new(RefCell::new(0));
        let count = sent.clone();
        let address = serve_sockets(move |mut socket| {
            let count = count.clone();
            async move {
                let stream = socket.get_mut();
                stream.write_all(&[0x82, 127, 0, 0, 0, 0, 6, 64, 0, 0]).await.unwrap();
                while stream.write_all(&[0; 1 << 16]).await.is_ok() {
                    *count.borrow_mut() += 1 << 16;
                }
            }
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        let error = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind, NetworkErrorKind::TooLarge);
        drop(socket);
        assert!(*sent.borrow() < 8 << 20, "{} bytes were taken", sent.borrow());
    });
}

/// The reader alone answers pings, with their payload.
#[test]
fn pings_are_answered_while_nobody_writes() {
    run(async {
        let address = serve_sockets(|mut socket| async move {
            for payload in ["one", "two"] {
                socket.send(tungstenite::Message::Ping(payload.into())).await.unwrap();
                let answer = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
                assert_eq!(answer, tungstenite::Message::Pong(payload.into()));
            }
            socket.send("done".into()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), tungstenite::Message::Pong("ours".into()));
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        for payload in ["one", "two"] {
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Ping(payload.into()));
        }
        assert_eq!(
            timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap(),
            Message::Text("done".to_owned())
        );
        socket.send(Message::Pong("ours".into())).await.unwrap();
    });
}

/// A peer that floods us with pings and reads nothing gets an answer to the latest only, and the stream goes on.
#[test]
fn answers_to_a_flood_of_pings_are_not_stored() {
    run(async {
        const PINGS: usize = 200_000;
        let (answered, mut answers) = tokio::sync::mpsc::channel(1);
        let address = serve_sockets(move |mut socket| {
            let answered = answered.clone();
            async move {
                let stream = socket.get_mut();
                let pings = [&[0x89, 125][..], &[b'x'; 125]].concat().repeat(1_000);
                for _ in 0..PINGS / 1_000 {
                    stream.write_all(&pings).await.unwrap();
                }
                stream.write_all(b"\x81\x03end").await.unwrap();
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes).await;
                answered.send(bytes.len() / 131).await.unwrap();
            }
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        for _ in 0..PINGS {
            assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
        }
        let end = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(end, Message::Text("end".to_owned()));
        socket.close().await.unwrap();
        let answers = timeout(SOON, answers.recv()).await.unwrap().unwrap();
        // All that fits into the kernel's buffers, but not what would have to be kept by us.
        assert!((1..PINGS / 2).contains(&answers), "{answers} answers");
    });
}

/// Both ways to end it: the close handshake reaches the peer, and a mere drop ends TCP at once (F-026).
#[test]
fn our_close_and_our_drop_reach_the_peer() {
    run(async {
        let (ended, mut endings) = tokio::sync::mpsc::channel(2);
        let address = serve_sockets(move |mut socket| {
            let ended = ended.clone();
            async move {
                let first = socket.next().await;
                ended.send(first).await.unwrap();
            }
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        socket.send(Message::Close(Some(Close { code: 1000, reason: "bye".to_owned() }))).await.unwrap();
        let seen = timeout(SOON, endings.recv()).await.unwrap().unwrap();
        let Some(Ok(tungstenite::Message::Close(Some(close)))) = seen else { panic!("{seen:?}") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "bye"));

        let socket = open(&format!("ws://{address}/")).await;
        drop(socket);
        let seen = timeout(SOON, endings.recv()).await.unwrap().unwrap();
        assert!(matches!(seen, None | Some(Err(_))), "{seen:?}");
    });
}

/// The peer's close is confirmed, so that the peer need not wait for its own timeout.
#[test]
fn a_close_is_confirmed() {
    run(async {
        let (confirmed, mut confirmations) = tokio::sync::mpsc::channel(1);
        let address = serve_sockets(move |mut socket| {
            let confirmed = confirmed.clone();
            async move {
                socket.get_mut().write_all(b"\x88\x02\x0f\xa0").await.unwrap();
                let mut answer = [0; 8];
                socket.get_mut().read_exact(&mut answer).await.unwrap();
                confirmed.send(answer).await.unwrap();
            }
        })
        .await;
        let mut socket = open(&format!("ws://{address}/")).await;
        spawn(async move { while socket.next().await.is_some() {} });
        let answer = timeout(SOON, confirmations.recv()).await.unwrap().unwrap();
        assert_eq!(&answer[..2], [0x88, 0x82]);
        assert_eq!([answer[6] ^ answer[2], answer[7] ^ answer[3]], [0x0f, 0xa0]);
    });
}
