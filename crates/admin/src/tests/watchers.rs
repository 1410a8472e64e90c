//! `/v1/events` over real sockets: who is let in, what is told, and how every socket ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::web::Data;
use moorline_core::{Generation, Secret};
use moorline_runtime::supervision::Fault;
use moorline_runtime::{Events, Sort, What};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, WebSocket, client};

use super::TOKEN;
use super::fake::Fake;
use super::socket::{Still, serve};
use crate::closing::Closing;
use crate::events::{self, Limits, Watchers};
use crate::exchange::RequestIds;
use crate::gate::Gate;
use crate::operator::Operator;
use crate::routes::api;

type Socket = WebSocket<TcpStream>;

const SECOND: Duration = Duration::from_secs(1);

fn feed() -> Events {
    Events::new(Arc::new(Still))
}

fn told(feed: &Events) -> Arc<Fake> {
    Arc::new(Fake { feed: feed.clone(), ..Fake::default() })
}

/// Runs `client` on a thread of its own against a server with these limits.
fn within<T: Send + 'static>(
    limits: Limits,
    feed: &Events,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let operator = Data::from(told(feed) as Arc<dyn Operator>);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    actix_rt::System::new().block_on(async move {
        let gate = Data::new(Gate::new(Secret::new(TOKEN), address.ip()));
        let ids = Data::new(RequestIds::new(Generation::FIRST));
        let closing = Data::new(Closing::new());
        let told = closing.clone();
        let app = move || {
            let watchers = Data::new(Watchers::within(limits));
            api(gate.clone(), ids.clone(), told.clone(), operator.clone()).app_data(watchers)
        };
        let mut server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .on_connect(events::remember)
            .client_disconnect_timeout(SECOND)
            .shutdown_timeout(1)
            .listen(socket)
            .unwrap()
            .run();
        let (done, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || drop(done.send(client(address))));
        let outcome = tokio::select! {
            outcome = ended => outcome,
            _ = &mut server => panic!("the server ended"),
        };
        closing.close();
        drop(server.handle().stop(true));
        server.await.unwrap();
        thread.join().unwrap();
        outcome.unwrap()
    })
}

