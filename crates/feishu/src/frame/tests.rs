//! The codec, byte for byte against the protocol page, and against noise.

use proptest::prelude::*;

use super::*;
use crate::fake;

fn headers(pairs: &[(&str, &str)]) -> Vec<Header> {
    pairs.iter().map(|(key, value)| Header { key: (*key).into(), value: (*value).into() }).collect()
}

/// Protocol §2.1: the zeroes are written.
#[test]
fn a_ping_is_written_byte_for_byte() {
    assert_eq!(Frame::ping(33_554_678).write(), fake::bytes(fake::PING));
}

/// Protocol §2: a negative int32 is a varint of ten bytes.
#[test]
fn a_negative_service_has_ten_bytes() {
    let frame = Frame::ping(-1);
    assert_eq!(frame.write()[4..15], [0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    assert_eq!(Frame::read(frame.write()).unwrap(), frame);
}

/// Protocol §2.2 and §2.3.
#[test]
fn the_frames_of_the_page_are_read() {
    let pong = Frame::read(fake::bytes(fake::PONG)).unwrap();
    assert_eq!((pong.service, pong.method, pong.header("type")), (33_554_678, CONTROL, Some("pong")));
    assert_eq!(pong.payload.as_ref().unwrap().len(), 82);

    let data = Frame::read(fake::bytes(fake::DATA)).unwrap();
    let wanted = Frame {
        seq_id: 1,
        log_id: 7_300_000_000_000_000_001,
        service: 33_554_678,
        method: DATA,
        headers: headers(&[
            ("type", "event"),
            ("message_id", "m-1"),
            ("sum", "1"),
            ("seq", "0"),
            ("trace_id", "t-1"),
        ]),
        payload_encoding: None,
        payload_type: None,
        payload: Some(Bytes::from_static(br#"{"schema":"2.0"}"#)),
        log_id_new: Some("20240101".to_owned()),
    };
    assert_eq!(data, wanted);
    for dump in [fake::PING, fake::PONG, fake::DATA, fake::ACK] {
        let bytes = fake::bytes(dump);
        assert_eq!(Frame::read(bytes.clone()).unwrap().write(), bytes);
    }
}

/// F-037: fields of a later version, in any place, change nothing.
#[test]
fn unknown_fields_are_skipped() {
    let mut bytes = vec![0x52, 2, b'x', b'y', 0x58, 7];
    bytes.extend_from_slice(&fake::bytes(fake::DATA));
    bytes.extend_from_slice(&[0x65, 1, 2, 3, 4]);
    assert_eq!(Frame::read(bytes.into()).unwrap(), Frame::read(fake::bytes(fake::DATA)).unwrap());
}

#[test]
fn what_is_no_frame_is_an_error() {
    let data = fake::bytes(fake::DATA);
    let mut wrong_wire_type = data.to_vec();
    wrong_wire_type[0] = 0x0a;
    let not_utf8 = Frame { headers: headers(&[("type", "~")]), ..Frame::default() }.write();
    let not_utf8: Vec<u8> = not_utf8.iter().map(|&b| if b == b'~' { 0xff } else { b }).collect();
    for bytes in [data[..data.len() - 1].to_vec(), wrong_wire_type, not_utf8, vec![0xff; 12], vec![0x00]] {
        assert!(matches!(Frame::read(bytes.into()), Err(FrameError::Malformed(_))));
    }
}

/// F-095: refused before 2 MiB of empty headers become 48 MiB of them.
#[test]
fn a_frame_of_nothing_but_headers_is_refused() {
    assert_eq!(Frame::read([0x2a, 0].repeat(1 << 20).into()), Err(FrameError::TooManyHeaders));
    assert_eq!(Frame::read([0x2a, 0].repeat(HEADER_LIMIT).into()).unwrap().headers.len(), HEADER_LIMIT);
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..256)) {
        drop(Frame::read(noise.into()));
    }

    /// Real frames, cut short and with bits flipped.
    #[test]
    fn damaged_frames_never_panic(
        which in 0usize..4,
        length in 0usize..=160,
        flips in prop::collection::vec((0usize..160, 0u8..8), 0..6),
    ) {
        let mut bytes = fake::bytes([fake::PING, fake::PONG, fake::DATA, fake::ACK][which]).to_vec();
        bytes.truncate(length);
        for (at, bit) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        if let Ok(frame) = Frame::read(bytes.into()) {
            prop_assert_eq!(Frame::read(frame.write()).unwrap(), frame);
        }
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written(
        numbers in any::<(u64, u64, i32, i32)>(),
        pairs in prop::collection::vec((".{0,8}", ".{0,8}"), 0..8),
        payload in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
        log_id_new in prop::option::of(".{0,8}"),
    ) {
        let frame = Frame {
            seq_id: numbers.0,
            log_id: numbers.1,
            service: numbers.2,
            method: numbers.3,
            headers: pairs.into_iter().map(|(key, value)| Header { key, value }).collect(),
            payload: payload.map(Bytes::from),
            log_id_new,
            ..Frame::default()
        };
        prop_assert_eq!(Frame::read(frame.write()).unwrap(), frame);
    }
}
