//! A raw client: TCP, hyper and tungstenite, nothing of ours.

use std::io;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;
use crate::Simulator;
use crate::feishu::{Answer, App, Cut, Fault, Frame, Header, Lost, NewApp, Push, Times};

type Socket = WebSocketStream<TcpStream>;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

struct Client {
    simulator: Simulator,
    server: Server,
    app: App,
}

impl Client {
    fn new() -> Self {
        let simulator = Simulator::new(5);
        let app = simulator.add_app(NewApp::named("Bot"));
        let server = Server::start(&simulator, Options::default()).unwrap();
        Self { simulator, server, app }
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> io::Result<(u16, Value)> {
        call(self.server.address(), method, path, token, body).await
    }

    async fn url(&self) -> String {
        let body = json!({ "AppID": self.app.app_id, "AppSecret": self.app.app_secret });
        let (_, answer) = self.call("POST", "/callback/ws/endpoint", "", &body).await.unwrap();
        answer["data"]["URL"].as_str().unwrap().to_owned()
    }

    async fn connect(&self) -> Socket {
        let url = self.url().await;
        assert!(url.starts_with(&format!("ws://{}/", self.server.address())), "{url}");
        let tcp = TcpStream::connect(self.server.address()).await.unwrap();
        tokio_tungstenite::client_async(url, tcp).await.unwrap().0
    }

    async fn token(&self) -> String {
        let body = json!({ "app_id": self.app.app_id, "app_secret": self.app.app_secret });
        let path = "/open-apis/auth/v3/tenant_access_token/internal";
        let (_, answer) = self.call("POST", path, "", &body).await.unwrap();
        answer["tenant_access_token"].as_str().unwrap().to_owned()
    }

    fn ping(&self) -> Message {
        Message::binary(Frame::control(self.app.service_id, "ping", None).encode())
    }

    fn open(&self) -> usize {
        self.simulator.counters(&self.app.app_id).unwrap().open
    }

    /// Waits until the platform has noticed.
    async fn until_open(&self, count: usize) {
        let noticed = async {
            while self.open() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, noticed).await.unwrap();
    }
}

async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> io::Result<(u16, Value)> {
    let tcp = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    };
    tokio::select! {
        outcome = exchange => outcome,
        ended = connection => Err(io::Error::other(format!("{ended:?}"))),
    }
}

async fn frame(socket: &mut Socket) -> Frame {
    match timeout(LONG, socket.next()).await {
        Ok(Some(Ok(Message::Binary(bytes)))) => Frame::decode(&bytes).unwrap(),
        other => panic!("no frame: {other:?}"),
    }
}

#[tokio::test]
async fn a_client_connects_receives_acks_and_answers() {
    let client = Client::new();
    let mut socket = client.connect().await;
    socket.send(client.ping()).await.unwrap();
    assert_eq!(frame(&mut socket).await.header("type"), Some("pong"));

    let push = json!({ "chat_id": "oc_1", "chat_type": "group", "user": "ou_alice", "text": "hi", "mentions_bot": true });
    let path = format!("/_simulator/apps/{}/push", client.app.app_id);
    let (_, pushed) = client.call("POST", &path, "", &push).await.unwrap();
    let mut event = frame(&mut socket).await;
    let envelope: Value = serde_json::from_slice(event.payload.as_deref().unwrap()).unwrap();
    assert_eq!(envelope["header"]["event_id"], pushed["event_id"]);
    assert_eq!(envelope["event"]["message"]["mentions"][0]["id"]["open_id"], client.app.bot_open_id.as_str());
    event.headers.push(Header::new("biz_rt", "1"));
    event.payload = Some(b"{\"code\":200}".to_vec());
    socket.send(Message::binary(event.encode())).await.unwrap();

    let token = client.token().await;
    let (_, info) = client.call("GET", "/open-apis/bot/v3/info", &token, &Value::Null).await.unwrap();
    assert_eq!(info["bot"]["open_id"], client.app.bot_open_id.as_str());
    let body =
        json!({ "receive_id": "oc_1", "msg_type": "text", "content": "{\"text\":\"a\"}", "uuid": "1" });
    let send = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    assert_eq!(client.call("POST", send, &token, &body).await.unwrap().1["code"], 0);
    let reply = format!("/open-apis/im/v1/messages/{}/reply", pushed["message_id"].as_str().unwrap());
    let body = json!({ "msg_type": "text", "content": "{\"text\":\"b\"}", "uuid": "2" });
    assert_eq!(client.call("POST", &reply, &token, &body).await.unwrap().1["code"], 0);

    let (_, state) = client.call("GET", "/_simulator/state", "", &Value::Null).await.unwrap();
    assert_eq!(state["events"][0]["acked"].as_array().unwrap().len(), 1);
    assert_eq!(state["visible"][1]["reply_to"], pushed["message_id"]);
    assert_eq!(state["apps"][client.app.app_id.as_str()]["counters"]["open"], 1);

    socket.close(None).await.unwrap();
    client.until_open(0).await;
}

