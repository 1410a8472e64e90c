//! The driver against a scripted machine and socket, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, future};
use moorline_core::{FailureClass, Timestamp};

use super::*;
use crate::network::{Http, HttpRequest, NetworkErrorKind, WebSocket, WebSocketRequest};

mod calls;

/// Tokio's clock: follows the paused time of these tests.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::default()
    }
}

/// Opens at once, pings every 10 s, counts every binary message as life, logs what it is told.
struct Script {
    log: Rc<RefCell<Vec<String>>>,
    next_ping: Option<Monotonic>,
}

const PING: Duration = Duration::from_secs(10);

impl Connector for Script {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        self.log
            .borrow_mut()
            .push(format!("{event:?}").chars().take_while(|c| c.is_alphanumeric()).collect());
        match event {
            Event::Start => {
                let url = url::Url::parse("ws://peer/").unwrap();
                let request = WebSocketRequest {
                    url,
                    headers: http::HeaderMap::new(),
                    deadline: PING,
                    message_limit: 1 << 20,
                };
                vec![Effect::Open(request)]
            }
            Event::Opened => {
                self.next_ping = Some(now + PING);
                vec![Effect::Emit(Output::Open { connection: "c".to_owned() })]
            }
            Event::Frame(Message::Binary(_)) => vec![Effect::Emit(Output::Alive)],
            Event::Wake | Event::Probe => {
                self.next_ping = Some(now + PING);
                vec![Effect::Send(Message::Ping(Bytes::new()))]
            }
            Event::Lost(_) | Event::NotOpened(_) => vec![Effect::Finish(Some(Failure::transient("lost")))],
            Event::Stop => vec![Effect::Send(Message::Close(None)), Effect::Finish(None)],
            _ => vec![],
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        self.next_ping
    }

    fn patience(&self) -> Duration {
        PING * 2
    }
}

type Pipe = (mpsc::UnboundedSender<Message>, mpsc::UnboundedReceiver<Message>);

/// A socket whose far end is a pair of channels held by the test.
struct FakeNetwork {
    socket: RefCell<Option<Pipe>>,
}

impl Http for FakeNetwork {
    fn call(&self, _: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        Box::pin(future::pending())
    }
}

impl WebSocket for FakeNetwork {
    fn open(&self, _: WebSocketRequest) -> LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>> {
        let pipe = self.socket.borrow_mut().take();
        Box::pin(async move {
            let Some((tx, rx)) = pipe else {
                return Err(NetworkError::new(NetworkErrorKind::Connect, "peer").into());
            };
            let sink = futures_util::sink::unfold(tx, |tx, message| async move {
                drop(tx.send(message));
                Ok::<_, NetworkError>(tx)
            });
            let stream =
                futures_util::stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) });
            let joined = Joined { sink: Box::pin(sink), stream: Box::pin(stream.map(Ok)) };
            Ok(Box::pin(joined) as BoxSocket)
        })
    }
}

/// A stream and a sink as one socket.
struct Joined {
    sink: std::pin::Pin<Box<dyn Sink<Message, Error = NetworkError>>>,
    stream: std::pin::Pin<Box<dyn Stream<Item = Result<Message, NetworkError>>>>,
}

impl Stream for Joined {
    type Item = Result<Message, NetworkError>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.try_poll_next_unpin(cx)
    }
}

impl Sink<Message> for Joined {
    type Error = NetworkError;

