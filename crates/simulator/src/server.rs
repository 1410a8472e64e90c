//! The platform on real sockets: a listener on loopback with a thread of its own.
//!
//! Beside the platform's own calls it serves a control interface, JSON for people and for other processes:
//!
//! | | |
//! | --- | --- |
//! | `GET /_simulator/state` | reach, redelivery, apps with counters, connections and faults, both ledgers |
//! | `POST /_simulator/apps` | adds an app: `{"bot_name", "app_id"?, "app_secret"?, "bot_open_id"?}` |
//! | `POST /_simulator/apps/{app_id}/push` | a user writes: `{"chat_id", "chat_type", "user", "text", "mentions_bot", …}` |
//! | `POST /_simulator/apps/{app_id}/push_again` | a message under a new event_id: `{"message_id"}` |
//! | `POST /_simulator/apps/{app_id}/report` | something else happens: `{"recalled": {"message_id"}}`, … |
//! | `POST /_simulator/apps/{app_id}/push_raw` | an event with this body as payload, byte for byte |
//! | `POST /_simulator/apps/{app_id}/chats` | makes a chat known: `{"chat_id", "chat_type"}`; `"leave": true` takes the bot out |
//! | `POST /_simulator/apps/{app_id}/connection_limit` | `{"connections", "refused_at"?: "endpoint"\|"handshake"}` |
//! | `POST /_simulator/apps/{app_id}/faults` | `{"clear"?: true, "fault"?: …, "times"?: {"count": 1} or "until_cleared"}` |
//! | `POST /_simulator/apps/{app_id}/drop` | ends all connections: `{"code", "reason"}` for a close frame, else a FIN |
//! | `POST /_simulator/apps/{app_id}/reset`, `…/black_hole` | resets them; makes them black holes |
//! | `POST /_simulator/apps/{app_id}/inject` | sends an odd frame on all of them |
//! | `POST /_simulator/apps/{app_id}/revoke` | makes its tokens invalid |
//! | `POST /_simulator/platform` | `{"refuse": bool}` or `{"reach": "open"\|"refused"\|"hangs"}`, both with `"for_ms"?` |
//! | `POST /_simulator/push` | one message to several apps: `{"apps": […], "push": …}` |
//! | `POST /_simulator/people` | makes a person known: `{"name", "union_id", "user_id"?, "email"?, "open_ids"?}` |
//! | `POST /_simulator/resources` | a user's file: `{"kind": "image"\|"file", "name", "text"}`, gives its `key` |
//! | `POST /_simulator/rates` | rate limits: `{}` for the documented ones, `null` for none |
//! | `POST /_simulator/retain` | how much the ledgers keep: `{"retain": 1000}` |
//! | `POST /_simulator/redelivery` | `{"ack_budget_ms", "ladder_ms": […], "offline_attempts_count"}` |

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::hub::Reach;
use crate::mount::Mountable;

mod body;
mod connection;
mod control;
mod wire;

use connection::Context;
use wire::Wire;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// The wait after an accept or a bind that failed, for want of descriptors or because the port is still taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a server listens. Only loopback addresses are taken.
#[derive(Debug, Clone)]
pub struct Options {
    /// The platform, and the control interface under `/_simulator/`; port 0 for any. All of them are closed while
    /// the platform refuses connections.
    pub listen: Vec<SocketAddr>,
    /// The control interface alone, on an address that stays open whatever the platform does.
    pub control: Option<SocketAddr>,
}

/// A running server. Dropping it ends it: all sockets are closed, and its thread is joined.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The simulated platform has no authentication to speak of, so it is for this machine only.
    #[error("the simulator does not listen on {0}: it takes loopback addresses only")]
    NotLoopback(SocketAddr),
    /// No address at all.
    #[error("the simulator was given no address to listen on")]
    NoAddress,
    /// The address is taken, or not ours.
    #[error("the simulator cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives us no thread or no reactor.
    #[error("the simulator cannot start its thread: {0}")]
    Thread(io::Error),
}

