//! F-010: everything goes through the proxy, or the proxy is named.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use moorline_channel::NetworkErrorKind;
use moorline_channel::core::Effect;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::peer::{
    BlackHole, CANARY, Names, authority, both, get, head, platform, run, serve, serve_at, spawn, with,
};
use crate::{Options, Proxy};

/// What a proxy was asked.
type Asked = Rc<RefCell<Vec<String>>>;

/// A proxy that knows where every host is: at `platform`.
async fn proxy(platform: impl Fn(&str) -> SocketAddr + 'static) -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let platform = Rc::new(platform);
    let address = serve(move |mut stream| {
        let (log, platform) = (log.clone(), platform.clone());
        async move {
            let head = head(&mut stream).await;
            let target =
                head.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(' ')).unwrap().0.to_owned();
            log.borrow_mut().push(head);
            let mut there = TcpStream::connect(platform(&target)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut there).await;
        }
    })
    .await;
    (address, asked)
}

fn through(proxy: SocketAddr) -> Proxy {
    Proxy::parse(&format!("http://user:{CANARY}@{proxy}")).unwrap()
}

/// Calls and WebSockets, plain and encrypted: the proxy sees every connection, and looks up every name; ours knows
/// none but `localhost`, which the proxy is at.
#[test]
fn every_connection_goes_through_the_proxy() {
    run(async {
        let plain = serve(platform).await;
        let (root, acceptor) = authority(&[b"h2", b"http/1.1"]);
        let secure = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move { platform(acceptor.accept(stream).await.unwrap()).await }
        })
        .await;
        let (address, asked) =
            proxy(move |target| if target.ends_with(":443") { secure } else { plain }).await;
        let network = with(Options {
            extra_roots: vec![root],
            proxy: Some(Proxy { host: "proxy.test".to_owned(), ..through(address) }),
            resolver: Names::one("proxy.test", [address]),
            ..Options::default()
        });
        for origin in ["http://platform.test", "http://[2001:db8::1]:8080", "https://localhost"] {
            assert_eq!(both(&network, origin).await, [Ok(()), Ok(())], "{origin}");
        }
        let heads = asked.take();
        let targets: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
        let expected = ["platform.test:80", "[2001:db8::1]:8080", "localhost:443"].map(|target| {
            let line = format!("CONNECT {target} HTTP/1.1");
            [line.clone(), line]
        });
        assert_eq!(targets, expected.concat());
        for head in &heads {
            assert!(head.contains("Proxy-Authorization: Basic "), "{head}");
        }
        // A connection through the proxy is kept like any other.
        network.http.call(get("http://platform.test/", Duration::from_secs(1))).await.unwrap();
        assert!(asked.borrow().is_empty(), "{:?}", asked.borrow());
    });
}

/// What is listed is connected to directly, and only that; loopback is listed like anything else.
#[test]
fn listed_hosts_bypass_the_proxy() {
    run(async {
        let (here, there) = (serve(platform).await, serve_at("127.0.0.2", platform).await);
        let (address, asked) = proxy(move |target| target.parse().unwrap()).await;
        let bypass = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let network =
            with(Options { proxy: Some(Proxy { bypass, ..through(address) }), ..Options::default() });
        for origin in [format!("http://{here}"), format!("http://localhost:{}", here.port())] {
            assert_eq!(both(&network, &origin).await, [Ok(()), Ok(())]);
        }
        assert!(asked.borrow().is_empty(), "{:?}", asked.borrow());
        assert_eq!(both(&network, &format!("http://{there}")).await, [Ok(()), Ok(())]);
        assert_eq!(asked.borrow().len(), 2);
    });
}

/// A proxy that says this and then hangs or ends.
async fn saying(said: &'static [u8], hang: bool) -> SocketAddr {
    serve(move |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(said).await.unwrap();
        if hang {
            std::future::pending().await
        }
    })
    .await
}

/// Whatever a proxy does instead of connecting us: the error names it and not what it was told, comes within the time
/// to connect, and is certain of having had no effect.
#[test]
fn a_proxy_that_does_not_connect_us_is_named_in_time() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let down = free.local_addr().unwrap();
        drop(free);
        let hole = BlackHole::new("127.0.0.1").await;
        let dripping = serve(|mut stream| async move {
            head(&mut stream).await;
            for byte in b"HTTP/1.1 200 Connection established\r\n".iter().cycle() {
                if stream.write_u8(*byte).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let flooding = serve(|mut stream| async move {
            head(&mut stream).await;
            while stream.write_all(&[b'x'; 1 << 12]).await.is_ok() {}
        })
        .await;
        let connected = b"HTTP/1.1 200 Connection established\r\n\r\n";
        use NetworkErrorKind::{Connect, ConnectTimeout, Resolve, Tls};
        let cases = [
            (down, Connect, "refused"),
            (hole.address, ConnectTimeout, "TCP connection not complete in time"),
            (saying(b"", true).await, ConnectTimeout, "answer to CONNECT not complete in time"),
            (dripping, ConnectTimeout, "answer to CONNECT not complete in time"),
            (flooding, Connect, "longer than 8192 bytes"),
            (saying(b"", false).await, Connect, "ended the connection"),
            (
                saying(b"HTTP/1.1 407 canary-7f3a\r\n\r\n", true).await,
                Connect,
                "does not accept our credentials",
            ),
            (saying(b"HTTP/1.1 503 canary-7f3a\r\n\r\n", true).await, Connect, "status 503"),
            (saying(b"\x05\xff canary-7f3a\r\n\r\n", true).await, Connect, "not that of an HTTP proxy"),
            (saying(connected, true).await, ConnectTimeout, "TLS handshake not complete in time"),
            (saying(connected, false).await, Tls, ""),
        ];
        let connect_timeout = Duration::from_millis(400);
        for (proxy, kind, what) in cases {
            let network =
                with(Options { connect_timeout, proxy: Some(through(proxy)), ..Options::default() });
            let started = Instant::now();
            for error in both(&network, "https://platform.test").await {
                let error = error.unwrap_err();
                assert_eq!((error.kind, error.effect()), (kind, Effect::None), "{error}");
                let beginning = format!("platform.test:443: proxy {proxy}: ");
                assert!(error.message.starts_with(&beginning) && error.message.contains(what), "{error}");
                assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
            }
            let took = started.elapsed();
            assert!(took < 2 * connect_timeout + Duration::from_millis(500), "{took:?} for {what}");
        }
        let proxy = Proxy { host: "nowhere.test".to_owned(), ..through(down) };
        let options = Options { proxy: Some(proxy), resolver: Names::one("x", []), ..Options::default() };
        for error in both(&with(options), "http://platform.test").await {
            let error = error.unwrap_err();
            assert_eq!((error.kind, error.effect()), (Resolve, Effect::None));
            assert!(error.message.contains("proxy nowhere.test:"), "{error}");
        }
    });
}

/// A proxy that comes back is used again at once.
#[test]
fn a_proxy_that_comes_back_is_used() {
    run(async {
        let there = serve(platform).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let network = with(Options { proxy: Some(through(address)), ..Options::default() });
        assert!(both(&network, "http://platform.test").await.iter().all(Result::is_err));
        let listener = TcpListener::bind(address).await.unwrap();
        spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                spawn(async move {
                    head(&mut stream).await;
                    let mut there = TcpStream::connect(there).await.unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut there).await;
                });
            }
        });
        assert_eq!(both(&network, "http://platform.test").await, [Ok(()), Ok(())]);
    });
}