    fn poll_ready(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NetworkError>> {
        self.sink.poll_ready_unpin(cx)
    }

    fn start_send(mut self: std::pin::Pin<&mut Self>, item: Message) -> Result<(), NetworkError> {
        self.sink.start_send_unpin(item)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NetworkError>> {
        self.sink.poll_flush_unpin(cx)
    }

    fn poll_close(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NetworkError>> {
        self.sink.poll_close_unpin(cx)
    }
}

/// The far end of a connection under test.
struct Peer {
    to_us: mpsc::UnboundedSender<Message>,
    from_us: mpsc::UnboundedReceiver<Message>,
    commands: mpsc::Sender<Command>,
    outputs: mpsc::Receiver<Box<Output>>,
    started: tokio::time::Instant,
}

/// Runs a connection to its end beside a script for its peer.
fn run<F: Future<Output = ()>>(script: impl FnOnce(Peer) -> F) -> (Ended, u64, Vec<String>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let started = tokio::time::Instant::now();
        let (to_us, socket_rx) = mpsc::unbounded_channel();
        let (socket_tx, from_us) = mpsc::unbounded_channel();
        let fake = Rc::new(FakeNetwork { socket: RefCell::new(Some((socket_tx, socket_rx))) });
        let network = Network { http: fake.clone(), websocket: fake };
        let log = Rc::new(RefCell::new(Vec::new()));
        let machine = Box::new(Script { log: log.clone(), next_ping: None });
        let (commands, command_rx) = mpsc::channel(64);
        let (output_tx, outputs) = mpsc::channel(64);
        let connection = drive(machine, network, Arc::new(TokioClock(started)), command_rx, output_tx);
        let peer = script(Peer { to_us, from_us, commands, outputs, started });
        let (ended, after) = tokio::select! {
            // Who is polled first has the task's budget first: the connection could use it up again and again.
            biased;
            () = async { peer.await; future::pending::<()>().await } => unreachable!(),
            ended = connection => (ended, started.elapsed().as_secs()),
        };
        let log = log.borrow().clone();
        (ended, after, log)
    })
}

fn is_transient(ended: &Ended, part: &str) -> bool {
    matches!(ended, Ended::Failed(f) if f.class == FailureClass::Transient && f.message.contains(part))
}

#[test]
fn a_peer_that_never_says_a_word_is_found_out_f027() {
    let (ended, after, _) = run(|peer| async move {
        let _held = peer;
        future::pending::<()>().await;
    });
    assert!(is_transient(&ended, "no sign of life for 20 s"), "{ended:?}");
    assert_eq!(after, 20);
}

#[test]
fn our_own_sends_and_websocket_pongs_are_no_evidence_f022() {
    let (ended, after, log) = run(|peer| async move {
        let mut peer = peer;
        while peer.from_us.recv().await.is_some() {
            peer.to_us.send(Message::Pong(Bytes::new())).unwrap();
        }
    });
    assert!(is_transient(&ended, "no sign of life"), "{ended:?}");
    assert_eq!(after, 20);
    assert!(log.iter().filter(|e| *e == "Wake").count() >= 1);
}

#[test]
fn an_idle_but_living_connection_is_left_alone_f021() {
    let (ended, after, _) = run(|mut peer| async move {
        for _ in 0..400 {
            peer.from_us.recv().await.unwrap();
            peer.to_us.send(Message::Binary(Bytes::from_static(b"pong"))).unwrap();
            while peer.outputs.try_recv().is_ok() {}
        }
        peer.commands.send(Command::Stop).await.unwrap();
        future::pending::<()>().await;
    });
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(after, 4_000);
}

#[test]
fn a_probe_that_is_not_answered_ends_the_connection_within_10_s_f020() {
    let (ended, after, log) = run(|peer| async move {
        let peer = peer;
        tokio::time::sleep_until(peer.started + Duration::from_secs(5)).await;
        peer.commands.send(Command::Probe).await.unwrap();
        future::pending::<()>().await;
    });
    assert!(is_transient(&ended, "within 10 s"), "{ended:?}");
    assert_eq!(after, 15);
    assert!(log.contains(&"Probe".to_owned()));
}

#[test]
fn an_orderly_end_says_goodbye_first() {
    let goodbye = Rc::new(RefCell::new(None));
    let seen = goodbye.clone();
    let (ended, after, _) = run(|peer| async move {
        peer.commands.send(Command::Stop).await.unwrap();
        *seen.borrow_mut() = Some(peer.from_us);
        let _held = (peer.to_us, peer.outputs);
        future::pending::<()>().await;
    });
    assert_eq!((ended, after), (Ended::Stopped, 0));
    let mut from_us = goodbye.borrow_mut().take().unwrap();
    assert_eq!(from_us.try_recv(), Ok(Message::Close(None)));
}

#[test]
fn a_lost_socket_ends_the_connection() {
    let (ended, _, log) = run(|peer| async move {
        drop(peer.to_us);
        let _rest = (peer.commands, peer.outputs, peer.from_us);
        future::pending::<()>().await;
    });
    assert!(is_transient(&ended, "lost"), "{ended:?}");
    assert_eq!(log, ["Start", "Opened", "Lost"]);
}

/// Silence was judged by the clock alone: a process that had stood still took every healthy connection for dead.
#[test]
fn a_standstill_of_ours_is_not_the_peers_silence_f020() {
    let (ended, after, log) = run(|mut peer| async move {
        tokio::time::sleep_until(peer.started + Duration::from_secs(5)).await;
        tokio::time::advance(Duration::from_secs(120)).await;
        for _ in 0..3 {
            peer.from_us.recv().await.unwrap();
            peer.to_us.send(Message::Binary(Bytes::from_static(b"pong"))).unwrap();
        }
        peer.commands.send(Command::Stop).await.unwrap();
        let _rest = (peer.outputs, peer.to_us);
        future::pending::<()>().await;
    });
    assert_eq!(ended, Ended::Stopped);
    assert!(after >= 125 && log.contains(&"Probe".to_owned()), "{after} {log:?}");
    // A peer that is gone is found out within the time that an answer may take.
    let (ended, after, _) = run(|peer| async move {
        tokio::time::sleep_until(peer.started + Duration::from_secs(5)).await;
        tokio::time::advance(Duration::from_secs(120)).await;
        let _held = peer;
        future::pending::<()>().await;
    });
    assert!(is_transient(&ended, "within 10 s"), "{ended:?}");
    assert_eq!(after, 135);
}

/// A peer that floods, and a store that answers, kept each ping waiting until one of them had nothing more to say.
#[test]
fn neither_a_flood_nor_verdicts_keep_a_ping_waiting() {
    let (_, _, log) = run(|peer| async move {
        let _rest = (peer.from_us, peer.outputs);
        tokio::time::sleep(Duration::from_millis(9_999)).await;
        for _ in 0..100_000 {
            peer.to_us.send(Message::Text("flood".to_owned())).unwrap();
        }
        // The ping is due from here on.
        tokio::time::advance(Duration::from_millis(1)).await;
        for n in 0..60 {
            peer.commands.send(Command::Verdict { ack: AckId(n), stored: true }).await.unwrap();
        }
        peer.commands.send(Command::Stop).await.unwrap();
        future::pending::<()>().await;
    });
    for what in ["Wake", "Verdict", "Stop"] {
        let until = log.iter().rposition(|event| event == what).unwrap();
        let frames = log[..until].iter().filter(|event| *event == "Frame").count();
        assert!(frames <= 256, "{frames} messages were read before the last {what}");
    }
}
