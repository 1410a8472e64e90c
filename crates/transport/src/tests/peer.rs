//! The other side: servers that do as told, byte by byte.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use moorline_channel::{HandshakeError, HttpRequest, Message, Network, NetworkError, WebSocketRequest};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::{Options, Resolver, Transport};

/// Must appear in no error.
pub(crate) const CANARY: &str = "canary-7f3a";

pub(crate) fn run<F: Future>(test: F) -> F::Output {
    actix_rt::System::new().block_on(test)
}

#[allow(clippy::disallowed_methods, reason = "a test's peer: if it fails, the test sees it on the wire")]
pub(crate) fn spawn(peer: impl Future<Output = ()> + 'static) {
    actix_rt::spawn(peer);
}

/// Serves every connection with the same behaviour until the test ends.
pub(crate) async fn serve<F>(behaviour: impl Fn(TcpStream) -> F + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    serve_at("127.0.0.1", behaviour).await
}

/// The same, at another address of this machine.
pub(crate) async fn serve_at<F>(ip: &str, behaviour: impl Fn(TcpStream) -> F + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            spawn(behaviour(stream));
        }
    });
    address
}

/// An authority of our own, as a transport gets it, and a server under `localhost` certified by it.
pub(crate) fn authority(alpn: &[&[u8]]) -> (Bytes, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer).unwrap().into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    (Bytes::from(root.pem()), TlsAcceptor::from(Arc::new(config)))
}

pub(crate) fn network(extra_roots: Vec<Bytes>) -> Network {
    with(Options { extra_roots, ..Options::default() })
}

pub(crate) fn with(options: Options) -> Network {
    Transport::new(options).unwrap().network()
}

/// All the names there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(BTreeMap<String, Vec<SocketAddr>>);

impl Names {
    /// One name; its addresses have ports of their own.
    pub(crate) fn one(name: &str, addresses: impl Into<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self(BTreeMap::from([(name.to_owned(), addresses.into())])))
    }
}

impl Resolver for Names {
    fn resolve(&self, host: &str, _: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let found = self.0.get(host).cloned();
        Box::pin(async move { found.ok_or_else(|| io::Error::other("there is no such name")) })
    }
}

/// An address that takes no connection and refuses none: a listener whose queue is full. Its host does not answer as
/// long as this lives.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) async fn new(ip: &str) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        let socket = if ip.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
        socket.bind(SocketAddr::new(ip, 0)).unwrap();
        Self::behind(socket.listen(1).unwrap()).await
    }

    /// Nobody accepts from this listener any more; its queue should be short.
    pub(crate) async fn behind(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let patience = Duration::from_millis(100);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
            assert!(queued.len() < 100, "the queue of this listener has no end");
        }
        Self { address, _listener: listener, _queued: queued }
    }
}

/// The head of a request, up to and including the empty line; empty if the connection ended.
pub(crate) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// A platform: echoes on WebSockets, and answers every call with `ok`.
pub(crate) async fn platform<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    loop {
        let head = head(&mut stream).await;
        if head.contains("upgrade: websocket") {
            let mut socket = upgrade(stream, &head).await;
            while let Some(Ok(message)) = socket.next().await {
                let _ = socket.send(message).await;
            }
            return;
        }
        if head.is_empty() {
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
}

/// Calls, and opens a WebSocket that echoes: both work, or both errors.
pub(crate) async fn both(network: &Network, origin: &str) -> [Result<(), NetworkError>; 2] {
    let answer = network.http.call(get(&format!("{origin}/?q={CANARY}"), Duration::from_secs(10))).await;
    let mut request = websocket(&format!("{}/?q={CANARY}", origin.replacen("http", "ws", 1)));
    request.deadline = Duration::from_secs(10);
    let opened = network.websocket.open(request).await;
    let opened = match opened {
        Ok(mut socket) => {
            socket.send(Message::Text("hello".to_owned())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Text("hello".to_owned()));
            Ok(())
        }
        Err(HandshakeError::Network(error)) => Err(error),
        Err(refused) => panic!("{refused}"),
    };
    [answer.map(|answer| assert_eq!(answer.body, "ok")), opened]
}

/// Answers an upgrade.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    head: &str,
) -> WebSocketStream<S> {
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    // Its own buffers would hide what ours take.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// Accepts one WebSocket per connection and hands it to the behaviour.
pub(crate) async fn serve_sockets<F>(
    behaviour: impl Fn(WebSocketStream<TcpStream>) -> F + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let behaviour = Rc::new(behaviour);
    serve(move |mut stream| {
        let behaviour = behaviour.clone();
        async move {
            let head = head(&mut stream).await;
            behaviour(upgrade(stream, &head).await).await;
        }
    })
    .await
}

pub(crate) fn get(url: &str, deadline: Duration) -> HttpRequest {
    HttpRequest { deadline, ..HttpRequest::new(Method::GET, Url::parse(url).unwrap()) }
}

pub(crate) fn websocket(url: &str) -> WebSocketRequest {
    WebSocketRequest {
        url: Url::parse(url).unwrap(),
        headers: http::HeaderMap::new(),
        deadline: Duration::from_secs(2),
        message_limit: 1 << 20,
    }
}

/// Memory of this process in KiB: what it has (`VmRSS:`), or the most it ever had (`VmHWM:`).
pub(crate) fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