/// The raw kinds of ending, as the client's TCP stack sees them.
#[tokio::test]
async fn a_reset_is_a_rst_and_an_end_is_a_fin() {
    let client = Client::new();
    for cut in [Cut::Reset, Cut::Fin] {
        let socket = client.connect().await;
        client.simulator.drop_connections(&client.app.app_id, &cut).unwrap();
        let mut tcp = socket.into_inner();
        let read = timeout(LONG, tcp.read(&mut [0; 64])).await.unwrap();
        match cut {
            Cut::Reset => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            _ => assert_eq!(read.unwrap(), 0),
        }
        assert_eq!(client.open(), 0);
    }
    let mut socket = client.connect().await;
    let close = Cut::Close { code: 1012, reason: "restart".to_owned() };
    client.simulator.drop_connections(&client.app.app_id, &close).unwrap();
    match timeout(LONG, socket.next()).await.unwrap() {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1012),
        other => panic!("{other:?}"),
    }
    assert!(matches!(timeout(LONG, socket.next()).await.unwrap(), None | Some(Err(Error::ConnectionClosed))));
}

/// F-019: TCP stays established, nothing is written; closing it is noticed at once, unread bytes or not.
#[tokio::test]
async fn a_black_hole_keeps_tcp_open_until_the_client_closes_it() {
    let client = Client::new();
    let mut socket = client.connect().await;
    client.simulator.drop_connections(&client.app.app_id, &Cut::BlackHole).unwrap();
    socket.send(client.ping()).await.unwrap();
    assert!(timeout(SHORT, socket.next()).await.is_err(), "neither data, FIN nor RST");
    assert_eq!(client.open(), 1);
    drop(socket);
    client.until_open(0).await;
    assert_eq!(client.simulator.counters(&client.app.app_id).unwrap().pings, 0);
}

#[tokio::test]
async fn a_black_hole_reads_nothing() {
    let client = Client::new();
    let mut tcp = client.connect().await.into_inner();
    client.simulator.drop_connections(&client.app.app_id, &Cut::BlackHole).unwrap();
    let mut written = 0_usize;
    let filling = async {
        loop {
            // The buffers of both sides fill up, and then this waits.
            written += timeout(SHORT, tcp.write(&[0; 65_536])).await?.unwrap();
        }
    };
    let stuck: Result<(), tokio::time::error::Elapsed> = timeout(LONG, filling).await.unwrap();
    assert!(stuck.is_err() && written > 0);
}

