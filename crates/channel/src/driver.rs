//! The one driver of every connector: carries out effects, feeds back what came of them, and judges liveness.
//!
//! It owns no policy beyond the one rule that holds for every channel: an open connection that shows no sign of
//! life for longer than the machine's patience is over. When to try again is the runtime's business.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_core::{Clock, Failure, Monotonic};
use tokio::sync::mpsc;

use crate::connector::{AckId, Connector, Effect, Event, Output, RequestId};
use crate::network::{BoxSocket, HandshakeError, HttpResponse, Message, Network, NetworkError};

/// Messages waiting to be written. A peer that sends but does not read would otherwise make us hold its acks
/// without bound (G12).
const OUTGOING_LIMIT: usize = 4_096;

/// How long a sign of life may take that was asked for (design §4, suspend).
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// A deadline that is noticed this late was missed because the process did not run (design §4).
const FROZEN: Duration = Duration::from_secs(5);

/// How long an orderly end may take before the socket is simply dropped.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(2);

/// Messages read in a row before everything else gets as many turns: a peer that floods must not keep verdicts, pings
/// and deadlines waiting, nor any of them the others.
const READ_STREAK: u32 = 64;

/// What the runtime tells a running connection.
#[derive(Debug)]
pub enum Command {
    /// A delivery was stored, or could not be.
    Verdict {
        /// Which.
        ack: AckId,
        /// Stored?
        stored: bool,
    },
    /// Show a sign of life within 10 s, or end.
    Probe,
    /// End in an orderly way.
    Stop,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By [`Command::Stop`], or because the sender of commands is gone.
    Stopped,
    /// By a failure.
    Failed(Failure),
}

/// Runs one connection from its first call to its end. Dropping the future ends the connection at once: the socket
/// and every call are part of it, so the old connection is proven gone when this has returned or was dropped.
///
/// Outputs are boxed, because a channel keeps room for thirty-two of them however idle it is.
pub async fn drive(
    connector: Box<dyn Connector>,
    network: Network,
    clock: Arc<dyn Clock>,
    mut commands: mpsc::Receiver<Command>,
    outputs: mpsc::Sender<Box<Output>>,
) -> Ended {
    let mut driver = Driver {
        connector,
        network,
        clock,
        outputs,
        link: Link::Idle,
        outgoing: VecDeque::new(),
        calls: BTreeMap::new(),
        alive_at: None,
        probe_due: None,
        stop_due: None,
        listening: true,
        streak: 0,
        ended: None,
    };
    driver.feed(Event::Start).await;
    while driver.ended.is_none() {
        let occurrence = driver.next(&mut commands).await;
        match occurrence {
            Occurrence::Event(event) => driver.feed(event).await,
            // On the way to its end too: what is in hand is stored until the last moment.
            Occurrence::Command(Some(Command::Verdict { ack, stored })) => {
                driver.feed(Event::Verdict { ack, stored }).await;
            }
            Occurrence::Command(Some(Command::Probe)) => driver.probe().await,
            Occurrence::Command(Some(Command::Stop)) => driver.stop().await,
            Occurrence::Command(None) => {
                driver.listening = false;
                driver.stop().await;
            }
            Occurrence::Deadline => driver.deadline().await,
        }
    }
    if let Some(since) = driver.connector.in_hand() {
        let why = "what was received could not be stored before the connection ended".to_owned();
        driver.emit(Output::Gap { since, why }).await;
    }
    if driver.stop_due.is_some() {
        driver.say_goodbye().await;
    }
    driver.ended.unwrap_or(Ended::Stopped)
}

/// The calls under way. They are few, so each wake-up looks at all of them; one that is given up is gone at once.
type Calls = BTreeMap<RequestId, LocalBoxFuture<'static, Result<HttpResponse, NetworkError>>>;

/// What woke the driver.
enum Occurrence {
    Event(Event),
    /// `None` when nobody is there any more who could give one.
    Command(Option<Command>),
    Deadline,
}

