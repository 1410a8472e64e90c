//! A machine that only calls: a long poll.

use std::cell::Cell;

use super::*;
use crate::connector::RequestId;

/// Begins a poll, gives it up after 5 s for another, and says that it is open from the start.
struct Polls {
    wake: Option<Monotonic>,
    polls: u32,
    heard: Rc<RefCell<Vec<u32>>>,
}

impl Polls {
    fn poll(&mut self) -> Effect {
        self.polls += 1;
        let url = url::Url::parse("http://peer/poll").unwrap();
        Effect::Request { id: RequestId(self.polls), request: HttpRequest::new(http::Method::POST, url) }
    }
}

impl Connector for Polls {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match event {
            Event::Start => {
                self.wake = Some(now + Duration::from_secs(5));
                vec![Effect::Emit(Output::Open { connection: "polls".to_owned() }), self.poll()]
            }
            Event::Wake => {
                self.wake = None;
                let given_up = Effect::Cancel(RequestId(self.polls));
                vec![given_up, self.poll()]
            }
            Event::Response { id, result: Ok(_) } => {
                self.heard.borrow_mut().push(id.0);
                vec![Effect::Emit(Output::Alive), self.poll()]
            }
            Event::Probe => vec![Effect::Emit(Output::Alive)],
            Event::Stop => vec![Effect::Finish(None)],
            other => panic!("{other:?}"),
        }
    }

    fn wake_at(&self) -> Option<Monotonic> {
        self.wake
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }
}

/// Holds every call for 35 s, and counts how many are open, and how many were at most.
#[derive(Default)]
struct Holding {
    open: Rc<Cell<u32>>,
    most: Cell<u32>,
}

/// An open call.
struct Held(Rc<Cell<u32>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Http for Holding {
    fn call(&self, _: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        self.open.set(self.open.get() + 1);
        self.most.set(self.most.get().max(self.open.get()));
        let held = Held(Rc::clone(&self.open));
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(35)).await;
            drop(held);
            let (status, headers, body) = (http::StatusCode::OK, http::HeaderMap::new(), Bytes::new());
            Ok(HttpResponse { status, headers, body })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_is_closed_and_never_answers() {
    let holding = Rc::new(Holding::default());
    let fake = Rc::new(FakeNetwork { socket: RefCell::new(None) });
    let network = Network { http: Rc::clone(&holding) as _, websocket: fake };
    let heard = Rc::new(RefCell::new(Vec::new()));
    let machine = Box::new(Polls { wake: None, polls: 0, heard: Rc::clone(&heard) });
    let (commands, command_rx) = mpsc::channel(4);
    let (output_tx, mut outputs) = mpsc::channel::<Box<Output>>(64);
    let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
    let script = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(holding.open.get(), 1, "the first call is closed");
        // Nothing but calls, and asked for a sign of life all the same (F-020).
        commands.send(Command::Probe).await.unwrap();
        tokio::time::sleep(Duration::from_secs(70)).await;
        commands.send(Command::Stop).await.unwrap();
        let mut signs = 0;
        while let Ok(output) = outputs.try_recv() {
            signs += u32::from(matches!(*output, Output::Alive));
        }
        signs
    };
    let (ended, signs) = tokio::join!(drive(machine, network, clock, command_rx, output_tx), script);
    assert_eq!((ended, signs), (Ended::Stopped, 3));
    assert_eq!(holding.most.get(), 1, "the second call is made when the first is gone");
    assert_eq!(*heard.borrow(), [2, 3], "the answer of the first call is never heard");
    assert_eq!(holding.open.get(), 0, "the end of the connection closes what is open");
}

/// Opens, delivers something, and ends only when it is stored.
#[derive(Default)]
struct InHand(Option<Monotonic>);

impl Connector for InHand {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        match event {
            Event::Start => {
                self.0 = Some(now);
                vec![
                    Effect::Emit(Output::Open { connection: "in hand".to_owned() }),
                    Effect::Emit(Output::Deliver { ack: AckId(1), deliveries: Vec::new(), cursor: None }),
                ]
            }
            Event::Verdict { stored: true, .. } => {
                self.0 = None;
                vec![Effect::Finish(None)]
            }
            _ => Vec::new(),
        }
    }

    fn in_hand(&self) -> Option<Monotonic> {
        self.0
    }

    fn wake_at(&self) -> Option<Monotonic> {
        None
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }
}

