//! From a host name to an encrypted connection.
//!
//! awc would do this too, but its errors do not say which phase failed, and its TLS hides whether anything of a
//! request has left. Dialling ourselves makes both certain, and is the one place for proxies and address racing.

use std::io;
use std::pin::Pin;
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

/// Dials for one awc client. Its time is limited by the client's connector.
#[derive(Clone)]
pub(crate) struct Dialer {
    /// None for plain connections.
    tls: Option<TlsConnector>,
}

/// A connection that reports to the exchange using it.
#[derive(Debug)]
pub(crate) enum Line {
    Plain(TcpStream),
    /// Boxed: the TLS state is large, and a connection is moved often before it settles in the pool.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    pub(crate) fn plain() -> Self {
        Self { tls: None }
    }

    pub(crate) fn tls(connector: TlsConnector) -> Self {
        Self { tls: Some(connector) }
    }

    async fn dial(self, uri: &Uri) -> Result<Line, NetworkError> {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or_default();
        let failed = |kind: NetworkErrorKind, error: &dyn std::error::Error| {
            NetworkError::new(kind, format!("{host}:{port}: {error}"))
        };

        Progress::enter(Phase::Resolve);
        let addresses =
            tokio::net::lookup_host((host, port)).await.map_err(|error| failed(Resolve, &error))?;

        Progress::enter(Phase::Connect);
        let mut last = NetworkError::new(Resolve, format!("{host}:{port}: the name has no address"));
        let mut connected = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(error) => last = failed(Connect, &error),
            }
        }
        let stream = connected.ok_or(last)?;
        // Acks and pings are small and must not wait for each other.
        stream.set_nodelay(true).map_err(|error| failed(Connect, &error))?;

        let Some(tls) = self.tls else { return Ok(Line::Plain(stream)) };
        Progress::enter(Phase::Tls);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(Tls, &error))?;
        let stream = tls.connect(name, stream).await.map_err(|error| failed(Tls, &error))?;
        Ok(Line::Tls(Box::new(stream)))
    }
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
        if matches!(polled, Poll::Ready(Ok(()))) && buffer.filled().len() == before && buffer.remaining() > 0
        {
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