/// The WebSocket, from nothing to nothing.
enum Link {
    Idle,
    Opening(LocalBoxFuture<'static, Result<BoxSocket, HandshakeError>>),
    Open(BoxSocket),
    Over,
}

struct Driver {
    connector: Box<dyn Connector>,
    network: Network,
    clock: Arc<dyn Clock>,
    outputs: mpsc::Sender<Box<Output>>,
    link: Link,
    outgoing: VecDeque<Message>,
    calls: Calls,
    /// The last sign of life; set when the socket opens, so that a peer that never says a word is found out too.
    alive_at: Option<Monotonic>,
    /// When a sign of life that was asked for is overdue.
    probe_due: Option<Monotonic>,
    /// When an orderly end is overdue.
    stop_due: Option<Monotonic>,
    /// Whether somebody is there to give commands.
    listening: bool,
    /// Messages read since the others last had turns of their own, and then those turns.
    streak: u32,
    ended: Option<Ended>,
}

impl Driver {
    /// Waits for whatever happens first. What the peer sent comes before the clock: after a suspend, frames that
    /// are already here must count before silence is judged (F-020).
    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Occurrence {
        let due = self.next_deadline();
        let clock = Arc::clone(&self.clock);
        let listening = self.listening;
        let (link, outgoing, calls) = (&mut self.link, &mut self.outgoing, &mut self.calls);
        let streak = &mut self.streak;
        if *streak >= READ_STREAK {
            *streak = (*streak + 1) % (2 * READ_STREAK);
            return tokio::select! {
                biased;
                () = sleep_until(due, &*clock) => Occurrence::Deadline,
                event = poll_fn(|cx| poll_calls(calls, cx)) => Occurrence::Event(event),
                command = commands.recv(), if listening => Occurrence::Command(command),
                event = poll_fn(|cx| poll_link(link, outgoing, cx)) => {
                    *streak = 1;
                    Occurrence::Event(event)
                }
            };
        }
        tokio::select! {
            biased;
            event = poll_fn(|cx| poll_link(link, outgoing, cx)) => {
                *streak += 1;
                Occurrence::Event(event)
            }
            event = poll_fn(|cx| poll_calls(calls, cx)) => Occurrence::Event(event),
            command = commands.recv(), if listening => Occurrence::Command(command),
            () = sleep_until(due, &*clock) => {
                *streak = 0;
                Occurrence::Deadline
            }
        }
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let silence = self.silence_due();
        [self.connector.wake_at(), silence, self.probe_due, self.stop_due].into_iter().flatten().min()
    }

    /// When the peer's silence has lasted too long.
    fn silence_due(&self) -> Option<Monotonic> {
        let judged = self.alive_at.filter(|_| self.connector.in_hand().is_none());
        judged.map(|at| at + self.connector.patience())
    }

    async fn deadline(&mut self) {
        let now = self.clock.now();
        if self.stop_due.is_some_and(|due| due <= now) {
            self.ended = Some(Ended::Stopped);
        } else if self.probe_due.is_some_and(|due| due <= now) {
            self.fail(format!("no sign of life within {} s of asking for one", PROBE_DEADLINE.as_secs()));
        } else if let Some(overdue) = self.silence_due().filter(|due| *due <= now).map(|due| now - due) {
            if overdue > FROZEN {
                // Nobody was here to listen, so nothing is known: ask, and judge from now on (design §3 rule 8, F-020).
                self.alive_at = Some(now);
                self.probe().await;
            } else {
                self.fail(format!("no sign of life for {} s", self.connector.patience().as_secs()));
            }
        } else if self.connector.wake_at().is_some_and(|due| due <= now) {
            self.feed(Event::Wake).await;
        }
    }

    fn fail(&mut self, message: String) {
        self.ended = Some(Ended::Failed(Failure::transient(message)));
    }

    async fn probe(&mut self) {
        if self.alive_at.is_some() && self.probe_due.is_none() && self.stop_due.is_none() {
            self.probe_due = Some(self.clock.now() + PROBE_DEADLINE);
            self.feed(Event::Probe).await;
        }
    }

    async fn stop(&mut self) {
        if self.stop_due.is_some() {
            return;
        }
        self.stop_due = Some(self.clock.now() + GOODBYE_DEADLINE);
        self.feed(Event::Stop).await;
    }

