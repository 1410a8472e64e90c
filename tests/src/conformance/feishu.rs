//! Feishu on the conformance stage (`protocols/feishu.md`, docs/feishu.md).

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use moorline_channel::{Factory, Network};
use moorline_core::{ChatId, EventId, FailureClass, UserId};
use moorline_feishu::Feishu;
use moorline_simulator::feishu::{
    Answer, App, AppId, ChatType, Cut, Fault, HandshakeFault, Lost, NewApp, OddFrame, Push, Reach,
    Redelivery, Split, Times,
};
use moorline_simulator::server::{Options, Server};
use moorline_simulator::{Simulator, memory};

use super::stage::{Fate, Harm, MessageRef, NotApplicable, Opening, Pace, Phase, Silence, Stage};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any message the channel takes (`MESSAGE_LIMIT` there is 2 MiB).
const OVERSIZED: usize = 8 << 20;

/// A frame or an event of each kind that no client should choke on, the connection being none the worse for it.
const ODD: [OddFrame; 16] = [
    OddFrame::Truncated,
    OddFrame::MissingRequired,
    OddFrame::WrongWireType,
    OddFrame::Text,
    OddFrame::Empty,
    OddFrame::UnknownMethod,
    OddFrame::UnknownType,
    OddFrame::CardType,
    OddFrame::ServerPing,
    OddFrame::WebSocketPing,
    OddFrame::NotJson,
    OddFrame::NoHeader,
    OddFrame::SumZero,
    OddFrame::SeqBeyondSum,
    OddFrame::SumChanges,
    OddFrame::SumNotNumber,
];

/// The platform, with an app for each account.
pub struct FeishuStage {
    simulator: Simulator,
    apps: Vec<App>,
    pace: Pace,
    server: Option<Server>,
    /// What was done that the simulator does not count as a fault.
    done: Cell<u64>,
}

/// A fresh platform.
#[must_use]
pub fn open(opening: &Opening) -> Box<dyn Stage> {
    let simulator = Simulator::new(opening.seed);
    if opening.pace == Pace::Quick {
        // What was not acknowledged comes again every second, for a minute.
        let ladder = vec![SECOND; 60];
        simulator.set_redelivery(Redelivery { ack_budget: SECOND, ladder, ..Redelivery::default() });
    }
    let apps = (0..opening.accounts).map(|n| simulator.add_app(app(n, ""))).collect();
    Box::new(FeishuStage { simulator, apps, pace: opening.pace, server: None, done: Cell::new(0) })
}

/// The app of an account, with another secret than its own if there is a suffix.
fn app(n: usize, suffix: &str) -> NewApp {
    let id = format!("cli_{n:016x}");
    NewApp {
        bot_open_id: Some(UserId::new(format!("ou_bot_{n}"))),
        ..NewApp::named(format!("Bot {n}")).with_credentials(id, format!("secret-of-a{n}{suffix}"))
    }
}

impl FeishuStage {
    fn app(&self, n: usize) -> &AppId {
        &self.apps[n].app_id
    }

    fn fault(&self, n: usize, fault: Fault) {
        self.simulator.set_fault(self.app(n), fault, Times::UntilCleared).unwrap();
    }

    /// A fault of connecting, met by the next connection.
    fn fault_of_connecting(&self, n: usize, fault: Fault) {
        self.fault(n, fault);
        self.cut(n, &Cut::Reset);
    }

    fn cut(&self, n: usize, cut: &Cut) {
        self.simulator.drop_connections(self.app(n), cut).unwrap();
    }

    fn did(&self) {
        self.done.set(self.done.get() + 1);
    }