/// Asks for the WebSocket with these headers, `host` and `sec-websocket-version` included when they are other ones.
fn upgrade(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<(Socket, Response), Box<Error>> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    client(request, stream).map_err(|error| match error {
        tokio_tungstenite::tungstenite::HandshakeError::Failure(error) => Box::new(error),
        other => panic!("{other}"),
    })
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// A watcher that shows the token in the header.
fn watch(address: SocketAddr) -> Socket {
    upgrade(address, "/v1/events", &[bearer(TOKEN)]).unwrap().0
}

/// A socket that has shown no token.
fn anonymous(address: SocketAddr) -> Socket {
    upgrade(address, "/v1/events", &[]).unwrap().0
}

fn auth(token: &str) -> Message {
    Message::text(json!({ "auth": token }).to_string())
}

/// The next text, as JSON.
fn text(socket: &mut Socket) -> Value {
    match said(socket) {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

/// How the socket ends, when nothing but the end is to come.
fn end(socket: &mut Socket) -> (u16, String) {
    match said(socket) {
        Message::Close(Some(CloseFrame { code, reason })) => (code.into(), reason.to_string()),
        other => panic!("not the end: {other:?}"),
    }
}

/// What is said next, pings and pongs aside.
fn said(socket: &mut Socket) -> Message {
    let began = Instant::now();
    loop {
        match socket.read().unwrap() {
            Message::Ping(_) | Message::Pong(_) => assert!(began.elapsed() < 20 * SECOND, "nothing is said"),
            other => return other,
        }
    }
}

fn refusal(address: SocketAddr, path: &str, headers: &[(&'static str, String)]) -> (u16, String) {
    match upgrade(address, path, headers).map_err(|error| *error) {
        Err(Error::Http(response)) => {
            let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
            (response.status().as_u16(), body["error"]["code"].as_str().unwrap().to_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_may_not_ask_is_refused_before_there_is_a_socket_f091() {
    serve(&Arc::default(), |address, _| {
        let own = ("origin", format!("http://{address}"));
        let table = [
            (vec![bearer("wrong")], "/v1/events", 401, "unauthorized"),
            (vec![bearer("")], "/v1/events", 401, "unauthorized"),
            (
                vec![bearer(TOKEN), ("origin", "http://evil.test".to_owned())],
                "/v1/events",
                403,
                "foreign_origin",
            ),
            (vec![("origin", "http://evil.test".to_owned())], "/v1/events", 403, "foreign_origin"),
            (vec![("origin", "null".to_owned())], "/v1/events", 403, "foreign_origin"),
            (vec![("host", "evil.test".to_owned())], "/v1/events", 421, "misdirected_request"),
            (
                vec![bearer(TOKEN), ("host", "evil.test:80".to_owned())],
                "/v1/events",
                421,
                "misdirected_request",
            ),
            (vec![], "/v1/events?token=x", 400, "token_in_query"),
            (vec![], "/v1/events?auth=x", 400, "token_in_query"),
            (vec![bearer(TOKEN)], "/v1/events?message=true", 400, "invalid_parameter"),
            (vec![bearer(TOKEN)], "/v1/events?messages=1", 400, "invalid_parameter"),
            (vec![bearer(TOKEN)], "/v1/events?account=main", 400, "invalid_parameter"),
            (
                vec![bearer(TOKEN), ("sec-websocket-version", "12".to_owned())],
                "/v1/events",
                426,
                "upgrade_required",
            ),
            // The other paths take no token later.
            (vec![], "/v1/status", 401, "unauthorized"),
        ];
        for (headers, path, status, code) in table {
            assert_eq!(refusal(address, path, &headers), (status, code.to_owned()), "{path} {headers:?}");
        }
        // A page that this endpoint served may ask.
        drop(upgrade(address, "/v1/events", &[own]).unwrap());
        let get = |token: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n{token}connection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(get("").starts_with("HTTP/1.1 401 "), "what is no WebSocket takes no token later");
        let answer = get(&format!("authorization: Bearer {TOKEN}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("upgrade: websocket"), "{answer}");
    });
}

#[test]
fn the_token_may_come_in_the_header_or_as_the_first_message_f091() {
    let feed = feed();
    let events = feed.clone();
    serve(&told(&feed), move |address, _| {
        let mut with_header = watch(address);
        let mut in_band = anonymous(address);
        in_band.send(Message::Ping(Bytes::new())).unwrap();
        in_band.send(auth(TOKEN)).unwrap();
        for socket in [&mut with_header, &mut in_band] {
            let snapshot = text(socket);
            assert_eq!((&snapshot["kind"], &snapshot["seq"]), (&json!("snapshot"), &json!(0)));
            assert_eq!(snapshot["accounts"][0]["id"], json!("feishu:main"));
            assert_eq!((&snapshot["ready"], &snapshot["boot"]), (&json!(true), &json!("boot")));
        }
        events.tell(Sort::Message, || unreachable!("nobody asked for messages"));
        events.tell(Sort::Lifecycle, || What::Draining { restart: false });
        for socket in [&mut with_header, &mut in_band] {
            let event = text(socket);
            assert_eq!((&event["kind"], &event["seq"]), (&json!("draining"), &json!(2)));
        }
        with_header.close(None).unwrap();
        assert_eq!(end(&mut with_header).0, 1000);
    });
}

#[test]
fn without_the_right_token_nothing_is_told_and_the_reason_is_f091() {
    let long = format!(r#"{{"auth":"{}"}}"#, "0".repeat(2_000));
    let table = [
        (auth("wrong"), 1008, "unauthorized"),
        (auth(""), 1008, "unauthorized"),
        (auth(&TOKEN[1..]), 1008, "unauthorized"),
        (Message::text(TOKEN), 1008, "unauthorized"),
        (Message::text(format!(r#"["{TOKEN}"]"#)), 1008, "unauthorized"),
        (Message::text(format!(r#"{{"auth":"{TOKEN}","more":1}}"#)), 1008, "unauthorized"),
        (Message::binary(format!(r#"{{"auth":"{TOKEN}"}}"#)), 1003, "only text"),
        (Message::text(long), 1009, "too long"),
    ];
    let feed = feed();
    let events = feed.clone();
    serve(&told(&feed), move |address, _| {
        for (first, code, words) in table {
            let mut socket = anonymous(address);
            events.tell(Sort::Lifecycle, || unreachable!("nobody has shown the token"));
            socket.send(first.clone()).unwrap();
            let (got, why) = end(&mut socket);
            assert!((got, why.contains(words)) == (code, true), "{first:?}: {got} {why}");
        }
    });
}

#[test]
fn who_shows_no_token_in_time_is_closed_having_heard_nothing_f091() {
    let limits = Limits { proves_within: Duration::from_millis(150), ..Limits::STANDARD };
    within(limits, &feed(), |address| {
        let mut socket = anonymous(address);
        // Signs of life are no token.
        socket.send(Message::Ping(Bytes::new())).unwrap();
        let (code, why) = end(&mut socket);
        assert_eq!((code, why.as_str()), (1008, "unauthorized: no token within 5 s"));
    });
}

#[test]
fn watchers_are_bounded_and_who_has_no_token_keeps_nobody_out_who_has_f085() {
    let limits = Limits { watchers: 2, closes_within: Duration::from_millis(100), ..Limits::STANDARD };
    within(limits, &feed(), |address| {
        let too_many = (429, "too_many_watchers".to_owned());
        let strangers = [anonymous(address), anonymous(address)];
        assert_eq!(refusal(address, "/v1/events", &[]), too_many);
        let mut watchers = [watch(address), watch(address)];
        watchers.iter_mut().for_each(|socket| drop(text(socket)));
        assert_eq!(refusal(address, "/v1/events", &[bearer(TOKEN)]), too_many);
        let [mut late, early] = strangers;
        late.send(auth(TOKEN)).unwrap();
        assert_eq!(end(&mut late), (1013, "too many watchers".to_owned()));
        drop((early, watchers));
        let began = Instant::now();
        while upgrade(address, "/v1/events", &[bearer(TOKEN)]).is_err() {
            assert!(began.elapsed() < 10 * SECOND, "no place is free again");
        }
    });
}

#[test]
fn a_watcher_that_talks_too_much_or_not_at_all_is_ended_f085() {
    let limits = Limits { pings_every: Duration::from_millis(100), ..Limits::STANDARD };
    within(limits, &feed(), |address| {
        let mut chatty = watch(address);
        drop(text(&mut chatty));
        for _ in 0..=Limits::STANDARD.frames {
            // The end may come before the last one is out.
            drop(chatty.write(Message::text("hello?")));
        }
        drop(chatty.flush());
        assert_eq!(end(&mut chatty), (1008, "too many frames".to_owned()));

        // It answers pings by reading, and stays for as long as it does.
        let mut lively = watch(address);
        drop(text(&mut lively));
        let began = Instant::now();
        while began.elapsed() < SECOND {
            assert!(matches!(lively.read().unwrap(), Message::Ping(_)));
        }
        // This one reads, and never answers.
        let mut silent = raw(address, &format!("authorization: Bearer {TOKEN}\r\n"));
        let (mut received, began) = (Vec::new(), Instant::now());
        let mut bytes = [0; 64];
        loop {
            match silent.read(&mut bytes).unwrap() {
                0 => break,
                count => received.extend_from_slice(&bytes[..count]),
            }
            assert!(began.elapsed() < 10 * SECOND, "it goes on");
        }
        let close = [&[0x88, 18, 0x03, 0xf0], &b"no sign of life"[..]].concat();
        assert!(received.windows(close.len()).any(|bytes| bytes[0] == 0x88 && bytes[2..] == close[2..]));
    });
}

/// Tells events of 64 KiB each, until all buffers of a watcher that does not read must be full.
fn flood(feed: &Events, many: usize) {
    for _ in 0..many {
        feed.tell(Sort::Lifecycle, || What::ReloadFailed { problems: vec!["x".repeat(1 << 16)] });
    }
}

#[test]
fn a_slow_reader_is_told_what_it_has_lost_and_how_things_are_now_f085() {
    let feed = feed();
    let events = feed.clone();
    serve(&told(&feed), move |address, _| {
        let mut slow = watch(address);
        assert_eq!(text(&mut slow)["seq"], json!(0));
        flood(&events, 3_000);
        // It was not read from until now; what it is told next begins where the snapshot ended, without a gap.
        let mut next = 1;
        let lagged = loop {
            let message = text(&mut slow);
            if let Some(lagged) = message["lagged"].as_u64() {
                break lagged;
            }
            assert_eq!(message["seq"], json!(next));
            next += 1;
        };
        let snapshot = text(&mut slow);
        assert_eq!(snapshot["kind"], json!("snapshot"));
        let now = snapshot["seq"].as_u64().unwrap();
        assert!(lagged > 0 && now >= next - 1 + lagged, "{lagged} lost of {now}, {next} is next");
        events.tell(Sort::Lifecycle, || What::Draining { restart: false });
        while text(&mut slow)["kind"] != json!("draining") {}
    });
}

#[test]
fn a_watcher_that_never_reads_is_cut_and_holds_nothing_f085() {
    let limits = Limits {
        watchers: 1,
        reads_within: Duration::from_millis(200),
        closes_within: Duration::from_millis(200),
        ..Limits::STANDARD
    };
    let feed = feed();
    let events = feed.clone();
    within(limits, &feed, move |address| {
        let mut stuck = watch(address);
        drop(text(&mut stuck));
        // More than one watcher's buffers, the kernel's included, take.
        for _ in 0..3 {
            flood(&events, 1_000);
            std::thread::yield_now();
        }
        // Its connection is gone although it has read nothing: what it sends reaches nobody any more.
        let began = Instant::now();
        let gone = loop {
            if let Err(error) = stuck.send(Message::Ping(Bytes::new())) {
                break error;
            }
            assert!(began.elapsed() < 10 * SECOND, "still connected");
            std::thread::yield_now();
        };
        assert!(matches!(gone, Error::Io(_)), "{gone:?}");
        drop(text(&mut watch(address)));
    });
}

/// The handshake by hand; what follows is whatever the server sends.
fn raw(address: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

const RESTART: (u16, &str) = (1012, "service restart");

/// Report 5: sockets in their handshake were closed without a word, and the command line did not know why.
#[test]
fn every_socket_hears_1012_at_the_end_also_who_never_showed_a_token_f080() {
    let (mut watcher, mut stranger, mut half_open, began) = serve(&Arc::default(), |address, _| {
        let mut watcher = watch(address);
        drop(text(&mut watcher));
        (watcher, anonymous(address), raw(address, ""), Instant::now())
    });
    assert!(began.elapsed() < 3 * SECOND, "nobody is waited for: {:?}", began.elapsed());
    for socket in [&mut watcher, &mut stranger] {
        let (code, why) = end(socket);
        assert_eq!((code, why.as_str()), RESTART);
    }
    let mut bytes = Vec::new();
    half_open.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"\x88\x11\x03\xf4service restart");
}

#[test]
fn a_fault_of_the_endpoint_owes_its_sockets_a_goodbye_too_f080() {
    serve(&Arc::default(), |address, tree| {
        let (mut watcher, mut stranger) = (watch(address), anonymous(address));
        drop(text(&mut watcher));
        assert!(tree.inject("runtime/admin", Fault::Panic));
        for socket in [&mut watcher, &mut stranger] {
            let (code, why) = end(socket);
            assert_eq!((code, why.as_str()), RESTART);
        }
        // The next life takes watchers as the first did. What the first still accepted hears of its end.
        let began = Instant::now();
        loop {
            if let Ok((mut socket, _)) = upgrade(address, "/v1/events", &[bearer(TOKEN)])
                && let Ok(Message::Text(first)) = socket.read()
            {
                break assert!(first.contains(r#""kind":"snapshot""#), "{first}");
            }
            assert!(began.elapsed() < 10 * SECOND, "nobody takes watchers any more");
        }
    });
}
