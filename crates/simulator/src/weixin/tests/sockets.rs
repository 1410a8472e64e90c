//! The same platform over real sockets, by a client that writes bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::server::{Options, Server};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// One TCP connection, used for one call after the other.
struct Line(TcpStream);

impl Line {
    async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn write(&mut self, head: &str, body: &[u8]) {
        let head =
            format!("{head}host: {}\r\ncontent-length: {}\r\n\r\n", self.0.peer_addr().unwrap(), body.len());
        self.0.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    }

    async fn call(&mut self, client: &Client, path: &str, body: Value) -> (u16, Vec<u8>) {
        self.begin(client, path, body).await;
        self.answer().await.unwrap()
    }

    /// Writes a call of the bot.
    async fn begin(&mut self, client: &Client, path: &str, body: Value) {
        let request = client.request(path, body);
        let mut head = format!("POST /ilink/bot/{path} HTTP/1.1\r\n");
        for (name, value) in &request.headers {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        self.write(&head, &request.body).await;
    }

    /// Reads the head: its status, and the length that it announces.
    async fn head(&mut self) -> io::Result<(u16, usize)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        Ok((head[9..12].parse().unwrap(), length.parse().unwrap()))
    }

    async fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let answer = async {
            let (status, length) = self.head().await?;
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await?;
            Ok((status, body))
        };
        timeout(LONG, answer).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

/// A platform on a socket, and a client that only knows how requests look.
fn mounted() -> (Client, Server) {
    let client = Client::new();
    let server = Server::start(&client.simulator, Options::default()).unwrap();
    (client, server)
}

async fn until(what: impl Fn() -> bool) {
    let noticed = async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, noticed).await.unwrap();
}

fn open_polls(client: &Client) -> usize {
    client.simulator.counters(client.id()).unwrap().open_polls
}

#[tokio::test]
async fn one_connection_carries_one_call_after_the_other() {
    let (client, server) = mounted();
    let mut line = Line::to(server.address()).await;
    assert_eq!(line.call(&client, "msg/notifystart", json!({})).await.0, 200);
    line.begin(&client, "getupdates", json!({ "get_updates_buf": "" })).await;
    until(|| open_polls(&client) == 1).await;
    let pushed = client.push("hello");
    let (_, body) = line.answer().await.unwrap();
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(&format!("\"message_id\":{}", pushed.message_id)), "{text}");
    let (status, _) = line.call(&client, "sendmessage", message("hi", &pushed.context_token, "1")).await;
    assert_eq!(status, 200);
    assert_eq!(line.call(&client, "msg/notifystop", json!({})).await.0, 200);
    let ledger = client.simulator.ledger();
    assert!(ledger.message(pushed.message_id).unwrap().is_acked());
    assert_eq!(ledger.replies_to(pushed.message_id).count(), 1);
    assert_eq!(client.breaches(), []);
}

