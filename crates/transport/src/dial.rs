//! From a host name to an encrypted connection.
//!
//! awc would do this too, but its errors do not say which phase failed, and its TLS hides whether anything of a
//! request has left. Dialling ourselves makes both certain, and is the one place for proxies and address racing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_rt::net::ActixStream;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use moorline_channel::NetworkErrorKind::{Connect, Resolve, Tls};
use moorline_channel::{NetworkError, NetworkErrorKind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::progress::{Phase, Progress};
use crate::proxy::Proxy;
use crate::resolve::Resolver;
use crate::{race, tunnel};

/// Dials for one awc client. Its time is limited by the client's connector.
#[derive(Clone)]
pub(crate) struct Dialer {
    path: Rc<Path>,
    /// None for plain connections.
    tls: Option<TlsConnector>,
}

/// How any host is reached.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) proxy: Option<Proxy>,
}

/// A connection that reports to the exchange using it.
#[derive(Debug)]
pub(crate) enum Line {
    Plain(TcpStream),
    /// Boxed: the TLS state is large, and a connection is moved often before it settles in the pool.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    pub(crate) fn plain(path: Rc<Path>) -> Self {
        Self { path, tls: None }
    }

    pub(crate) fn tls(path: Rc<Path>, connector: TlsConnector) -> Self {
        Self { path, tls: Some(connector) }
    }

    /// The errors name neither host nor proxy: the exchange does, for all of them.
    async fn dial(self, uri: &Uri) -> Result<Line, NetworkError> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or_default();
        let stream = match self.path.proxy.as_ref().filter(|proxy| proxy.carries(host, port)) {
            None => self.path.connect(host, port).await?,
            Some(proxy) => {
                Progress::through(proxy);
                let mut stream = self.path.connect(&proxy.host, proxy.port).await?;
                Progress::enter(Phase::Tunnel);
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                tunnel::open(&mut stream, authority, proxy.credentials.as_ref())
                    .await
                    .map_err(|refused| failed(Connect, &refused))?;
                stream
            }
        };
        let Some(tls) = self.tls else { return Ok(Line::Plain(stream)) };
        Progress::enter(Phase::Tls);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(Tls, &error))?;
        let stream = tls.connect(name, stream).await.map_err(|error| failed(Tls, &error))?;
        Ok(Line::Tls(Box::new(stream)))
    }
}

impl Path {
    /// A TCP connection, to whoever is next on the way.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, NetworkError> {
        Progress::enter(Phase::Resolve);
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.resolver.resolve(host, port).await.map_err(|error| failed(Resolve, &error))?,
        };
        if addresses.is_empty() {
            return Err(NetworkError::new(Resolve, "the name has no address"));
        }
        Progress::enter(Phase::Connect);
        let stream =
            race::first(&addresses, TcpStream::connect).await.map_err(|error| failed(Connect, &error))?;
        // Acks and pings are small and must not wait for each other.
        stream.set_nodelay(true).map_err(|error| failed(Connect, &error))?;
        Ok(stream)
    }
}

fn failed(kind: NetworkErrorKind, error: &dyn std::error::Error) -> NetworkError {
    NetworkError::new(kind, error.to_string())
}

impl Service<ConnectInfo<Uri>> for Dialer {
    type Response = Connection<Uri, Line>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let dialer = self.clone();
        let uri = info.request().clone();
        Box::pin(async move {
            match dialer.dial(&uri).await {
                Ok(line) => Ok(Connection::new(uri, line)),
                // Unpacked again in exchange.rs: this is how the true error gets through awc.
                Err(error) => Err(ConnectError::Io(io::Error::other(error))),
            }
        })
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if matches!(polled, Poll::Ready(Ok(()))) && buffer.filled().len() > before {
            Progress::receive();
        } else if matches!(polled, Poll::Ready(Ok(()))) && buffer.remaining() > 0 {
            Progress::finish();
        }
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        // Before the attempt: TLS may send part of a record and fail on the rest.
        Progress::enter(Phase::Sent);
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Line {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl ActixStream for Line {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        std::pin::pin!(self.tcp().ready(Interest::READABLE)).poll(cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        std::pin::pin!(self.tcp().ready(Interest::WRITABLE)).poll(cx)
    }
}
