//! F-038: any order, interleaved, expired, impossible, and too much.

use proptest::prelude::*;

use super::*;
use crate::frame::Header;

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_secs(seconds))
}

fn part(id: &str, sum: &str, seq: &str, payload: &[u8]) -> Frame {
    let headers = [("message_id", id), ("sum", sum), ("seq", seq)]
        .map(|(key, value)| Header { key: key.to_owned(), value: value.to_owned() });
    Frame { headers: headers.into(), payload: Some(Bytes::copy_from_slice(payload)), ..Frame::default() }
}

fn whole(bytes: &'static [u8]) -> Result<Joined, PartError> {
    Ok(Joined::Whole(Bytes::from_static(bytes)))
}

#[test]
fn parts_join_in_any_order_and_interleaved() {
    let mut parts = Parts::default();
    let mut take =
        |id: &str, sum: &str, seq: &str, payload: &[u8]| parts.take(&part(id, sum, seq, payload), at(0));
    assert_eq!(take("a", "3", "2", "é".as_bytes().split_at(1).1), Ok(Joined::Incomplete));
    assert_eq!(take("b", "2", "1", b"B1"), Ok(Joined::Incomplete));
    assert_eq!(take("a", "3", "0", b"A0"), Ok(Joined::Incomplete));
    assert_eq!(take("c", "1", "0", b"C"), whole(b"C"));
    assert_eq!(take("b", "2", "0", b"B0"), whole(b"B0B1"));
    assert_eq!(take("a", "3", "0", b"again"), Ok(Joined::Incomplete));
    assert_eq!(take("a", "3", "1", "é".as_bytes().split_at(1).0), whole("A0é".as_bytes()));
    // The set is gone: a redelivery under the same id starts clean.
    assert_eq!(take("b", "2", "1", b"B1"), Ok(Joined::Incomplete));
    assert_eq!(take("b", "2", "0", b"b0"), whole(b"b0B1"));
}

#[test]
fn a_frame_without_sum_and_seq_is_whole() {
    let frame = Frame { payload: Some(Bytes::from_static(b"x")), ..Frame::default() };
    assert_eq!(Parts::default().take(&frame, at(0)), whole(b"x"));
    assert_eq!(Parts::default().take(&Frame::default(), at(0)), whole(b""));
}

#[test]
fn impossible_parts_are_refused() {
    use PartError::*;
    let long = "x".repeat(257);
    for (id, sum, seq, error) in [
        ("a", "0", "0", Sum(0)),
        ("a", "-1", "0", Sum(-1)),
        ("a", "1025", "0", Sum(1_025)),
        ("a", "2", "-1", Seq { seq: -1, sum: 2 }),
        ("a", "2", "2", Seq { seq: 2, sum: 2 }),
        ("a", "1", "1", Seq { seq: 1, sum: 1 }),
        ("a", "two", "0", NotANumber("sum")),
        ("a", "2", "", NotANumber("seq")),
        ("a", "9223372036854775808", "0", NotANumber("sum")),
        ("first", "3", "1", SumChanged { sum: 3, first: 2 }),
        ("first", "1", "0", SumChanged { sum: 1, first: 2 }),
        ("", "2", "0", Id),
        (&long, "2", "0", Id),
    ] {
        let mut parts = Parts::default();
        parts.take(&part("first", "2", "0", b"1"), at(0)).unwrap();
        assert_eq!(parts.take(&part(id, sum, seq, b"x"), at(0)), Err(error));
        assert_eq!(parts.take(&part("first", "2", "1", b"2"), at(0)), whole(b"12"));
    }
}

#[test]
fn a_set_expires_10_s_after_its_last_part() {
    let mut parts = Parts::default();
    parts.take(&part("a", "3", "0", b"0"), at(0)).unwrap();
    parts.take(&part("a", "3", "1", b"1"), at(9)).unwrap();
    assert_eq!(parts.expire(at(18)), 0);
    assert_eq!(parts.expire(at(19)), 1);
    assert_eq!(parts.bytes, 0);
    assert_eq!(parts.take(&part("a", "3", "2", b"2"), at(19)), Ok(Joined::Incomplete));
}

/// F-038: 10,000 orphans; F-095: parts that are large.
#[test]
fn memory_is_bounded_by_count_and_by_bytes() {
    let mut parts = Parts::default();
    for n in 0..10_000 {
        parts.take(&part(&format!("orphan {n}"), "2", "0", b"x"), at(n)).unwrap();
    }
    assert_eq!(parts.sets.len(), SETS);
    // The newest ones are those that stayed.
    assert_eq!(parts.take(&part("orphan 9999", "2", "1", b"y"), at(10_000)), whole(b"xy"));

    let large = vec![0; BYTES / 3];
    for n in 0..10 {
        parts.take(&part(&format!("large {n}"), "4", "0", &large), at(20_000 + n)).unwrap();
        assert!(parts.bytes <= BYTES);
    }
    assert_eq!(parts.take(&part("large 9", "4", "1", &large), at(30_000)), Ok(Joined::Incomplete));
    assert_eq!(parts.take(&part("large 9", "4", "2", &large), at(30_000)), Err(PartError::TooLarge));
    assert!(!parts.sets.contains_key("large 9"));
}

proptest! {
    #[test]
    fn every_order_gives_the_same_bytes(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 2..12),
        order in any::<prop::sample::Index>(),
    ) {
        let mut parts = Parts::default();
        let sum = pieces.len();
        let start = order.index(sum);
        let mut joined = Vec::new();
        for step in 0..sum {
            // From `start`, downwards and around: every first and last part occurs.
            let seq = (start + sum - step) % sum;
            let frame = part("id", &sum.to_string(), &seq.to_string(), &pieces[seq]);
            joined.push(parts.take(&frame, at(0)).unwrap());
        }
        prop_assert_eq!(joined.pop(), Some(Joined::Whole(pieces.concat().into())));
        prop_assert!(joined.iter().all(|joined| *joined == Joined::Incomplete));
        prop_assert_eq!((parts.bytes, parts.sets.len()), (0, 0));
    }
}
