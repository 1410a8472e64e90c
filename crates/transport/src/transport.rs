//! The network of one arbiter.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use awc::Connector;
use bytes::Bytes;
use moorline_channel::Network;
use rustls::ClientConfig;

use crate::dial::{Dialer, Path};
use crate::proxy::Proxy;
use crate::resolve::{Resolver, SystemResolver};
use crate::target::Target;
use crate::tls::{self, TlsError};
use crate::websocket::Refusals;

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Certificates trusted besides the public ones, each DER or PEM text (the latter may hold several): for a
    /// company's own authority.
    pub extra_roots: Vec<Bytes>,
    /// For name lookup, TCP, proxy and TLS together; within it, and within the deadline of the exchange, the connection
    /// must stand.
    pub connect_timeout: Duration,
    /// The proxy for all connections; None for direct ones. Environment variables are not read: whoever configures
    /// us decides.
    pub proxy: Option<Proxy>,
    /// Looks up names: that of the proxy, if it is used, else that of the peer.
    pub resolver: Arc<dyn Resolver>,
}

impl Default for Options {
    /// The public certificates only, 5 s to connect, no proxy, the system's name lookup.
    fn default() -> Self {
        Self {
            extra_roots: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            proxy: None,
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// HTTP and WebSocket over real sockets. Neither `Send` nor `Sync`: build one on every arbiter.
///
/// Calls and WebSockets have separate connections, and neither are limited in number: a limit would let hung sends
/// hold back polls, and the 101st account on a host would wait until it times out (F-098). Callers bound what they
/// have under way, and every wait has a deadline.
#[derive(Clone)]
pub struct Transport {
    pub(crate) calls: Clients,
    /// For the second attempt of a call, on a connection of its own: nothing is ever put into its pool.
    pub(crate) repeats: Clients,
    pub(crate) websockets: Clients,
}

/// awc's clients for one purpose. Two, because awc keys its idle connections by host and port only, and our dialer
/// has done the TLS already: a plain connection must never be taken for an encrypted one.
#[derive(Clone)]
pub(crate) struct Clients {
    plain: awc::Client,
    tls: awc::Client,
}

impl Transport {
    /// Fails if the certificates cannot be used.
    pub fn new(options: Options) -> Result<Self, TlsError> {
        let Options { extra_roots, connect_timeout, proxy, resolver } = options;
        let config = tls::client_config(&extra_roots)?;
        let path = Rc::new(Path { resolver, proxy });
        let dialers = || {
            let tls = Arc::<ClientConfig>::clone(&config).into();
            (Dialer::plain(path.clone()), Dialer::tls(path.clone(), tls))
        };
        let connector = |dialer| Connector::new().connector(dialer).limit(0).timeout(connect_timeout);

        let client = |dialer| {
            // Redirects carry credentials elsewhere. The deadline is ours: awc's would not cover the body.
            awc::Client::builder().disable_redirects().disable_timeout().connector(connector(dialer)).finish()
        };
        let clients = || {
            let (plain, tls) = dialers();
            Clients { plain: client(plain), tls: client(tls) }
        };
        let (calls, repeats) = (clients(), clients());

        let (plain, tls) = dialers();
        let client = |dialer| {
            awc::Client::builder()
                .disable_redirects()
                .disable_timeout()
                .connector(connector(dialer))
                .wrap(Refusals)
                .finish()
        };
        let websockets = Clients { plain: client(plain), tls: client(tls) };
        Ok(Self { calls, repeats, websockets })
    }

    /// What channels are given.
    pub fn network(&self) -> Network {
        let shared = Rc::new(self.clone());
        Network { http: shared.clone(), websocket: shared }
    }
}

impl Clients {
    pub(crate) fn for_target(&self, target: &Target) -> awc::Client {
        if target.secure { self.tls.clone() } else { self.plain.clone() }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
