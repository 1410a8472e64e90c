use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use moorline_channel::{HttpRequest, Network, NetworkError, NetworkErrorKind};
use moorline_core::UserId;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::*;
use crate::memory;

mod answers;
mod calls;
mod logins;
mod media;
mod polls;
mod sends;
mod sessions;
mod sockets;

const ALICE: &str = "alice@im.wechat";

/// A client as plain as can be: one bot, and a call at a time.
struct Client {
    simulator: Simulator,
    network: Network,
    bot: Bot,
    uin: std::cell::Cell<u32>,
}

impl Client {
    fn new() -> Self {
        let simulator = Simulator::new(3);
        let bot = simulator.add_bot(NewBot::default());
        let network = memory::network(&simulator);
        Self { simulator, network, bot, uin: Default::default() }
    }

    fn id(&self) -> &BotId {
        &self.bot.bot_id
    }

    fn headers(&self) -> HeaderMap {
        use base64::Engine;
        self.uin.set(self.uin.get() + 1);
        let uin = base64::engine::general_purpose::STANDARD.encode(self.uin.get().to_string());
        let mut headers = HeaderMap::new();
        let pairs = [
            ("content-type", "application/json".to_owned()),
            ("authorizationtype", "ilink_bot_token".to_owned()),
            ("authorization", format!("Bearer {}", self.bot.token)),
            ("x-wechat-uin", uin),
            ("ilink-app-id", "bot".to_owned()),
            ("ilink-app-clientversion", "132105".to_owned()),
        ];
        for (name, value) in pairs {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn request(&self, path: &str, mut body: Value) -> HttpRequest {
        body["base_info"] = json!({ "channel_version": "2.4.9", "bot_agent": "Test/1" });
        let url = Url::parse(&format!("https://weixin.test/ilink/bot/{path}")).unwrap();
        let mut request = HttpRequest::new(Method::POST, url);
        request.headers = self.headers();
        request.body = body.to_string().into();
        request.deadline = Duration::from_secs(45);
        request
    }

    async fn raw(&self, request: HttpRequest) -> Result<(u16, Bytes), NetworkError> {
        self.network.http.call(request).await.map(|response| (response.status.as_u16(), response.body))
    }

    async fn call(&self, path: &str, body: Value) -> Result<Value, NetworkError> {
        let (_, body) = self.raw(self.request(path, body)).await?;
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn poll(&self, cursor: &str) -> Result<Value, NetworkError> {
        self.call("getupdates", json!({ "get_updates_buf": cursor })).await
    }

    async fn send(&self, text: &str, token: &str, client_id: &str) -> Value {
        self.call("sendmessage", message(text, token, client_id)).await.unwrap()
    }

    fn push(&self, text: &str) -> Pushed {
        self.simulator.push(self.id(), NewMessage::text(ALICE, text)).unwrap()
    }

    fn breaches(&self) -> Vec<Breach> {
        self.simulator.read_ledger(|ledger| ledger.violations().map(|violation| violation.breach).collect())
    }
}

fn message(text: &str, token: &str, client_id: &str) -> Value {
    json!({ "msg": {
        "from_user_id": "",
        "to_user_id": ALICE,
        "client_id": client_id,
        "message_type": 2,
        "message_state": 2,
        "context_token": token,
        "item_list": [{ "type": 1, "text_item": { "text": text } }],
    }})
}

fn texts(answer: &Value) -> Vec<&str> {
    let messages = answer["msgs"].as_array().unwrap().iter();
    messages.map(|message| message["item_list"][0]["text_item"]["text"].as_str().unwrap_or("-")).collect()
}
