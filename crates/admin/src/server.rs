//! The admin actor: owns an HTTP server that runs on threads of its own.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::Arbiter;
use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use moorline_core::Secret;
use moorline_runtime::Handle;
use moorline_runtime::supervision::{ActorRef, ChildSpec, Env};
use rustix::process::{Resource, getrlimit};
use tokio::sync::oneshot;

use crate::closing::Closing;
use crate::connections::Connections;
use crate::events;
use crate::exchange::RequestIds;
use crate::gate::Gate;
use crate::listener::Listener;
use crate::operator::Operator;
use crate::routes::api;

/// How long a connection may take for a request's head. Bodies have a limit of their own.
const HEAD_ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client may take to close after we did.
const CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// How long requests and WebSockets under way may take once the actor was asked to stop, in seconds.
const STOPS_WITHIN_SECS: u64 = 1;

/// How long a connection that was taken may be on its way to the worker.
const TAKEN_WITHIN: Duration = Duration::from_millis(20);

/// Connections at a time, at most; more wait in the socket's backlog. Above the thousand slow clients that must not
/// keep anybody else from being served (F-085).
const CONNECTIONS: u64 = 2048;

/// Open files for each of them, so that no crowd of clients can take the channels' sockets away.
const FILES_PER_CONNECTION: u64 = 4;

/// The admin endpoint's actor. It answers no messages: it is there so that the server lives and dies with the tree.
pub struct Admin {
    env: Env,
    listener: Arc<Listener>,
    token: Secret,
    operator: Data<dyn Operator>,
    server: Option<Server>,
}

/// A running server. Its accepting thread, its worker and the arbiter that looks after them end when it is dropped,
/// whatever the reason, and nobody waits for them: they take no more than a goodbye does.
#[derive(Debug)]
struct Server {
    arbiter: Arbiter,
    handle: ServerHandle,
    closing: Closing,
    connections: Connections,
}

/// Makes the child called `admin` of each life of the root: permanent, restarted as any other actor. All its lives
/// serve on `listener`.
pub fn admin_child(listener: Listener, token: Secret) -> impl FnMut(&Handle) -> ChildSpec + 'static {
    let listener = Arc::new(listener);
    move |handle| spec(&listener, &token, Data::from(Arc::new(handle.clone()) as Arc<dyn Operator>))
}

pub(crate) fn spec(listener: &Arc<Listener>, token: &Secret, operator: Data<dyn Operator>) -> ChildSpec {
    let (listener, token) = (Arc::clone(listener), token.clone());
    ChildSpec::new("admin", &ActorRef::new(), move |env| Admin {
        env,
        listener: Arc::clone(&listener),
        token: token.clone(),
        operator: operator.clone(),
        server: None,
    })
}

impl Admin {
    /// Binds the endpoint's socket. Made before anything else starts, so that a port in use is found in time.
    ///
    /// # Errors
    /// When it cannot listen there: the message names the address, the kind is that of the cause.
    pub fn bind(config: &moorline_config::Admin) -> io::Result<Listener> {
        Listener::bind(config.listen)
    }

    /// Starts a server; the receiver gets the reason of its end.
    fn serve(&self, socket: TcpListener) -> io::Result<(Server, oneshot::Receiver<io::Result<()>>)> {
        let gate = Data::new(Gate::new(self.token.clone(), self.listener.local_addr().ip()));
        let ids = Data::new(RequestIds::new(self.env.generation));
        let (closing, connections) = (Closing::new(), Connections::default());
        let taken = connections.clone();
        let told = Data::new(closing.clone());
        let operator = self.operator.clone();
        let server = HttpServer::new(move || api(gate.clone(), ids.clone(), told.clone(), operator.clone()))
            .on_connect(move |io, extensions| {
                taken.taken(io, extensions);
                events::remember(io, extensions);
            })
            .workers(1)
            .disable_signals()
            .max_connections(most_connections())
            .client_request_timeout(HEAD_ARRIVES_WITHIN)
            .client_disconnect_timeout(CLOSES_WITHIN)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(STOPS_WITHIN_SECS)
            .listen(socket)?
            .run();
        let (ended, end) = oneshot::channel();
        let (arbiter, handle) = (Arbiter::new(), server.handle());
        let pulse = self.operator.pulses().begin("admin");
        arbiter.spawn(async move {
            let result = tokio::select! { result = server => result, never = pulse.keep() => match never {} };
            // An actor that is gone does not want to know.
            drop(ended.send(result));
        });
        Ok((Server { arbiter, handle, closing, connections }, end))
    }
}

/// How many connections the process can afford: a quarter of the files it may open.
fn most_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((files / FILES_PER_CONNECTION).clamp(1, CONNECTIONS)).unwrap_or(1)
}

impl Actor for Admin {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let (server, end) = match self.listener.duplicate().and_then(|socket| self.serve(socket)) {
            Ok(started) => started,
            Err(error) => return self.env.exit.fail(ctx, error),
        };
        self.server = Some(server);
        let address = self.listener.local_addr();
        tracing::info!(actor = "admin", generation = %self.env.generation, %address, "listening");
        let end = end.into_actor(self).map(|end, admin, ctx| {
            admin.server = None;
            match end {
                // It was asked to, by `stopping`: nobody else does.
                Ok(Ok(())) => ctx.stop(),
                Ok(Err(error)) => admin.env.exit.fail(ctx, error),
                Err(_) => admin.env.exit.fail(ctx, "the server's thread ended"),
            }
        });
        ctx.spawn(end);
    }

    /// Requests under way are answered first; the actor stops with the server.
    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        match &self.server {
            Some(server) => {
                server.end();
                Running::Continue
            }
            None => Running::Stop,
        }
    }
}

impl Server {
    /// Begins an orderly end: whoever comes from now on waits in the socket's backlog for whoever serves next; everybody
    /// who is here gets an answer. How it went is heard by who waits for the server's end.
    fn end(&self) {
        let (handle, closing, connections) =
            (self.handle.clone(), self.closing.clone(), self.connections.clone());
        self.arbiter.spawn(async move {
            handle.pause().await;
            // Those who were taken just before reach their worker, which would drop them later.
            tokio::time::sleep(TAKEN_WITHIN).await;
            closing.close();
            connections.say_goodbye();
            handle.stop(true).await;
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.close();
        self.connections.say_goodbye();
        let ended = self.handle.stop(true);
        // A fault of the actor leaves sockets open that are owed a goodbye. An arbiter that is gone has said it.
        self.arbiter.spawn(async move {
            ended.await;
            Arbiter::current().stop();
        });
    }
}
