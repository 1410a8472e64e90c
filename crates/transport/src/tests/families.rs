//! F-009: one family of a host is dead.

use std::time::Duration;

use futures_util::future::join;
use moorline_channel::NetworkErrorKind;
use moorline_channel::core::Effect;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::peer::{BlackHole, Names, authority, both, get, platform, run, serve_at, websocket, with};
use crate::Options;

const LIMIT: Duration = Duration::from_secs(1);

/// Whichever family is dead, and however often it was before: a connection stands within a second. Encrypted or not,
/// for calls and sockets.
#[test]
fn a_host_with_one_dead_family_is_connected_to_within_a_second_both_ways() {
    run(async {
        for (dead, live) in [("::1", "127.0.0.1"), ("127.0.0.1", "::1")] {
            let dead = BlackHole::new(dead).await;
            let plain = serve_at(live, platform).await;
            let (root, acceptor) = authority(&[]);
            let secure = serve_at(live, move |stream| {
                let acceptor = acceptor.clone();
                async move { platform(acceptor.accept(stream).await.unwrap()).await }
            })
            .await;
            for (origin, live) in [("http://localhost", plain), ("https://localhost", secure)] {
                for order in [[dead.address, live], [live, dead.address]] {
                    let network = with(Options {
                        extra_roots: vec![root.clone()],
                        resolver: Names::one("localhost", order),
                        ..Options::default()
                    });
                    for _ in 0..2 {
                        let started = Instant::now();
                        assert_eq!(both(&network, origin).await, [Ok(()), Ok(())], "{origin} at {order:?}");
                        let took = started.elapsed();
                        assert!(took < LIMIT, "{took:?} for {origin} at {order:?}");
                    }
                }
            }
        }
    });
}

/// Nothing is remembered of a family: when the other one dies instead, the next connection finds its way as well.
#[test]
fn a_family_that_was_dead_is_used_again() {
    run(async {
        let refusing = TcpListener::bind("[::1]:0").await.unwrap();
        let six = refusing.local_addr().unwrap();
        drop(refusing);
        let four = serve_at("127.0.0.1", platform).await;
        let network = with(Options { resolver: Names::one("both.test", [six, four]), ..Options::default() });
        assert_eq!(both(&network, "http://both.test").await, [Ok(()), Ok(())]);

        let healed = TcpListener::bind(six).await.unwrap();
        let mut request = websocket("ws://both.test/");
        request.deadline = Duration::from_millis(200);
        let opening = network.websocket.open(request);
        let accepted = timeout(LIMIT, join(healed.accept(), opening)).await;
        assert!(accepted.unwrap().0.is_ok(), "the preferred family was not tried again");
    });
}

/// The whole race is bounded by the time to connect, and has had no effect.
#[test]
fn a_host_whose_addresses_are_all_dead_ends_in_time_and_without_effect() {
    run(async {
        let (six, four) = (BlackHole::new("::1").await, BlackHole::new("127.0.0.1").await);
        let connect_timeout = Duration::from_millis(600);
        let network = with(Options {
            connect_timeout,
            resolver: Names::one("both.test", [six.address, four.address]),
            ..Options::default()
        });
        let started = Instant::now();
        for error in both(&network, "http://both.test").await {
            let error = error.unwrap_err();
            assert_eq!((error.kind, error.effect()), (NetworkErrorKind::ConnectTimeout, Effect::None));
            assert_eq!(error.message, "both.test:80: TCP connection not complete in time");
        }
        let took = started.elapsed();
        assert!((2 * connect_timeout..2 * connect_timeout + LIMIT).contains(&took), "{took:?}");

        // The same without any name, by the default resolver.
        let request = get(&format!("http://{}/", four.address), Duration::from_millis(300));
        let error = with(Options::default()).http.call(request).await.unwrap_err();
        assert_eq!((error.kind, error.effect()), (NetworkErrorKind::ConnectTimeout, Effect::None));
    });
}