/// The platform notices at once, and hands the message to the next poll.
#[tokio::test]
async fn a_client_that_closes_its_connection_is_gone() {
    for reset in [false, true] {
        let (client, server) = mounted();
        let mut line = Line::to(server.address()).await;
        line.begin(&client, "getupdates", json!({ "get_updates_buf": "" })).await;
        until(|| open_polls(&client) == 1).await;
        if reset {
            socket2::SockRef::from(&line.0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(line);
        until(|| open_polls(&client) == 0).await;
        let pushed = client.push("a");
        assert!(client.simulator.ledger().message(pushed.message_id).unwrap().handed_out.is_empty());
        let mut line = Line::to(server.address()).await;
        line.call(&client, "getupdates", json!({ "get_updates_buf": "" })).await;
        assert!(client.simulator.ledger().message(pushed.message_id).unwrap().is_acked());
        assert_eq!(client.simulator.counters(client.id()).unwrap().overlapping_polls, 0);
    }
}

/// What comes of an answer before it ends, and how it ends.
#[tokio::test]
async fn answers_break_off_where_they_are_told_to() {
    let cases = [
        (Answer::Fin, None, Some("eof")),
        (Answer::Reset, None, Some("reset")),
        (Answer::Hang, None, None),
        (Answer::StallHeaders, Some(0), None),
        (Answer::StallBody, Some(50), None),
        (Answer::CutBody, Some(50), Some("eof")),
    ];
    for (answer, percent, end) in cases {
        let (client, server) = mounted();
        let fault = Fault::LoseAnswer(Endpoint::GetUpdates, answer.clone());
        client.simulator.set_fault(client.id(), fault, Times::Count(1)).unwrap();
        let pushed = client.push("a");
        let mut line = Line::to(server.address()).await;
        line.begin(&client, "getupdates", json!({ "get_updates_buf": "" })).await;
        if let Some(percent) = percent {
            let (status, length) = timeout(LONG, line.head()).await.unwrap().unwrap();
            assert_eq!(status, 200);
            let mut part = vec![0; length * percent / 100];
            timeout(LONG, line.0.read_exact(&mut part)).await.unwrap().unwrap();
        }
        let more = timeout(if end.is_some() { LONG } else { SHORT }, line.0.read_u8()).await;
        let seen = match more {
            Err(_) => None,
            Ok(Ok(_)) => Some("a byte"),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Some("reset"),
            Ok(Err(_)) => Some("eof"),
        };
        assert_eq!(seen, end, "{answer:?}");
        drop(line);
        until(|| open_polls(&client) == 0).await;
        assert!(client.simulator.ledger().message(pushed.message_id).unwrap().lost_by_platform, "{answer:?}");
    }
}

async fn control(address: SocketAddr, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mut line = Line::to(address).await;
    line.write(&format!("{method} /_simulator/{path} HTTP/1.1\r\n"), body.to_string().as_bytes()).await;
    let (status, body) = line.answer().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_control_interface_reaches_everything() {
    let simulator = Simulator::new(1);
    let server = Server::start(&simulator, Options::default()).unwrap();
    let post = async |path: &str, body: Value| {
        let (status, answer) = control(server.address(), "POST", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    post("people", json!({ "user_id": ALICE, "name": "Alice" })).await;
    let bot = post("bots", json!({ "user_id": ALICE, "bot_id": "b0f5860fdecb@im.bot" })).await;
    let id = BotId::new(bot["bot_id"].as_str().unwrap());
    let on_bot = |deed: &str| format!("bots/{id}/{deed}");
    let pushed = post(&on_bot("push"), json!({ "from": ALICE, "text": "a" })).await;
    assert!(pushed["message_id"].is_u64());
    let quoting = json!([{ "quoting": [{ "id": 7 }, { "text": "b" }] }]);
    post(&on_bot("push"), json!({ "from": ALICE, "items": quoting, "ids": "none" })).await;
    assert_eq!(simulator.ledger().messages().count(), 2);

    post(
        &on_bot("faults"),
        json!({ "fault": { "answer": ["getupdates", { "status": 503 }] }, "times": "until_cleared" }),
    )
    .await;
    assert_eq!(simulator.state().bots[&id].faults.len(), 1);
    post(&on_bot("faults"), json!({ "clear": true })).await;
    assert_eq!(simulator.state().bots[&id].faults.len(), 0);
    post(&on_bot("expire"), json!({ "heals": { "after": 2 }, "sends_refused": true })).await;
    let expiry = Expiry::after_failures(2).refusing_sends();
    assert_eq!(simulator.state().bots[&id].lapsed, Some(expiry));
    post(&on_bot("heal"), json!({})).await;
    assert_eq!(simulator.state().bots[&id].lapsed, None);

    let mut line = Line::to(server.address()).await;
    let body = json!({ "local_token_list": [] }).to_string();
    for _ in 0..3 {
        line.write("POST /ilink/bot/get_bot_qrcode?bot_type=3 HTTP/1.1\r\n", body.as_bytes()).await;
        line.answer().await.unwrap();
    }
    let (_, codes) = control(server.address(), "GET", "logins", Value::Null).await;
    let on_code =
        |index: usize, deed: &str| format!("logins/{}/{deed}", codes[index]["qrcode"].as_str().unwrap());
    post(&on_code(0, "scan"), json!({ "user_id": ALICE })).await;
    post(&on_code(0, "verify_code"), json!({ "number": "42" })).await;
    post(&on_code(0, "redirect"), json!({ "host": "elsewhere" })).await;
    let confirmed = post(&on_code(0, "confirm"), json!({})).await;
    assert_ne!(confirmed["bot"]["bot_id"], bot["bot_id"]);
    post(&on_code(1, "block"), json!({})).await;
    post(&on_code(2, "expire"), json!({})).await;
    let steps: Vec<_> = simulator.login_codes().iter().map(|code| code.step).collect();
    assert_eq!(steps, [LoginStep::Confirmed, LoginStep::Blocked, LoginStep::Expired]);
    post("login_faults", json!({ "fault": { "answer": ["getqrcode", "hang"] } })).await;
    post("login_faults", json!({ "clear": true })).await;

    assert_eq!(post("rules", json!({ "cursor": "replay", "hold": 1000 })).await["sends_per_message"], 10);
    let rules = simulator.rules();
    assert_eq!((rules.cursor, rules.hold.as_secs(), rules.text_limit), (Cursor::Replay, 1, 4_000));
    post("retain", json!({ "retain": 10 })).await;
    let (_, state) = control(server.address(), "GET", "state", Value::Null).await;
    assert_eq!((&state["reach"], state["messages"].as_array().unwrap().len()), (&json!("open"), 2));
    post("platform", json!({ "reach": "hangs", "for_ms": 50 })).await;
    until(|| simulator.reach() == Reach::Open).await;

    for (path, body, status) in [
        ("bots/x@im.bot/push", json!({ "from": ALICE, "text": "a" }), 404),
        ("bots/x@im.bot/heal", json!({}), 404),
        ("logins/x/scan", json!({ "user_id": ALICE }), 404),
        ("nothing", json!({}), 404),
        ("rules", json!({ "curser": "replay" }), 400),
        ("retain", json!({}), 400),
    ] {
        assert_eq!(control(server.address(), "POST", path, body).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_refusing_platform_comes_back_on_its_port() {
    let (client, server) = mounted();
    let mut line = Line::to(server.address()).await;
    line.call(&client, "msg/notifystart", json!({})).await;
    client.simulator.set_reach(Reach::Refused);
    let refused = async {
        while TcpStream::connect(server.address()).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    assert!(timeout(LONG, line.0.read_u8()).await.unwrap().is_err(), "a kept connection ends too");
    client.simulator.set_reach(Reach::Open);
    let back = async {
        loop {
            if let Ok(tcp) = TcpStream::connect(server.address()).await {
                return Line(tcp);
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let mut line = timeout(LONG, back).await.unwrap();
    assert_eq!(line.call(&client, "msg/notifystart", json!({})).await.0, 200);
}
