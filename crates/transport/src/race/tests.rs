use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::*;

/// What an address does with a connection.
#[derive(Clone, Copy, Debug)]
enum Host {
    Accepts(u64),
    Refuses(u64),
    Dead,
}

use Host::{Accepts, Dead, Refuses};

/// Number `n` of a family; the port is the place in the list.
fn address(family: char, place: usize) -> SocketAddr {
    let ip = if family == '6' { "2001:db8::1" } else { "192.0.2.1" };
    SocketAddr::new(ip.parse().unwrap(), place as u16)
}

struct Attempt<'a>(&'a RefCell<Vec<u16>>, u16);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

/// What comes of a race: who has won (or the last failure), after how many milliseconds, and who started when. Checks
/// that nobody is left running.
async fn race(hosts: &[(char, Host)]) -> (Result<u16, String>, u64, Vec<(u16, u64)>) {
    let started = RefCell::new(Vec::new());
    let ended = RefCell::new(Vec::new());
    let begun = Instant::now();
    let addresses: Vec<_> =
        hosts.iter().enumerate().map(|(place, (family, _))| address(*family, place)).collect();
    let result = first(&addresses, |address| {
        let port = address.port();
        let attempt = Attempt(&ended, port);
        started.borrow_mut().push((port, begun.elapsed().as_millis() as u64));
        async move {
            let attempt = attempt;
            match hosts[usize::from(port)].1 {
                Accepts(after) => {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    Ok(attempt.1)
                }
                Refuses(after) => {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    Err(io::Error::other(format!("{port} refused")))
                }
                Dead => std::future::pending().await,
            }
        }
    });
    let result = timeout(Duration::from_secs(5), result).await;
    let took = begun.elapsed().as_millis() as u64;
    let result = result.map_or(Err("late".to_owned()), |result| result.map_err(|error| error.to_string()));
    assert_eq!(started.borrow().len(), ended.borrow().len(), "an attempt outlived the race");
    (result, took, started.into_inner())
}

/// F-009, in both directions: the dead family costs 250 ms, a refusing one nothing.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_first_to_connect_wins_and_the_next_starts_250_ms_later_or_at_a_failure() {
    let refused = |port: u16| Err(format!("{port} refused"));
    let cases = [
        (vec![('6', Accepts(20)), ('4', Accepts(0))], Ok(0), 20, vec![(0, 0)]),
        (vec![('6', Dead), ('4', Accepts(20))], Ok(1), 270, vec![(0, 0), (1, 250)]),
        (vec![('4', Dead), ('6', Accepts(20))], Ok(1), 270, vec![(0, 0), (1, 250)]),
        (vec![('6', Refuses(5)), ('4', Accepts(20))], Ok(1), 25, vec![(0, 0), (1, 5)]),
        (vec![('6', Accepts(300)), ('4', Accepts(100))], Ok(0), 300, vec![(0, 0), (1, 250)]),
        (vec![('6', Accepts(400)), ('4', Accepts(100))], Ok(1), 350, vec![(0, 0), (1, 250)]),
        // Three dead addresses of one family do not come before the first of the other.
        (vec![('6', Dead), ('6', Dead), ('6', Dead), ('4', Accepts(1))], Ok(3), 251, vec![(0, 0), (3, 250)]),
        (
            vec![('4', Dead), ('4', Refuses(1)), ('6', Refuses(2)), ('6', Accepts(3))],
            Ok(3),
            256,
            vec![(0, 0), (2, 250), (1, 252), (3, 253)],
        ),
        (vec![('6', Refuses(1)), ('4', Refuses(2))], refused(1), 3, vec![(0, 0), (1, 1)]),
        (vec![('6', Refuses(400)), ('4', Refuses(1))], refused(0), 400, vec![(0, 0), (1, 250)]),
        (vec![('6', Dead), ('4', Dead)], Err("late".to_owned()), 5_000, vec![(0, 0), (1, 250)]),
        (vec![], Err("the name has no address".to_owned()), 0, vec![]),
    ];
    for (hosts, result, took, started) in cases {
        assert_eq!(race(&hosts).await, (result, took, started), "{hosts:?}");
    }
}

proptest! {
    /// Whatever a name server lists: the order within a family stays, the families take turns, and it ends.
    #[test]
    fn turns_keep_the_order_and_are_bounded(families in proptest::collection::vec(any::<bool>(), 0..40)) {
        let addresses: Vec<_> = families
            .iter()
            .enumerate()
            .map(|(place, six)| address(if *six { '6' } else { '4' }, place))
            .collect();
        let turns = in_turns(&addresses);
        prop_assert_eq!(turns.len(), addresses.len().min(ADDRESS_LIMIT));
        prop_assert_eq!(turns.front(), addresses.first());
        for six in [false, true] {
            let of = |all: &mut dyn Iterator<Item = &SocketAddr>| {
                all.filter(|address| address.is_ipv6() == six).map(SocketAddr::port).collect::<Vec<_>>()
            };
            let (taken, listed) = (of(&mut turns.iter()), of(&mut addresses.iter()));
            prop_assert_eq!(&taken[..], &listed[..taken.len()]);
            // A family waits for its turn only while the other has one.
            let other = turns.len() - taken.len();
            prop_assert!(taken.len() == listed.len() || taken.len() + 1 >= other);
        }
    }
}