    /// Steps the machine and carries out what it wants.
    async fn feed(&mut self, event: Event) {
        if matches!(event, Event::Lost(_) | Event::NotOpened(_)) {
            self.link = Link::Over;
            self.alive_at = None;
        }
        for effect in self.connector.step(event, self.clock.now()) {
            match effect {
                Effect::Request { id, request } => {
                    drop(self.calls.insert(id, self.network.http.call(request)))
                }
                Effect::Cancel(id) => drop(self.calls.remove(&id)),
                Effect::Open(request) => self.link = Link::Opening(self.network.websocket.open(request)),
                Effect::Send(message) if self.outgoing.len() < OUTGOING_LIMIT => {
                    self.outgoing.push_back(message)
                }
                Effect::Send(_) => {
                    self.fail(format!("the peer does not read: {OUTGOING_LIMIT} messages wait"))
                }
                Effect::Emit(output) => self.emit(output).await,
                Effect::Finish(failure) => {
                    self.ended.get_or_insert(failure.map_or(Ended::Stopped, Ended::Failed));
                    return;
                }
            }
        }
        if self.connector.in_hand().is_some() {
            // The store has the turn. What comes afterwards is judged by the machine's patience.
            self.probe_due = None;
        }
    }

    async fn emit(&mut self, output: Output) {
        match output {
            Output::Open { .. } => self.alive_at = Some(self.clock.now()),
            Output::Alive => {
                self.alive_at = Some(self.clock.now());
                self.probe_due = None;
            }
            _ => {}
        }
        if self.outputs.send(Box::new(output)).await.is_err() {
            self.ended.get_or_insert(Ended::Stopped);
        }
    }

    /// Writes what is left, the close frame last, for as long as an orderly end may take.
    async fn say_goodbye(&mut self) {
        let (link, outgoing) = (&mut self.link, &mut self.outgoing);
        let flushed = poll_fn(|cx| match link {
            Link::Open(socket) => poll_write(socket, outgoing, cx),
            Link::Idle | Link::Opening(_) | Link::Over => Poll::Ready(Ok(())),
        });
        // Whether the peer heard the goodbye changes nothing: the socket is dropped either way.
        drop(tokio::time::timeout(GOODBYE_DEADLINE, flushed).await);
    }
}

/// Ready when a call is over.
fn poll_calls(calls: &mut Calls, cx: &mut Context<'_>) -> Poll<Event> {
    let over = calls.iter_mut().find_map(|(id, call)| match call.as_mut().poll(cx) {
        Poll::Ready(result) => Some((*id, result)),
        Poll::Pending => None,
    });
    match over {
        Some((id, result)) => {
            calls.remove(&id);
            Poll::Ready(Event::Response { id, result })
        }
        None => Poll::Pending,
    }
}

/// Opens, writes and reads; ready when the machine has to hear of it.
fn poll_link(link: &mut Link, outgoing: &mut VecDeque<Message>, cx: &mut Context<'_>) -> Poll<Event> {
    if let Link::Opening(opening) = link {
        match opening.as_mut().poll(cx) {
            Poll::Ready(Ok(socket)) => {
                *link = Link::Open(socket);
                return Poll::Ready(Event::Opened);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Event::NotOpened(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    let Link::Open(socket) = link else { return Poll::Pending };
    if let Poll::Ready(Err(error)) = poll_write(socket, outgoing, cx) {
        return Poll::Ready(Event::Lost(Some(error)));
    }
    match socket.as_mut().poll_next(cx) {
        Poll::Ready(Some(Ok(message))) => Poll::Ready(Event::Frame(message)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(Event::Lost(Some(error))),
        Poll::Ready(None) => Poll::Ready(Event::Lost(None)),
        Poll::Pending => Poll::Pending,
    }
}

/// Writes as much as the socket takes; ready when all of it is flushed.
fn poll_write(
    socket: &mut BoxSocket,
    outgoing: &mut VecDeque<Message>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), NetworkError>> {
    while !outgoing.is_empty() {
        match socket.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        if let Some(message) = outgoing.pop_front()
            && let Err(error) = socket.as_mut().start_send(message)
        {
            return Poll::Ready(Err(error));
        }
    }
    socket.as_mut().poll_flush(cx)
}

pub(crate) async fn sleep_until(due: Option<Monotonic>, clock: &dyn Clock) {
    match due {
        Some(due) => tokio::time::sleep(due - clock.now()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