/// Verdicts were not heard once the end had begun: what was in hand could never be known to be stored.
#[tokio::test(start_paused = true)]
async fn a_verdict_is_heard_on_the_way_to_the_end() {
    let fake = Rc::new(FakeNetwork { socket: RefCell::new(None) });
    let network = Network { http: fake.clone(), websocket: fake };
    let (commands, command_rx) = mpsc::channel(4);
    let (output_tx, outputs) = mpsc::channel::<Box<Output>>(4);
    let began = tokio::time::Instant::now();
    let script = async {
        commands.send(Command::Stop).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        commands.send(Command::Verdict { ack: AckId(1), stored: true }).await.unwrap();
    };
    let connection =
        drive(Box::new(InHand::default()), network, Arc::new(TokioClock(began)), command_rx, output_tx);
    let (ended, ()) = tokio::join!(connection, script);
    assert_eq!((ended, began.elapsed().as_millis()), (Ended::Stopped, 300));
    // Whoever gave commands is gone: that is an orderly end too, and no loop without end.
    let (commands, command_rx) = mpsc::channel(4);
    drop(commands);
    let (fake, clock) = (Rc::new(FakeNetwork { socket: RefCell::new(None) }), TokioClock(began));
    let network = Network { http: fake.clone(), websocket: fake };
    let (output_tx, _outputs) = mpsc::channel::<Box<Output>>(4);
    drop(outputs);
    let ended = drive(Box::new(InHand::default()), network, Arc::new(clock), command_rx, output_tx).await;
    assert_eq!((ended, began.elapsed().as_millis()), (Ended::Stopped, 2_300));
}

/// A sign of life was asked for while the store had the turn, and none came: the connection was ended, and what was in hand
/// with it. Nor is the silence judged meanwhile (design §3 rule 8).
#[tokio::test(start_paused = true)]
async fn no_silence_takes_what_is_in_hand_f028() {
    let fake = Rc::new(FakeNetwork { socket: RefCell::new(None) });
    let network = Network { http: fake.clone(), websocket: fake };
    let (commands, command_rx) = mpsc::channel(4);
    let (output_tx, _outputs) = mpsc::channel::<Box<Output>>(4);
    let began = tokio::time::Instant::now();
    let script = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        commands.send(Command::Probe).await.unwrap();
        tokio::time::sleep(Duration::from_secs(200)).await;
        commands.send(Command::Verdict { ack: AckId(1), stored: true }).await.unwrap();
    };
    let connection =
        drive(Box::new(InHand::default()), network, Arc::new(TokioClock(began)), command_rx, output_tx);
    let (ended, ()) = tokio::join!(connection, script);
    assert_eq!((ended, began.elapsed().as_secs()), (Ended::Stopped, 201));
}

/// A full disk and a stop: what the platform may never hand out again was dropped without a word.
#[tokio::test(start_paused = true)]
async fn what_is_in_hand_at_the_end_is_a_gap_f040() {
    let fake = Rc::new(FakeNetwork { socket: RefCell::new(None) });
    let network = Network { http: fake.clone(), websocket: fake };
    let (commands, command_rx) = mpsc::channel(4);
    let (output_tx, mut outputs) = mpsc::channel::<Box<Output>>(4);
    let clock = TokioClock(tokio::time::Instant::now());
    let asked = clock.now();
    let script = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        commands.send(Command::Verdict { ack: AckId(1), stored: false }).await.unwrap();
        commands.send(Command::Stop).await.unwrap();
    };
    let connection = drive(Box::new(InHand::default()), network, Arc::new(clock), command_rx, output_tx);
    let (ended, ()) = tokio::join!(connection, script);
    assert_eq!(ended, Ended::Stopped);
    let mut last = None;
    while let Some(output) = outputs.recv().await {
        last = Some(output);
    }
    let Some(Output::Gap { since, .. }) = last.as_deref() else { panic!("{last:?}") };
    assert_eq!(*since, asked);
}
