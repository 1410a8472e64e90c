use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Method, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::Simulator;
use crate::feishu::{Answer, App, Cut, Fault, Frame, HandshakeFault, Header, Lost, NewApp, Push, Times};

const TOKEN: &str = "/open-apis/auth/v3/tenant_access_token/internal";

/// A client as plain as can be.
struct Client {
    network: Network,
    app: App,
}

impl Client {
    fn new(simulator: &Simulator) -> Self {
        Self { network: network(simulator), app: simulator.add_app(NewApp::named("Bot")) }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> Result<Value, NetworkError> {
        let url = Url::parse("https://open.feishu.cn").unwrap().join(path).unwrap();
        let mut request = HttpRequest::new(method, url);
        request.body = body.to_string().into();
        if !token.is_empty() {
            request.headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let response = self.network.http.call(request).await?;
        Ok(serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    }

    async fn connect(&self) -> Result<BoxSocket, HandshakeError> {
        let body = json!({ "AppID": self.app.app_id, "AppSecret": self.app.app_secret });
        let answer = self.call(Method::POST, "/callback/ws/endpoint", "", body).await?;
        let url = answer["data"]["URL"].as_str().unwrap().parse::<Url>().unwrap();
        assert_eq!((url.scheme(), url.host_str()), ("wss", Some("open.feishu.cn")));
        let (headers, deadline) = (HeaderMap::new(), Duration::from_secs(10));
        let request = WebSocketRequest { url, headers, deadline, message_limit: 1 << 20 };
        self.network.websocket.open(request).await
    }

    async fn token(&self) -> String {
        let body = json!({ "app_id": self.app.app_id, "app_secret": self.app.app_secret });
        let answer = self.call(Method::POST, TOKEN, "", body).await.unwrap();
        answer["tenant_access_token"].as_str().unwrap().to_owned()
    }

    fn ping(&self) -> Message {
        Message::Binary(Frame::control(self.app.service_id, "ping", None).encode().into())
    }
}

async fn frame(socket: &mut BoxSocket) -> Frame {
    match socket.next().await {
        Some(Ok(Message::Binary(bytes))) => Frame::decode(&bytes).unwrap(),
        other => panic!("no frame: {other:?}"),
    }
}

fn ack(mut frame: Frame) -> Message {
    frame.headers.push(Header::new("biz_rt", "1"));
    frame.payload = Some(b"{\"code\":200}".to_vec());
    Message::Binary(frame.encode().into())
}

#[tokio::test(start_paused = true)]
async fn a_client_connects_receives_acks_and_answers() {
    let simulator = Simulator::new(3);
    let client = Client::new(&simulator);
    let mut socket = client.connect().await.unwrap();
    socket.send(client.ping()).await.unwrap();
    assert_eq!(frame(&mut socket).await.header("type"), Some("pong"));

    let pushed = simulator.push(&client.app.app_id, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    let first = frame(&mut socket).await;
    let start = Instant::now();
    let again = frame(&mut socket).await;
    assert_eq!(start.elapsed().as_secs(), 18, "3 s of budget and the first rung");
    assert_eq!(first.payload, again.payload);
    socket.send(ack(again)).await.unwrap();

    let token = client.token().await;
    let info = client.call(Method::GET, "/open-apis/bot/v3/info", &token, Value::Null).await.unwrap();
    assert_eq!(info["bot"]["open_id"], client.app.bot_open_id.as_str());
    let body =
        json!({ "receive_id": "oc_1", "msg_type": "text", "content": "{\"text\":\"a\"}", "uuid": "1" });
    let send = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    assert_eq!(client.call(Method::POST, send, &token, body.clone()).await.unwrap()["code"], 0);
    let reply = format!("/open-apis/im/v1/messages/{}/reply", pushed.message_id);
    let mut body = body;
    body["uuid"] = json!("2");
    assert_eq!(client.call(Method::POST, &reply, &token, body).await.unwrap()["code"], 0);

    let ledger = simulator.ledger();
    assert_eq!(ledger.acked().count(), 1);
    assert_eq!(ledger.event(&pushed.event_id).unwrap().deliveries.len(), 2);
    assert_eq!(ledger.visible().len(), 2);
    assert_eq!(ledger.replies_to(&pushed.message_id).count(), 1);
    drop(socket);
    let counters = simulator.counters(&client.app.app_id).unwrap();
    assert_eq!((counters.open, counters.max_open, counters.pings), (0, 1, 1));
}

/// F-023, F-027: a hang ends at the caller's deadline, and with the kind that says so.
#[tokio::test(start_paused = true)]
async fn hangs_end_at_the_deadline_of_the_caller() {
    let simulator = Simulator::new(3);
    let client = Client::new(&simulator);
    let app = &client.app.app_id;
    simulator.set_fault(app, Fault::Endpoint(Answer::Hang), Times::Count(1)).unwrap();
    simulator.set_fault(app, Fault::Handshake(HandshakeFault::Hang), Times::Count(1)).unwrap();
    for seconds in [15, 10] {
        let start = Instant::now();
        match client.connect().await.err() {
            Some(HandshakeError::Network(error)) => assert_eq!(error.kind, NetworkErrorKind::Timeout),
            other => panic!("{other:?}"),
        }
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    simulator.set_reach(Reach::Hangs);
    assert_eq!(
        client.call(Method::POST, TOKEN, "", json!({})).await.unwrap_err().kind,
        NetworkErrorKind::Timeout
    );
    simulator.set_reach(Reach::Refused);
    assert_eq!(
        client.call(Method::POST, TOKEN, "", json!({})).await.unwrap_err().kind,
        NetworkErrorKind::Connect
    );
    simulator.set_reach(Reach::Open);
    assert!(client.connect().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn connections_end_as_told() {
    let simulator = Simulator::new(3);
    let client = Client::new(&simulator);
    let app = &client.app.app_id;
    for cut in [Cut::Fin, Cut::Reset] {
        let mut socket = client.connect().await.unwrap();
        assert_eq!(simulator.drop_connections(app, &cut), Ok(1));
        assert_eq!(socket.next().await.unwrap().unwrap_err().kind, NetworkErrorKind::Reset, "{cut:?}");
        assert!(socket.send(client.ping()).await.is_err());
    }
    let mut socket = client.connect().await.unwrap();
    simulator.drop_connections(app, &Cut::Close { code: 1012, reason: "restart".to_owned() }).unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(Some(Close { code: 1012, .. }))))));
    assert!(socket.next().await.is_none());
}

/// F-019: a black hole takes everything and gives nothing, and steals events until it is closed.
#[tokio::test(start_paused = true)]
async fn a_black_hole_is_silent_and_steals_until_it_is_closed() {
    let simulator = Simulator::new(3);
    let client = Client::new(&simulator);
    let app = &client.app.app_id;
    let mut hole = client.connect().await.unwrap();
    simulator.drop_connections(app, &Cut::BlackHole).unwrap();
    hole.send(client.ping()).await.unwrap();
    hole.send(Message::Ping(Bytes::new())).await.unwrap();
    simulator.push(app, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    assert!(timeout(Duration::from_secs(60), hole.next()).await.is_err());
    assert_eq!(simulator.counters(app).unwrap().open, 1);
    drop(hole);
    assert_eq!(simulator.counters(app).unwrap().open, 0);
    let mut socket = client.connect().await.unwrap();
    assert!(frame(&mut socket).await.header("message_id").is_some());
}

/// F-056: the message is there, and the caller cannot know.
#[tokio::test(start_paused = true)]
async fn a_send_can_take_effect_without_an_answer() {
    let simulator = Simulator::new(3);
    let client = Client::new(&simulator);
    let app = &client.app.app_id;
    simulator.push(app, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    let token = client.token().await;
    let body =
        json!({ "receive_id": "oc_1", "msg_type": "text", "content": "{\"text\":\"a\"}", "uuid": "1" });
    let send = "/open-apis/im/v1/messages?receive_id_type=chat_id";
    for (lost, kind) in [(Lost::Reset, NetworkErrorKind::Reset), (Lost::Hang, NetworkErrorKind::Timeout)] {
        simulator.set_fault(app, Fault::LoseSendAnswer(lost), Times::Count(1)).unwrap();
        let error = client.call(Method::POST, send, &token, body.clone()).await.unwrap_err();
        assert_eq!(error.kind, kind);
    }
    assert_eq!(simulator.ledger().visible().len(), 1);
}

/// One runtime, two platforms: each is found under its own hosts, and one that is away is away alone.
#[tokio::test(start_paused = true)]
async fn a_router_has_several_platforms_by_host() {
    let feishu = Simulator::new(3);
    let weixin = crate::weixin::Simulator::new(3);
    let network = Router::new()
        .route("open.feishu.cn", &feishu)
        .route("ilinkai.weixin.qq.com", &weixin)
        .route("novac2c.cdn.weixin.qq.com", &weixin)
        .network();
    let client = Client { network: network.clone(), app: feishu.add_app(NewApp::named("Bot")) };
    let mut socket = client.connect().await.unwrap();
    let status = async |address: &str| {
        let outcome = network.http.call(HttpRequest::new(Method::GET, Url::parse(address).unwrap())).await;
        outcome.map(|response| response.status.as_u16()).map_err(|error| error.kind)
    };
    assert_eq!(
        status("https://novac2c.cdn.weixin.qq.com/c2c/download?encrypted_query_param=x").await,
        Ok(404)
    );
    weixin.set_reach(Reach::Refused);
    assert_eq!(status("https://ilinkai.weixin.qq.com/").await, Err(NetworkErrorKind::Connect));
    assert_eq!(status("https://elsewhere.test/").await, Err(NetworkErrorKind::Connect));
    feishu.push(&client.app.app_id, Push::direct("oc_1", "ou_alice", "hi")).unwrap();
    assert!(frame(&mut socket).await.header("message_id").is_some());
    assert_eq!(weixin.ledger().calls().count(), 1);
}