    fn refuse(&self, n: usize, class: FailureClass) -> Result<(), NotApplicable> {
        let code = |code| Answer::Code { status: 200, code };
        let answer = match class {
            FailureClass::Transient => Answer::Status(503),
            FailureClass::Throttled => Answer::RateLimited { reset: 2 },
            FailureClass::Conflict => code(1_000_040_350),
            FailureClass::Credentials => code(1_000_040_345),
            FailureClass::Permission => code(403),
            FailureClass::Protocol => Answer::Garbage,
            FailureClass::SessionExpired => {
                return NotApplicable::because("a connection needs no session");
            }
            FailureClass::NeedsLogin => return NotApplicable::because("an app secret needs no login"),
            FailureClass::Rejected | FailureClass::AwaitsUser => {
                return NotApplicable::because("is about messages, not connections");
            }
        };
        self.fault_of_connecting(n, Fault::Endpoint(answer));
        Ok(())
    }

    fn refuse_sends(&self, n: usize, class: FailureClass) -> Result<(), NotApplicable> {
        let code = |code| Answer::Code { status: 400, code };
        let answer = match class {
            FailureClass::Transient => Answer::Status(502),
            FailureClass::Throttled => Answer::RateLimited { reset: 1 },
            FailureClass::SessionExpired => code(99_991_663),
            FailureClass::Permission => code(230_027),
            FailureClass::Protocol => Answer::Garbage,
            FailureClass::Rejected => code(230_001),
            FailureClass::Credentials => {
                return NotApplicable::because("credentials are judged by the token call");
            }
            FailureClass::Conflict => return NotApplicable::because("any number of senders"),
            FailureClass::NeedsLogin => return NotApplicable::because("an app secret needs no login"),
            FailureClass::AwaitsUser => return NotApplicable::because("a bot may write at any time"),
        };
        self.fault(n, Fault::Send(answer));
        Ok(())
    }

    fn hang(&self, n: usize, phase: Phase) {
        match phase {
            Phase::Prelude => self.fault_of_connecting(n, Fault::Endpoint(Answer::Hang)),
            Phase::Opening => self.fault_of_connecting(n, Fault::Handshake(HandshakeFault::Hang)),
            Phase::SignOfLife => self.fault_of_connecting(n, Fault::NoPong),
            Phase::Credentials => {
                self.fault(n, Fault::Token(Answer::Hang));
                self.simulator.revoke_tokens(self.app(n)).unwrap();
            }
            Phase::Identity => self.fault(n, Fault::BotInfo(Answer::Hang)),
            Phase::Send => self.fault(n, Fault::Send(Answer::Hang)),
        }
    }
}

