//! The first connection of several that could be made (RFC 8305, F-009).

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How long an attempt is alone before the next one starts beside it (RFC 8305 §5, "Connection Attempt Delay"). A
/// dead family costs every connection this much and no more, whatever it was like at the one before: nothing is
/// remembered, so nothing has to be forgotten when it heals.
const DELAY: Duration = Duration::from_millis(250);

/// The most addresses tried for one connection: a name server can list any number.
const ADDRESS_LIMIT: usize = 16;

/// Connects to the first address that answers. The attempts start in turns of the families, each [`DELAY`] after the
/// one before, or at once when one has failed. The others are dropped, and with them their sockets.
///
/// # Errors
/// When all have failed, with the last failure. An attempt that hangs is waited for: the caller has the deadline.
pub(crate) async fn first<C, F>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> io::Result<C>
where
    F: Future<Output = io::Result<C>>,
{
    let mut waiting = in_turns(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(connect(address));
        }
        let next =
            async { if waiting.is_empty() { pending().await } else { tokio::time::sleep(DELAY).await } };
        tokio::select! {
            biased;
            done = attempts.next() => match done {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = next => {}
        }
    }
}

/// The families in turns, beginning with that of the first address; otherwise in the order given.
fn in_turns(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = VecDeque::new();
    while turns.len() < addresses.len().min(ADDRESS_LIMIT) {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns.truncate(ADDRESS_LIMIT);
    turns
}

#[cfg(test)]
mod tests;
