//! The steps every client is taken through, in order. A step is over when both ledgers show what it expects.

use std::time::Duration;

use anyhow::{bail, ensure};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{
    Answer, ChatType, Counters, Cut, Fault, HandshakeFault, Push, Pushed, Split, Times,
};
use moorline_tests::process::pause;
use tokio::time::Instant;

use crate::book::{Book, Expected, Message};
use crate::client::{Client, Kind, Unknown, text_for};
use crate::{LADDER, PING_INTERVAL};

/// A step: its name, and what it does.
type Step = (&'static str, fn(&mut Flow) -> anyhow::Result<()>);

/// All of them, in order.
pub(crate) const STEPS: [Step; 15] = [
    ("connects", Flow::connects),
    ("token, bot info", Flow::identifies_itself),
    ("pings, ClientConfig", Flow::pings),
    ("direct message", Flow::direct),
    ("group message", Flow::group),
    ("in 3 parts", Flow::parts),
    ("delivered twice", Flow::twice),
    ("redelivered", Flow::again),
    ("plain send", Flow::sends),
    ("unknown event", Flow::unknown),
    ("close 1000", Flow::close),
    ("FIN", Flow::fin),
    ("RST", Flow::reset),
    ("refused, message waits", Flow::refused),
    ("ends", Flow::ends),
];

/// How long anything may take. An SDK that was just installed takes seconds to load.
const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A type no client has a handler for.
const UNKNOWN_TYPE: &str = "im.message.unheard_of_v1";

/// One client on its way through the steps.
pub(crate) struct Flow {
    simulator: Simulator,
    client: Client,
    book: Book,
    first_ping: Instant,
}

/// How it went.
pub(crate) struct Outcome {
    /// Whose.
    pub(crate) name: &'static str,
    /// How long each step took, and why it failed; fewer than there are steps after a failure.
    pub(crate) steps: Vec<(Duration, Result<(), String>)>,
    pub(crate) book: Book,
    pub(crate) counters: Counters,
}

impl Flow {
    pub(crate) fn new(simulator: Simulator, client: Client) -> Self {
        let book = Book::new(client.app.app_id.clone());
        Self { simulator, client, book, first_ping: Instant::now() }
    }

    /// Takes the steps up to the first that fails.
    pub(crate) fn run(mut self) -> Outcome {
        let mut steps = Vec::new();
        for (_, step) in STEPS {
            let began = Instant::now();
            let result = step(&mut self).map_err(|error| format!("{error:#}\n{}", self.client.log_tail()));
            let failed = result.is_err();
            steps.push((began.elapsed(), result));
            if failed {
                break;
            }
        }
        let counters = self.counters();
        Outcome { name: self.client.kind.name(), steps, book: self.book, counters }
    }

    fn connects(&mut self) -> anyhow::Result<()> {
        self.client.start()?;
        self.until("connected, first ping", |flow| flow.counters().open == 1 && flow.counters().pings == 1)?;
        self.first_ping = Instant::now();
        Ok(())
    }

    fn identifies_itself(&mut self) -> anyhow::Result<()> {
        self.until("token and bot info", |flow| {
            let counters = flow.counters();
            counters.token_requests == 1 && counters.bot_info_requests >= 1
        })
    }

    /// The first wait is the endpoint's word, later ones the pong's.
    fn pings(&mut self) -> anyhow::Result<()> {
        let (endpoint, pong) = PING_INTERVAL;
        let mut last = self.first_ping;
        for n in 2.. {
            self.until("a ping", |flow| flow.counters().pings >= n)?;
            let wait = std::mem::replace(&mut last, Instant::now()).elapsed();
            if n == 2 {
                let least = Duration::from_millis(endpoint * 1_000 - 500);
                ensure!(
                    wait >= least,
                    "the second ping came after {wait:?}, before the endpoint's {endpoint} s"
                );
            } else if wait < Duration::from_millis(pong * 1_000 + 1_000) {
                break;
            }
            ensure!(n < 5, "still {wait:?} between pings: the pong's ClientConfig was not taken");
        }
        Ok(())
    }

    fn direct(&mut self) -> anyhow::Result<()> {
        self.converse("direct message", "hello")
    }

    /// One that mentions the bot is answered; one that does not is acked, and that is all.
    fn group(&mut self) -> anyhow::Result<()> {
        let chat = format!("oc_group_{}", self.client.kind.name());
        let mention = Push::group(chat.as_str(), "ou_bob", "hello, all").mentioning_bot();
        let pushed = self.push(&mention)?;
        self.answered("group message", &mention, &pushed, 1)?;
        let pushed = self.push(&Push::group(chat.as_str(), "ou_bob", "not for you"))?;
        self.settled(Expected::acked("group message without mention", pushed.event_id))
    }

    /// Cut without regard for UTF-8, and the first part comes second.
    fn parts(&mut self) -> anyhow::Result<()> {
        let split = Split { parts: 3, order: vec![2, 0, 1], missing: None };
        self.fault(Fault::Split(split))?;
        self.converse("message in parts", &"嗨，你好！🦀".repeat(40))
    }

    fn twice(&mut self) -> anyhow::Result<()> {
        self.fault(Fault::Duplicate)?;
        let push = self.direct_push("one and the same");
        let pushed = self.push(&push)?;
        self.answered("message delivered twice at once", &push, &pushed, 2)
    }

    /// Acked, and pushed again as if it had not been.
    fn again(&mut self) -> anyhow::Result<()> {
        self.fault(Fault::RedeliverAcked)?;
        let push = self.direct_push("once more");
        let pushed = self.push(&push)?;
        self.answered("message redelivered after its ack", &push, &pushed, 2)
    }

    fn sends(&mut self) -> anyhow::Result<()> {
        let (chat, text) = (self.direct_push("").chat_id, "out of the blue");
        let asked = if self.client.send(&chat, text)? {
            None
        } else {
            Some(self.push(&self.direct_push(&format!("/send {text}")))?)
        };
        self.visible(Message { chat, text: text.to_owned(), reply_to: None })?;
        match asked {
            Some(pushed) => self.settled(Expected::acked("message that asks for a send", pushed.event_id)),
            None => Ok(()),
        }
    }

    fn unknown(&mut self) -> anyhow::Result<()> {
        let push = Push { event_type: Some(UNKNOWN_TYPE.to_owned()), ..self.direct_push("what is this?") };
        let pushed = self.push(&push)?;
        let acked = Expected::acked("unknown event type", pushed.event_id);
        self.settled(match self.client.kind.unknown() {
            Unknown::Acked => acked,
            Unknown::AckedWithText => Expected { answer: Some(text_for(UNKNOWN_TYPE)), ..acked },
            Unknown::Refused => Expected { acked: false, deliveries: 1 + LADDER.len(), ..acked },
        })
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.cut("message after close 1000", &Cut::Close { code: 1000, reason: "bye".to_owned() })
    }

    fn fin(&mut self) -> anyhow::Result<()> {
        self.cut("message after FIN", &Cut::Fin)
    }

    fn reset(&mut self) -> anyhow::Result<()> {
        self.cut("message after RST", &Cut::Reset)
    }

    /// Cut, then refused by the endpoint and by the handshake; meanwhile a message waits.
    fn refused(&mut self) -> anyhow::Result<()> {
        let before = self.counters();
        self.fault(Fault::Endpoint(Answer::Status(503)))?;
        let refusal = HandshakeFault::Refuse { status: 400, handshake_status: Some(514), auth_code: Some(1) };
        self.fault(Fault::Handshake(refusal))?;
        self.simulator.drop_connections(&self.client.app.app_id, &Cut::Reset)?;
        let push = self.direct_push("are you there?");
        let pushed = self.push(&push)?;
        self.back(before.opened)?;
        let now = self.counters();
        let calls = (now.endpoint_calls - before.endpoint_calls, now.handshakes - before.handshakes);
        ensure!(calls == (3, 2), "3 endpoint calls and 2 handshakes were expected, there were {calls:?}");
        self.visible(self.reply(&push, &pushed))?;
        // It comes together with the 101, so the Node SDK may take it only the second time.
        self.settled(Expected { lossy: true, ..Expected::acked("message that waited", pushed.event_id) })
    }

    fn ends(&mut self) -> anyhow::Result<()> {
        self.client.check()?;
        self.client.stop()?;
        let began = Instant::now();
        while self.counters().open != 0 {
            ensure!(began.elapsed() < LIMIT, "its connection is still open");
            pause(LOOK_EVERY);
        }
        Ok(())
    }

    /// Ends the connection like this, waits for the next, and has a conversation on it.
    fn cut(&mut self, what: &'static str, cut: &Cut) -> anyhow::Result<()> {
        let opened = self.counters().opened;
        self.simulator.drop_connections(&self.client.app.app_id, cut)?;
        self.back(opened)?;
        self.converse(what, what)
    }

    /// Connected again and pinging: the Node SDK drops what comes together with the 101, before it listens.
    fn back(&mut self, opened: u64) -> anyhow::Result<()> {
        self.until("reconnected, first ping", |flow| {
            let connections = flow.simulator.connections(&flow.client.app.app_id).unwrap_or_default();
            flow.counters().opened == opened + 1
                && connections.len() == 1
                && connections.iter().all(|c| c.pings > 0)
        })
    }

    /// A direct message and its answer.
    fn converse(&mut self, what: &'static str, text: &str) -> anyhow::Result<()> {
        let push = self.direct_push(text);
        let pushed = self.push(&push)?;
        self.answered(what, &push, &pushed, 1)
    }

    fn answered(
        &mut self,
        what: &'static str,
        push: &Push,
        pushed: &Pushed,
        deliveries: usize,
    ) -> anyhow::Result<()> {
        self.visible(self.reply(push, pushed))?;
        self.settled(Expected { deliveries, ..Expected::acked(what, pushed.event_id.clone()) })
    }

    /// The answer to a message: its text, with names for mentions. Our own binary does not quote in direct chats, where
    /// there is nobody else.
    fn reply(&self, push: &Push, pushed: &Pushed) -> Message {
        let quotes = self.client.kind != Kind::Moorline || push.chat_type == ChatType::Group;
        let reply_to = quotes.then(|| pushed.message_id.clone());
        let mention =
            if push.mentions_bot { format!("@{} ", self.client.app.bot_name) } else { String::new() };
        Message { chat: push.chat_id.clone(), text: mention + &push.text, reply_to }
    }

    /// Notes a message that has to appear, and waits for it.
    fn visible(&mut self, message: Message) -> anyhow::Result<()> {
        let what = format!("visible: {message:?}");
        self.book.messages.push(message);
        self.until(&what, |flow| {
            let message = flow.book.messages.last();
            flow.simulator.read_ledger(|l| l.visible().iter().any(|v| message.is_some_and(|m| m.is(v))))
        })
    }

    /// Notes how an event has to end, and waits for it.
    fn settled(&mut self, expected: Expected) -> anyhow::Result<()> {
        let (what, event) = (format!("settled: {}", expected.what), expected.event.clone());
        self.book.events.push(expected);
        let difference = |flow: &Self| {
            let expected = flow.book.events.last()?;
            flow.simulator.read_ledger(|ledger| match ledger.event(&event) {
                Some(record) => expected.difference(record),
                None => Some("not in the ledger".to_owned()),
            })
        };
        let result = self.until(&what, |flow| difference(flow).is_none());
        result.map_err(|error| error.context(difference(self).unwrap_or_default()))
    }

    fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !condition(self) {
            self.client.check()?;
            if began.elapsed() > LIMIT {
                bail!("not within {LIMIT:?}: {what}; {:?}", self.counters());
            }
            pause(LOOK_EVERY);
        }
        Ok(())
    }

    fn direct_push(&self, text: &str) -> Push {
        Push::direct(format!("oc_alice_{}", self.client.kind.name()), "ou_alice", text)
    }

    fn push(&self, push: &Push) -> anyhow::Result<Pushed> {
        Ok(self.simulator.push(&self.client.app.app_id, push.clone())?)
    }

    fn fault(&self, fault: Fault) -> anyhow::Result<()> {
        Ok(self.simulator.set_fault(&self.client.app.app_id, fault, Times::Count(1))?)
    }

    fn counters(&self) -> Counters {
        // The app is there: `main` added it.
        self.simulator.counters(&self.client.app.app_id).unwrap_or_default()
    }
}