impl Stage for FeishuStage {
    fn factory(&self) -> &'static dyn Factory {
        &Feishu
    }

    fn configuration(&self, base: &str) -> String {
        let mut text = format!("[channels.feishu]\nbase_url = \"{base}\"\n");
        if self.pace == Pace::Quick {
            text +=
                "liveness = \"2s\"\nretry = { initial = \"50ms\", max = \"400ms\", reset_after = \"60s\" }\n";
        }
        for (n, app) in self.apps.iter().enumerate() {
            let App { app_id, app_secret, .. } = app;
            let _ = write!(
                text,
                "[channels.feishu.accounts.a{n}]\napp_id = \"{app_id}\"\napp_secret = \"{app_secret}\"\n"
            );
        }
        text
    }

    fn network(&self) -> Network {
        memory::network(&self.simulator)
    }

    fn serve(&mut self) -> SocketAddr {
        let server = Server::start(&self.simulator, Options::default()).unwrap();
        self.server.insert(server).address()
    }

    fn address(&self, n: usize, user: &str) -> ChatId {
        let chat = chat(n, user);
        self.simulator.add_chat(self.app(n), chat.clone(), ChatType::P2p).unwrap();
        chat
    }

    fn user_writes(&self, n: usize, user: &str, text: &str) -> MessageRef {
        let push = Push::direct(chat(n, user).as_str(), format!("ou_{user}"), text);
        let pushed = self.simulator.push(self.app(n), push).unwrap();
        MessageRef(pushed.event_id.as_str().to_owned())
    }

    fn fate(&self, message: &MessageRef) -> Fate {
        self.simulator.read_ledger(|ledger| {
            let event = ledger.event(&EventId::new(message.0.as_str())).unwrap();
            match (event.is_acked(), event.given_up, event.deliveries.is_empty()) {
                (true, ..) => Fate::Acknowledged,
                (false, true, _) => Fate::Gone,
                (false, false, true) => Fate::Waiting,
                (false, false, false) => Fate::HandedOut,
            }
        })
    }

    fn visible(&self, n: usize, user: &str) -> Vec<String> {
        let chat = chat(n, user);
        self.simulator.read_ledger(|ledger| ledger.visible_in(&chat).map(|m| m.text.clone()).collect())
    }

    fn most_connections(&self, n: usize) -> usize {
        self.simulator.counters(self.app(n)).unwrap().max_open
    }

    fn harm(&self, n: usize, harm: Harm) -> Result<(), NotApplicable> {
        match harm {
            Harm::Refuse(class) => return self.refuse(n, class),
            Harm::RefuseSends(class) => return self.refuse_sends(n, class),
            Harm::Hang(phase) => self.hang(n, phase),
            Harm::HalfOpen => {
                self.cut(n, &Cut::BlackHole);
                self.did();
            }
            Harm::Cut(way) => {
                let close = |code, reason: &str| Cut::Close { code, reason: reason.to_owned() };
                let ways = [close(1000, "bye"), close(1012, "service restart"), Cut::Fin, Cut::Reset];
                self.cut(n, &ways[way % ways.len()]);
                self.did();
            }
            Harm::Flap => self.fault_of_connecting(n, Fault::CutOnOpen(Cut::Reset)),
            Harm::Duplicate => {
                self.fault(n, Fault::Duplicate);
                self.fault(n, Fault::RedeliverAcked);
            }
            Harm::Reorder => {
                self.fault(n, Fault::Split(Split { parts: 3, order: vec![2, 0, 1], missing: None }));
            }
            Harm::Malformed => {
                for frame in ODD {
                    assert_eq!(self.simulator.inject(self.app(n), frame).unwrap(), 1, "{frame:?}");
                }
                let event =
                    br#"{"schema":"2.0","header":{"event_id":"odd","event_type":"im.message.receive_v1"}}"#;
                self.simulator.push_raw(self.app(n), event.as_slice()).unwrap();
                self.did();
            }
            Harm::Oversized => {
                self.simulator.inject(self.app(n), OddFrame::Oversized(OVERSIZED)).unwrap();
                self.did();
            }
            Harm::SessionExpired => {
                self.simulator.revoke_tokens(self.app(n)).unwrap();
                self.did();
            }
            Harm::Revoked => {
                self.simulator.add_app(app(n, "-as-it-is-now"));
                self.simulator.revoke_tokens(self.app(n)).unwrap();
                self.cut(n, &Cut::Reset);
                self.did();
            }
            Harm::LoseAnswers(silence) => self.fault(n, Fault::LoseSendAnswer(lost(silence))),
            Harm::Unreachable(silence) => {
                self.simulator.set_reach(match silence {
                    Silence::Refused => Reach::Refused,
                    Silence::Silent => Reach::Hangs,
                });
                for n in 0..self.apps.len() {
                    self.cut(n, &Cut::Reset);
                }
                self.did();
            }
            Harm::Forget => self.fault_of_connecting(n, Fault::Hold),
        }
        Ok(())
    }

    fn heal(&self, n: usize) {
        self.simulator.set_reach(Reach::Open);
        self.simulator.clear_faults(self.app(n)).unwrap();
        self.simulator.add_app(app(n, ""));
    }

    fn blows(&self, n: usize) -> u64 {
        let struck = self.simulator.struck(self.app(n)).unwrap();
        self.done.get() + struck.iter().map(|(_, times)| times).sum::<u64>()
    }
}

fn chat(n: usize, user: &str) -> ChatId {
    ChatId::new(format!("oc_{user}_a{n}"))
}

fn lost(silence: Silence) -> Lost {
    match silence {
        Silence::Refused => Lost::Reset,
        Silence::Silent => Lost::Hang,
    }
}