/// A black hole can still be reset.
#[tokio::test]
async fn a_black_hole_can_be_ended() {
    let client = Client::new();
    let mut tcp = client.connect().await.into_inner();
    client.simulator.drop_connections(&client.app.app_id, &Cut::BlackHole).unwrap();
    assert!(timeout(SHORT, tcp.read(&mut [0; 1])).await.is_err());
    client.simulator.drop_connections(&client.app.app_id, &Cut::Reset).unwrap();
    let read = timeout(LONG, tcp.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_unreachable_platform_refuses_and_comes_back_on_the_same_port() {
    let client = Client::new();
    let address = client.server.address();
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(b"GET /open-apis/bot/v3/info HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(kept.read(&mut [0; 4_096]).await.unwrap() > 0);

    client.simulator.set_reach(Reach::Refused);
    let refused = async {
        loop {
            match TcpStream::connect(address).await {
                // One that stood in the queue of a listener that closes is reset.
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => break error.kind(),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    assert_eq!(timeout(LONG, refused).await.unwrap(), io::ErrorKind::ConnectionRefused);
    let read = timeout(LONG, kept.read(&mut [0; 4_096])).await.unwrap();
    assert!(matches!(read, Err(_) | Ok(0)), "a kept-alive connection does not survive: {read:?}");

    client.simulator.set_reach(Reach::Open);
    let back = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, back).await.unwrap();
    client.connect().await;

    client.simulator.set_reach(Reach::Hangs);
    let hangs = client.call("GET", "/open-apis/bot/v3/info", "t-x", &Value::Null);
    assert!(timeout(SHORT, hangs).await.is_err());
}

#[tokio::test]
async fn the_control_interface_outlives_the_platform_and_brings_it_back() {
    let simulator = Simulator::new(5);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options { listen: vec![any], control: Some(any) };
    let server = Server::start(&simulator, options).unwrap();
    let control = server.control_address().unwrap();
    let refuse = json!({ "refuse": true, "for_ms": 200 });
    let (status, answer) = call(control, "POST", "/_simulator/platform", "", &refuse).await.unwrap();
    assert_eq!((status, &answer["reach"]), (200, &json!("refused")));
    let recovered = async {
        while simulator.reach() != Reach::Open || TcpStream::connect(server.address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, recovered).await.unwrap();
    let (_, app) = call(control, "POST", "/_simulator/apps", "", &json!({ "bot_name": "B" })).await.unwrap();
    let faults = format!("/_simulator/apps/{}/faults", app["app_id"].as_str().unwrap());
    let fault = json!({ "fault": { "token": { "status": 502 } }, "times": { "count": 2 } });
    assert_eq!(call(control, "POST", &faults, "", &fault).await.unwrap().0, 200);
    let wrong = json!({ "fault": "nonsense" });
    assert_eq!(call(control, "POST", &faults, "", &wrong).await.unwrap().0, 400);
    let redelivery = json!({ "ack_budget_ms": 100, "ladder_ms": [50] });
    assert_eq!(call(control, "POST", "/_simulator/redelivery", "", &redelivery).await.unwrap().0, 200);
    let (_, state) = call(control, "GET", "/_simulator/state", "", &Value::Null).await.unwrap();
    assert_eq!(state["redelivery"]["ladder_ms"], json!([50]));
    assert_eq!(call(control, "POST", "/callback/ws/endpoint", "", &json!({})).await.unwrap().0, 404);
    let outside = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Server::start(&simulator, outside), Err(ServerError::NotLoopback(_))));
}

/// F-056, F-023: the same faults over sockets.
#[tokio::test]
async fn calls_hang_break_and_lose_their_answers() {
    let client = Client::new();
    let app = &client.app.app_id;
    client.simulator.push(app, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    let token = client.token().await;
    let body =
        json!({ "receive_id": "oc_1", "msg_type": "text", "content": "{\"text\":\"a\"}", "uuid": "1" });
    let send = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    client.simulator.set_fault(app, Fault::LoseSendAnswer(Lost::Reset), Times::Count(1)).unwrap();
    assert!(client.call("POST", send, &token, &body).await.is_err());
    client.simulator.set_fault(app, Fault::Send(Answer::Hang), Times::Count(1)).unwrap();
    assert!(timeout(SHORT, client.call("POST", send, &token, &body)).await.is_err());
    assert_eq!(client.call("POST", send, &token, &body).await.unwrap().0, 200);
    assert_eq!(client.simulator.ledger().visible().len(), 1);
}

#[tokio::test]
async fn a_thousand_connections_are_carried() {
    let client = Client::new();
    let mut sockets = Vec::new();
    let mut apps = Vec::new();
    for _ in 0..1_000 {
        let app = client.simulator.add_app(NewApp::named("Bot"));
        let body = json!({ "AppID": app.app_id, "AppSecret": app.app_secret });
        let (_, answer) = client.call("POST", "/callback/ws/endpoint", "", &body).await.unwrap();
        let tcp = TcpStream::connect(client.server.address()).await.unwrap();
        let url = answer["data"]["URL"].as_str().unwrap();
        sockets.push(tokio_tungstenite::client_async(url, tcp).await.unwrap().0);
        apps.push(app.app_id);
    }
    for app in &apps {
        client.simulator.push(app, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    }
    for socket in &mut sockets {
        frame(socket).await;
    }
    assert!(apps.iter().all(|app| client.simulator.counters(app).unwrap().open == 1));
}

/// Every control call does what its row says; wrong ones say why.
#[tokio::test]
async fn the_control_interface_reaches_everything() {
    let client = Client::new();
    let app = client.app.app_id.clone();
    let control = |path: String, body: Value| {
        let address = client.server.address();
        async move { call(address, "POST", &format!("/_simulator/{path}"), "", &body).await.unwrap() }
    };
    let on = |deed: &str| format!("apps/{app}/{deed}");
    let endings = [
        ("drop", json!({ "code": 1012, "reason": "restart" }), Some(1012)),
        ("drop", json!({}), None),
        ("reset", json!({}), None),
    ];
    for (deed, body, code) in endings {
        let mut socket = client.connect().await;
        assert_eq!(control(on(deed), body).await, (200, json!({ "connections": 1 })));
        let ended = timeout(LONG, socket.next()).await.unwrap();
        match (ended, code) {
            (Some(Ok(Message::Close(Some(close)))), Some(code)) => assert_eq!(u16::from(close.code), code),
            (None | Some(Err(_)), None) => {}
            other => panic!("{deed}: {other:?}"),
        }
        client.until_open(0).await;
    }
    let mut socket = client.connect().await;
    assert_eq!(control(on("black_hole"), json!({})).await.1["connections"], 1);
    assert!(client.simulator.connections(&app).unwrap()[0].black_hole);
    assert!(timeout(SHORT, socket.next()).await.is_err());
    drop(socket);
    client.until_open(0).await;

    let mut socket = client.connect().await;
    assert_eq!(control(on("inject"), json!("server_ping")).await.1["connections"], 1);
    assert_eq!(frame(&mut socket).await.header("type"), Some("ping"));
    assert_eq!(control(on("inject"), json!("web_socket_ping")).await.1["connections"], 1);
    assert!(matches!(timeout(LONG, socket.next()).await.unwrap(), Some(Ok(Message::Ping(_)))));
    socket.send(client.ping()).await.unwrap();
    assert_eq!(frame(&mut socket).await.header("type"), Some("pong"));
    assert_eq!(client.simulator.counters(&app).unwrap().websocket_pongs, 1);

    let raw = json!({ "schema": "2.0", "header": { "event_id": "e-1" } });
    assert_eq!(control(on("push_raw"), raw.clone()).await.1["event_id"], "e-1");
    assert_eq!(frame(&mut socket).await.payload.unwrap(), raw.to_string().into_bytes());

    assert_eq!(control("people".to_owned(), json!({ "name": "A", "union_id": "on_a" })).await.0, 200);
    let push = json!({ "chat_id": "oc_1", "chat_type": "group", "user": "on_a", "text": "hi", "mentioned": ["all"] });
    let (_, pushed) = control("push".to_owned(), json!({ "apps": [app], "push": push })).await;
    let event: Value = serde_json::from_slice(&frame(&mut socket).await.payload.unwrap()).unwrap();
    assert_eq!(event["event"]["sender"]["sender_id"]["union_id"], "on_a");
    let message_id = pushed[0]["message_id"].clone();
    let (_, again) = control(on("push_again"), json!({ "message_id": message_id })).await;
    let event: Value = serde_json::from_slice(&frame(&mut socket).await.payload.unwrap()).unwrap();
    assert_eq!(
        (&event["header"]["event_id"], &event["event"]["message"]["message_id"]),
        (&again["event_id"], &message_id)
    );
    control(on("report"), json!({ "recalled": { "message_id": message_id } })).await;
    let event: Value = serde_json::from_slice(&frame(&mut socket).await.payload.unwrap()).unwrap();
    assert_eq!(event["header"]["event_type"], "im.message.recalled_v1");

    let token = client.token().await;
    let send = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    let say = |chat: &str| json!({ "receive_id": chat, "msg_type": "text", "content": "{\"text\":\"a\"}" });
    let code = |chat: &'static str| {
        let (client, token) = (&client, token.clone());
        async move { client.call("POST", send, &token, &say(chat)).await.unwrap().1["code"].clone() }
    };
    assert_eq!(code("oc_2").await, 230_002);
    control(on("chats"), json!({ "chat_id": "oc_2", "chat_type": "group" })).await;
    assert_eq!(code("oc_2").await, 0);
    control("rates".to_owned(), json!({ "group_per_second": 1 })).await;
    assert_eq!([code("oc_2").await, code("oc_2").await], [json!(0), json!(230_020)]);
    control("rates".to_owned(), Value::Null).await;
    assert_eq!(code("oc_2").await, 0);
    control(on("chats"), json!({ "chat_id": "oc_2", "leave": true })).await;
    assert_eq!(code("oc_2").await, 230_002);
    control(on("revoke"), json!({})).await;
    assert_eq!(code("oc_1").await, 99_991_663);

    control(on("connection_limit"), json!({ "connections": 1, "refused_at": "endpoint" })).await;
    let body = json!({ "AppID": app, "AppSecret": client.app.app_secret });
    let (_, refused) = client.call("POST", "/callback/ws/endpoint", "", &body).await.unwrap();
    assert_eq!(refused["code"], 1_000_040_350);
    let (_, key) = control("resources".to_owned(), json!({ "kind": "file", "name": "a", "text": "x" })).await;
    assert!(key["key"].as_str().unwrap().starts_with("file_"));
    assert_eq!(control("retain".to_owned(), json!({ "retain": 1 })).await.0, 200);
    let (_, state) = client.call("GET", "/_simulator/state", "", &Value::Null).await.unwrap();
    assert_eq!(state["visible"].as_array().unwrap().len(), 1);
    assert_eq!(state["forgotten"]["visible"], 2);

    let wrong = [
        ("nonsense".to_owned(), json!({}), 404),
        (on("nonsense"), json!({}), 404),
        ("apps/cli_none/reset".to_owned(), json!({}), 404),
        (on("report"), json!({ "nonsense": {} }), 400),
        ("retain".to_owned(), json!({ "retain": "all" }), 400),
        ("rates".to_owned(), json!({ "per_hour": 1 }), 400),
    ];
    for (path, body, status) in wrong {
        let (got, answer) = control(path.clone(), body).await;
        assert_eq!((got, answer["error"].is_string()), (status, true), "{path}");
    }
}

/// Images and files travel byte for byte, and no call is cut off before its limit (§3.4).
#[tokio::test]
async fn files_go_up_and_come_down_over_sockets() {
    let client = Client::new();
    let token = client.token().await;
    let upload = async |size: usize| {
        let tcp = TcpStream::connect(client.server.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        let field = "--b\r\nContent-Disposition: form-data; name=";
        let mut body = format!(
            "{field}\"file_type\"\r\n\r\nstream\r\n{field}\"file_name\"\r\n\r\na\r\n{field}\"file\"\r\n\r\n"
        )
        .into_bytes();
        body.resize(body.len() + size, 0xff);
        body.extend(b"\r\n--b--\r\n");
        let request = http::Request::builder()
            .method("POST")
            .uri("/open-apis/im/v1/files")
            .header("host", "x")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let exchange = async {
            let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
            serde_json::from_slice::<Value>(&body.to_bytes()).unwrap()
        };
        tokio::select! {
            answer = exchange => answer,
            ended = connection => panic!("{ended:?}"),
        }
    };
    for (size, code) in [(30 << 20, 0), ((30 << 20) + 1, 234_006)] {
        assert_eq!(upload(size).await["code"], code, "{size} bytes");
    }
}
