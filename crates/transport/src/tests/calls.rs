use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode};
use moorline_channel::core::Effect;
use moorline_channel::{HttpResponse, NetworkError, NetworkErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::peer::{CANARY, authority, get, head, memory, network, run, serve};

/// What a server does when it has said its piece.
#[derive(Clone, Copy)]
enum Then {
    Hang,
    /// Says one more byte every now and then, for ever.
    Drip(u8),
    Close,
    Reset,
}

const DEADLINE: Duration = Duration::from_millis(500);

async fn say(mut stream: TcpStream, bytes: Bytes, then: Then) {
    head(&mut stream).await;
    let _ = stream.write_all(&bytes).await;
    match then {
        Then::Hang => std::future::pending().await,
        Then::Drip(byte) => {
            while stream.write_u8(byte).await.is_ok() {
                tokio::time::sleep(DEADLINE / 10).await;
            }
        }
        Then::Close => {}
        Then::Reset => {
            // What was said must arrive before the reset overtakes it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.set_zero_linger().unwrap();
        }
    }
}

/// One call to a server that says these bytes.
async fn call(bytes: impl Into<Bytes>, then: Then) -> Result<HttpResponse, NetworkError> {
    let bytes = bytes.into();
    let address = serve(move |stream| say(stream, bytes.clone(), then)).await;
    let mut request = get(&format!("http://{address}/{CANARY}?token={CANARY}"), DEADLINE);
    request.headers.insert("authorization", HeaderValue::from_static(CANARY));
    let started = Instant::now();
    let result = network(Vec::new()).http.call(request).await;
    assert!(started.elapsed() < DEADLINE + Duration::from_millis(500), "took {:?}", started.elapsed());
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(CANARY), "F-090: {shown}");
        assert!(shown.contains(&address.to_string()), "no host: {shown}");
        assert_eq!(error.effect(), Effect::Unknown, "{shown}");
    }
    result
}

/// F-023, F-098: at whatever byte an exchange stops, it ends by its deadline; and no part of an answer is ever taken
/// for the whole.
#[test]
fn an_answer_that_is_not_whole_is_an_error_of_the_right_kind() {
    use NetworkErrorKind::{Protocol, Reset, Timeout, TooLarge};
    use Then::{Close, Drip, Hang, Reset as Rst};
    run(async {
        let cases = [
            ("", Hang, Timeout),
            ("HTTP/1.1 200 OK\r\nconte", Hang, Timeout),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", Hang, Timeout),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Hang, Timeout),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", Hang, Timeout),
            // Something comes all the time: no wait is long, but their sum is.
            ("HTTP/1.1 200 OK\r\nx-endless: ", Drip(b'x'), Timeout),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", Drip(b'x'), Timeout),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n", Drip(b'x'), Timeout),
            ("", Close, Reset),
            ("HTTP/1.1 200 OK\r\nconte", Close, Reset),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Close, Reset),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", Close, Reset),
            ("", Rst, Reset),
            ("HTTP/1.1 200 OK\r\nconte", Rst, Reset),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Rst, Reset),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", Rst, Reset),
            ("220 mail ready\r\n\r\n", Hang, Protocol),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", Close, Protocol),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n", Hang, Protocol),
            ("HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx", Hang, Protocol),
            ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nfake", Hang, Protocol),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", Hang, TooLarge),
        ];
        join_all(cases.map(async |(said, then, kind)| {
            let result = call(said, then).await;
            assert_eq!(result.map_err(|error| error.kind).unwrap_err(), kind, "after {said:?}");
        }))
        .await;
    });
}

#[test]
fn every_status_is_an_answer_and_redirects_are_not_followed() {
    run(async {
        let answer = call(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            Then::Hang,
        )
        .await
        .unwrap();
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::FOUND, &"http://127.0.0.1:1/".parse().unwrap())
        );
        let answer = call("HTTP/1.1 500 No\r\nx-raw: \u{fc}\r\ncontent-length: 3\r\n\r\nwhy", Then::Hang)
            .await
            .unwrap();
        assert_eq!((answer.status.as_u16(), answer.headers["x-raw"].as_bytes()), (500, "\u{fc}".as_bytes()));
        assert_eq!(answer.body, "why");
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(call(chunked, Then::Close).await.unwrap().body, "abc");
        let old = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
        assert_eq!(call(old, Then::Close).await.unwrap().body, "until the end");
        assert_eq!(call("HTTP/1.1 204 No\r\n\r\n", Then::Hang).await.unwrap().body, "");
    });
}