/// A socket that listens, and whether it does so while the platform refuses connections.
struct Listening {
    socket: std::net::TcpListener,
    address: SocketAddr,
    steady: bool,
}

impl Default for Options {
    fn default() -> Self {
        SocketAddr::from(([127, 0, 0, 1], 0)).into()
    }
}

impl From<SocketAddr> for Options {
    fn from(address: SocketAddr) -> Self {
        Self { listen: vec![address], control: None }
    }
}

impl Server {
    /// Listens, and serves this platform until [`Server::stop`] or drop. When this returns, connections succeed.
    ///
    /// # Errors
    /// When an address is not loopback or cannot be listened on.
    pub fn start(simulator: impl Into<Mountable>, options: impl Into<Options>) -> Result<Self, ServerError> {
        let options = options.into();
        let platform = options.listen.iter().map(|&address| listening(address, false));
        let mut listeners = platform.collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
        if addresses.is_empty() {
            return Err(ServerError::NoAddress);
        }
        let control = options.control.map(|address| listening(address, true)).transpose()?;
        let control_address = control.as_ref().map(|listener| listener.address);
        listeners.extend(control);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let (stop, stopped) = watch::channel(false);
        let simulator = simulator.into();
        let thread = std::thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || runtime.block_on(serve(simulator, listeners, stopped)))
            .map_err(ServerError::Thread)?;
        Ok(Self { addresses, control: control_address, stop, thread: Some(thread) })
    }

    /// The first address of the platform.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// All addresses of the platform, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the control interface that stays open, where one was asked for.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// What an account's `base_url` has to be.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Closes everything and waits until it is closed.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The simulator's thread had panicked.");
        }
    }
}

/// Runs until stopped; dropping the tasks closes their sockets.
async fn serve(simulator: Mountable, listeners: Vec<Listening>, mut stopped: watch::Receiver<bool>) {
    let (recoveries, mut due) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(simulator.clone().run_timers());
    for listener in listeners {
        let context = Context::new(simulator.clone(), recoveries.clone(), listener.address);
        tasks.spawn(accept(listener, context));
    }
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            Some(delay) = due.recv() => {
                let simulator = simulator.clone();
                tasks.spawn(async move {
                    tokio::time::sleep(delay).await;
                    simulator.set_reach(Reach::Open);
                });
            }
            Some(ended) = tasks.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "A part of the simulator ended.");
            },
        }
    }
}

/// Accepts connections, and closes the listener for as long as the platform refuses them.
async fn accept(listening: Listening, context: Context) {
    let Listening { socket, address, steady } = listening;
    let mut listener = TcpListener::from_std(socket).ok();
    let mut reach = context.simulator.reach_changes();
    let mut connections = JoinSet::new();
    loop {
        let wanted = steady || *reach.borrow_and_update() != Reach::Refused;
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            listener = bind(address).and_then(TcpListener::from_std).ok();
        }
        let retry = async {
            if wanted && listener.is_none() {
                tokio::time::sleep(PAUSE).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            accepted = next(listener.as_ref()) => {
                let hangs = !steady && context.simulator.reach() == Reach::Hangs;
                connections.spawn(connection::serve(Wire::new(accepted), context.clone(), steady, hangs));
            }
            _ = reach.changed() => {}
            () = retry => {}
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "A connection of the simulator ended.");
            },
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let _ = tcp.set_nodelay(true);
                return tcp;
            }
            Err(error) => {
                tracing::warn!(%error, "The simulator cannot accept a connection.");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn listening(address: SocketAddr, steady: bool) -> Result<Listening, ServerError> {
    if !address.ip().is_loopback() {
        return Err(ServerError::NotLoopback(address));
    }
    let bound = bind(address).and_then(|socket| socket.local_addr().map(|address| (socket, address)));
    let (socket, address) = bound.map_err(|error| ServerError::Listen { address, error })?;
    Ok(Listening { socket, address, steady })
}

/// `SO_REUSEADDR`, because the same port is bound again while old connections are in TIME_WAIT.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
