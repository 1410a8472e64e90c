//! The codec, byte for byte against the protocol page, and against noise.

use std::time::Duration;

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
    let bytes = strange();
    assert_eq!(Frame::read(bytes).unwrap(), Frame::read(fake::bytes(fake::DATA)).unwrap());
}

/// [`fake::DATA`] between fields nobody knows: a string, a number, a group with a number in it, four bytes.
fn strange() -> Bytes {
    let mut bytes = vec![0x52, 2, b'x', b'y', 0x58, 7, 0x63, 0x08, 1, 0x64];
    bytes.extend_from_slice(&fake::bytes(fake::DATA));
    bytes.extend_from_slice(&[0x6d, 1, 2, 3, 4]);
    bytes.into()
}

const STORED: &[u8] = br#"{"code": 200, "headers": null, "data": null}"#;

/// Protocol §2.4, byte for byte.
#[test]
fn the_acknowledgement_of_the_page() {
    let written = Acknowledgement::of(&fake::bytes(fake::DATA)).write(STORED, Duration::from_millis(12));
    assert_eq!(written, fake::bytes(fake::ACK));
}

/// Protocol §2.4: as it was, known or not, in the order received; only the payload is another, and `biz_rt` new.
#[test]
fn the_acknowledgement_repeats_what_nobody_knows() {
    let written = Acknowledgement::of(&strange()).write(STORED, Duration::from_millis(12));
    let mut wanted = strange()[..10].to_vec();
    wanted.extend_from_slice(&fake::bytes(fake::ACK));
    wanted.extend_from_slice(&[0x6d, 1, 2, 3, 4]);
    assert_eq!(written, wanted);
}

/// Whatever order the platform writes in: what came stays in it, the header follows the headers, and the payload is
/// where it was, or at the end.
#[test]
fn the_acknowledgement_keeps_the_order() {
    let required = [0x08, 0, 0x10, 0, 0x18, 0, 0x20, 1];
    let (header, old) = ([0x2a, 4, 0x0a, 0, 0x12, 0], [0x42, 1, b'!']);
    let (biz_rt, new) = (b"\x2a\x0b\x0a\x06biz_rt\x12\x010", b"\x42\x02{}");
    let none: &[u8] = &[];
    for (received, wanted) in [
        ([&required[..], &header, &old], vec![&required[..], &header, biz_rt, new]),
        ([&old, &header, &required], vec![new, &header, biz_rt, &required]),
        ([&header, &required, &old], vec![&header, biz_rt, &required, new]),
        ([&header, &required, none], vec![&header, biz_rt, &required, new]),
        ([&required, &old, none], vec![&required, biz_rt, new]),
        // The last payload counts, none of them is sent back, and the new one stands where the first was.
        ([&old, &header, &[&required[..], &old].concat()], vec![new, &header, biz_rt, &required]),
        ([&[old, old].concat()[..], &header, &required], vec![new, &header, biz_rt, &required]),
    ] {
        let frame = Bytes::from(received.concat());
        assert!(Frame::read(frame.clone()).is_ok());
        assert_eq!(Acknowledgement::of(&frame).write(b"{}", Duration::ZERO), wanted.concat());
    }
}

/// Protocol §2: always written, even when they are 0.
#[test]
fn a_frame_without_a_required_field_is_none() {
    let fields: [&[u8]; 5] = [&[0x08, 0], &[0x10, 0], &[0x18, 0], &[0x20, 0], &[0x2a, 4, 0x0a, 0, 0x12, 0]];
    assert!(Frame::read(fields.concat().into()).is_ok());
    for (left_out, name) in ["SeqID", "LogID", "service", "method"].into_iter().enumerate() {
        let rest: Vec<_> =
            fields.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, f)| *f).collect();
        assert_eq!(Frame::read(rest.concat().into()), Err(FrameError::Missing(name)));
    }
    for (header, name) in [
        (&[0x2a, 2, 0x12, 0][..], "key of a header"),
        (&[0x2a, 2, 0x0a, 0], "value of a header"),
        (&[0x2a, 0], "key of a header"),
    ] {
        let frame = [&fields.concat(), header].concat();
        assert_eq!(Frame::read(frame.into()), Err(FrameError::Missing(name)));
    }
}

#[test]
fn what_is_no_frame_is_an_error() {
    let data = fake::bytes(fake::DATA);
    let mut wrong_wire_type = data.to_vec();
    wrong_wire_type[0] = 0x0a;
    let not_utf8 = Frame { headers: headers(&[("type", "~")]), ..Frame::default() }.write();
    let not_utf8: Vec<u8> = not_utf8.iter().map(|&b| if b == b'~' { 0xff } else { b }).collect();
    let number_for_a_header = [&data[..], &[0x28, 1]].concat();
    let group_without_end = [&data[..], &[0x63, 0x08]].concat();
    let deep = [&data[..], &[0x63; 1_000], &[0x64; 1_000]].concat();
    for bytes in [
        data[..data.len() - 1].to_vec(),
        wrong_wire_type,
        not_utf8,
        number_for_a_header,
        group_without_end,
        deep,
        vec![0xff; 12],
        vec![0x00],
    ] {
        assert!(matches!(Frame::read(bytes.into()), Err(FrameError::Malformed(_))));
    }
}

/// F-095: refused before 2 MiB of empty headers become 48 MiB of them.
#[test]
fn a_frame_of_nothing_but_headers_is_refused() {
    let frame = |headers: usize| {
        let mut bytes = fake::bytes(fake::PING)[..11].to_vec();
        bytes.extend_from_slice(&[0x2a, 4, 0x0a, 0, 0x12, 0].repeat(headers));
        Frame::read(bytes.into())
    };
    assert_eq!(frame(1 << 18), Err(FrameError::TooManyHeaders));
    assert_eq!(frame(HEADER_LIMIT).unwrap().headers.len(), HEADER_LIMIT);
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..256)) {
        let noise = Bytes::from(noise);
        drop(Acknowledgement::of(&noise).write(STORED, Duration::ZERO));
        drop(Frame::read(noise));
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
        let bytes = Bytes::from(bytes);
        let answer = Acknowledgement::of(&bytes).write(STORED, Duration::from_millis(7));
        if let Ok(frame) = Frame::read(bytes) {
            prop_assert_eq!(&Frame::read(frame.write()).unwrap(), &frame);
            let mut headers = frame.headers.clone();
            headers.push(Header { key: "biz_rt".to_owned(), value: "7".to_owned() });
            let payload = Some(Bytes::from_static(STORED));
            prop_assert_eq!(Frame::read(answer).unwrap(), Frame { headers, payload, ..frame });
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
