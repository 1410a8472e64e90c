use std::time::Duration;

use bytes::Bytes;
use moorline_channel::core::Effect;
use moorline_channel::{HandshakeError, Network, NetworkError, NetworkErrorKind};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::peer::{CANARY, authority, both, get, network, platform, run, serve, websocket};
use crate::{Options, Transport};

async fn call(network: &Network, origin: &str) -> NetworkError {
    network.http.call(get(&format!("{origin}/?q={CANARY}"), Duration::from_secs(1))).await.unwrap_err()
}

async fn open(network: &Network, origin: &str) -> NetworkError {
    let mut request = websocket(&format!("{}/?q={CANARY}", origin.replace("http", "ws")));
    request.deadline = Duration::from_secs(1);
    match network.websocket.open(request).await {
        Err(HandshakeError::Network(error)) => error,
        Err(refused) => panic!("{refused}"),
        Ok(_) => panic!("it opened"),
    }
}

/// Whatever fails before a byte has left is certain to have had no effect, and says so; by name of phase (F-027).
#[test]
fn connecting_fails_by_phase_and_without_effect() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = free.local_addr().unwrap();
        drop(free);
        let silent = serve(|stream| async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let closing = serve(|stream| async move { drop(stream) }).await;
        let (_, acceptor) = authority(&[]);
        let untrusted = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move { drop(acceptor.accept(stream).await) }
        })
        .await;

        // Too long for a label: fails without asking a name server, so also where there is none.
        let unresolvable = format!("{}-name.invalid", "x".repeat(64));

        use NetworkErrorKind::{Connect, ConnectTimeout, Resolve, Tls};
        let network = network(Vec::new());
        for (origin, kind, phase) in [
            (format!("http://{refusing}"), Connect, ""),
            (format!("http://{unresolvable}"), Resolve, "name.invalid:80"),
            (format!("https://localhost:{}", silent.port()), ConnectTimeout, "TLS handshake"),
            (format!("https://localhost:{}", closing.port()), Tls, ""),
            (format!("https://localhost:{}", untrusted.port()), Tls, "certificate"),
        ] {
            for error in [call(&network, &origin).await, open(&network, &origin).await] {
                assert_eq!(error.kind, kind, "{origin}: {error}");
                assert_eq!(error.effect(), Effect::None);
                let shown = format!("{error} {error:?}");
                assert!(shown.contains(phase) && !shown.contains(CANARY), "{shown}");
            }
        }
    });
}

/// A file as `SSL_CERT_FILE` would name it: several authorities and remarks between them. They hold for calls and
/// sockets; who is certified by none of them is trusted by neither.
#[test]
fn a_bundle_of_authorities_is_trusted_for_calls_and_sockets() {
    run(async {
        let mut bundle = b"# Ours.\n".to_vec();
        let mut origins = Vec::new();
        for listed in [true, true, false] {
            let (root, acceptor) = authority(&[]);
            if listed {
                bundle.extend_from_slice(&[&root[..], b"\n# And:\n"].concat());
            }
            let address = serve(move |stream| {
                let acceptor = acceptor.clone();
                async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        platform(stream).await;
                    }
                }
            })
            .await;
            origins.push((format!("https://localhost:{}", address.port()), listed));
        }
        let network = network(vec![Bytes::from(bundle)]);
        for (origin, listed) in origins {
            for result in both(&network, &origin).await {
                assert_eq!(
                    result.map_err(|error| error.kind),
                    if listed { Ok(()) } else { Err(NetworkErrorKind::Tls) }
                );
            }
        }
    });
}

#[test]
fn connecting_has_a_limit_of_its_own() {
    run(async {
        let silent = serve(|stream| async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let options = Options { connect_timeout: Duration::from_millis(100), ..Options::default() };
        let network = Transport::new(options).unwrap().network();
        let started = Instant::now();
        let request = get(&format!("https://localhost:{}/", silent.port()), Duration::from_secs(5));
        let error = network.http.call(request).await.unwrap_err();
        assert_eq!(error.kind, NetworkErrorKind::ConnectTimeout);
        assert!(error.message.contains("TLS handshake"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2));
    });
}
