//! The other side: servers that do as told, byte by byte.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use moorline_channel::{HttpRequest, Network, WebSocketRequest};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::{Options, Transport};

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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    Transport::new(Options { extra_roots, ..Options::default() }).unwrap().network()
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