/// F-010, F-090: what is sent is what was asked for, and nothing of ours but the name and version.
#[test]
fn a_request_is_sent_as_it_is() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        let address = serve(move |mut stream| {
            let log = log.clone();
            async move {
                loop {
                    let head = head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    log.borrow_mut().push(head);
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            }
        })
        .await;
        let network = network(Vec::new());
        let target = "/a%2Fb?x={|}^`[]'~!$&()*+,;=:@/?%25%C3%BC";
        network.http.call(get(&format!("http://{address}{target}#part"), DEADLINE)).await.unwrap();
        let mut request = get(&format!("http://{address}/"), DEADLINE);
        request.method = Method::POST;
        network.http.call(request).await.unwrap();
        let seen = seen.borrow();
        assert!(
            seen[0].starts_with(&format!("GET {} HTTP/1.1\r\n", target.replace('\'', "%27"))),
            "{}",
            seen[0]
        );
        let mut names: Vec<_> =
            seen[0].lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "date", "host", "user-agent"]);
        assert!(seen[0].contains(concat!("user-agent: moorline/", env!("CARGO_PKG_VERSION"), "\r\n")));
        assert!(seen[0].contains(&format!("host: {address}\r\n")));
        assert!(seen[1].starts_with("POST / ") && seen[1].contains("content-length: 0\r\n"), "{}", seen[1]);
    });
}

/// F-095: 512 MiB in half a megabyte.
#[test]
fn a_gzip_bomb_is_refused_without_being_held() {
    run(async {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&[0; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap().repeat(512);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
        let bytes = [head.into_bytes(), bomb].concat();
        let before = memory("VmHWM:");
        assert_eq!(call(bytes, Then::Hang).await.unwrap_err().kind, NetworkErrorKind::TooLarge);
        let grown = memory("VmHWM:") - before;
        // The other tests of this process count too.
        assert!(grown < 128 << 10, "{grown} KiB for a limit of 2 MiB");
    });
}

/// The orderly end of TLS is not the end of a body.
#[test]
fn a_body_cut_off_by_an_orderly_end_of_tls_is_not_taken() {
    run(async {
        let (root, acceptor) = authority(&[]);
        let address = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                head(&mut stream).await;
                let half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
                stream.write_all(half).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        })
        .await;
        let request = get(&format!("https://localhost:{}/", address.port()), DEADLINE);
        let error = network(vec![root]).http.call(request).await.unwrap_err();
        assert_eq!(error.kind, NetworkErrorKind::Reset, "{error}");
    });
}

/// F-023: a connection is used again while it works, and never after a call has hung on it.
#[test]
fn a_call_after_a_hung_one_gets_a_new_connection() {
    run(async {
        let connections = Rc::new(RefCell::new(0));
        let count = connections.clone();
        let address = serve(move |mut stream| {
            *count.borrow_mut() += 1;
            async move {
                for _ in 0..2 {
                    head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
                std::future::pending().await
            }
        })
        .await;
        let network = network(Vec::new());
        let mut outcomes = Vec::new();
        for _ in 0..6 {
            let result = network.http.call(get(&format!("http://{address}/"), DEADLINE)).await;
            outcomes.push((result.is_ok(), *connections.borrow()));
        }
        assert_eq!(outcomes, [(true, 1), (true, 1), (false, 1), (true, 2), (true, 2), (false, 2)]);
    });
}

#[test]
fn a_gzip_body_is_unpacked_and_no_longer_called_gzip() {
    run(async {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"hello").unwrap();
        let body = encoder.finish().unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = call([head.into_bytes(), body].concat(), Then::Hang).await.unwrap();
        assert_eq!(answer.body, "hello");
        assert!(answer.headers.is_empty(), "{:?}", answer.headers);
    });
}
