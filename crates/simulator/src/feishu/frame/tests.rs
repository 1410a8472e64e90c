use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

const PING: &str = "08 00 10 00 18 f6 81 80 10 20 00 2a 0c 0a 04 74 79 70 65 12 04 70 69 6e 67";

const PONG: &str =
    "08 00 10 00 18 f6 81 80 10 20 00 2a 0c 0a 04 74 79 70 65 12 04 70 6f 6e 67 42 52 7b 22 52 65 63
 6f 6e 6e 65 63 74 43 6f 75 6e 74 22 3a 2d 31 2c 22 52 65 63 6f 6e 6e 65 63 74 49 6e 74 65 72 76
 61 6c 22 3a 39 30 2c 22 52 65 63 6f 6e 6e 65 63 74 4e 6f 6e 63 65 22 3a 32 35 2c 22 50 69 6e 67
 49 6e 74 65 72 76 61 6c 22 3a 39 30 7d";

const DATA: &str =
    "08 01 10 81 80 e8 e2 aa ea b3 a7 65 18 f6 81 80 10 20 01 2a 0d 0a 04 74 79 70 65 12 05 65 76 65
 6e 74 2a 11 0a 0a 6d 65 73 73 61 67 65 5f 69 64 12 03 6d 2d 31 2a 08 0a 03 73 75 6d 12 01 31 2a
 08 0a 03 73 65 71 12 01 30 2a 0f 0a 08 74 72 61 63 65 5f 69 64 12 03 74 2d 31 42 10 7b 22 73 63
 68 65 6d 61 22 3a 22 32 2e 30 22 7d 4a 08 32 30 32 34 30 31 30 31";

const ACK: &str =
    "08 01 10 81 80 e8 e2 aa ea b3 a7 65 18 f6 81 80 10 20 01 2a 0d 0a 04 74 79 70 65 12 05 65 76 65
 6e 74 2a 11 0a 0a 6d 65 73 73 61 67 65 5f 69 64 12 03 6d 2d 31 2a 08 0a 03 73 75 6d 12 01 31 2a
 08 0a 03 73 65 71 12 01 30 2a 0f 0a 08 74 72 61 63 65 5f 69 64 12 03 74 2d 31 2a 0c 0a 06 62 69
 7a 5f 72 74 12 02 31 32 42 2c 7b 22 63 6f 64 65 22 3a 20 32 30 30 2c 20 22 68 65 61 64 65 72 73
 22 3a 20 6e 75 6c 6c 2c 20 22 64 61 74 61 22 3a 20 6e 75 6c 6c 7d 4a 08 32 30 32 34 30 31 30 31";

fn data() -> Frame {
    let headers = [("type", "event"), ("message_id", "m-1"), ("sum", "1"), ("seq", "0"), ("trace_id", "t-1")];
    Frame {
        seq_id: 1,
        log_id: 7_300_000_000_000_000_001,
        service: 33_554_678,
        method: METHOD_DATA,
        headers: headers.into_iter().map(|(key, value)| Header::new(key, value)).collect(),
        payload: Some(br#"{"schema":"2.0"}"#.to_vec()),
        log_id_new: Some("20240101".to_owned()),
        ..Frame::default()
    }
}

fn ack() -> Frame {
    let mut frame = data();
    frame.headers.push(Header::new("biz_rt", "12"));
    frame.payload = Some(br#"{"code": 200, "headers": null, "data": null}"#.to_vec());
    frame
}

/// The dumps of the protocol page, made with the official encoder.
#[test]
fn the_bytes_are_those_of_the_official_encoder() {
    let config =
        br#"{"ReconnectCount":-1,"ReconnectInterval":90,"ReconnectNonce":25,"PingInterval":90}"#.to_vec();
    let cases = [
        ("ping", PING, 25, Frame::control(33_554_678, "ping", None)),
        ("pong", PONG, 109, Frame::control(33_554_678, "pong", Some(config))),
        ("data", DATA, 118, data()),
        ("ack", ACK, 160, ack()),
    ];
    for (name, dump, length, frame) in cases {
        let dump = bytes(dump);
        assert_eq!(dump.len(), length, "{name}");
        assert_eq!(frame.encode(), dump, "{name}");
        assert_eq!(Frame::decode(&dump), Ok(frame), "{name}");
    }
}

#[test]
fn what_is_no_frame_is_refused_with_its_reason() {
    let ping = bytes(PING);
    let cases: [(&[u8], FrameError); 7] = [
        (&[], FrameError::Missing("SeqID")),
        (&ping[2..], FrameError::Missing("SeqID")),
        (&ping[..9], FrameError::Missing("method")),
        (&ping[..ping.len() - 1], FrameError::Truncated),
        (&[0x0a, 0x00], FrameError::WireType { field: 1, wire_type: 2 }),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], FrameError::Varint),
        (&[0x4a, 0x01, 0xff], FrameError::Utf8 { field: 9 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(Frame::decode(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn unknown_fields_of_every_wire_type_are_skipped() {
    let mut with_unknown = bytes(PING);
    with_unknown.extend([0x78, 0x01]);
    with_unknown.extend([0x79, 1, 2, 3, 4, 5, 6, 7, 8]);
    with_unknown.extend([0x7a, 0x02, 9, 9]);
    with_unknown.extend([0x7d, 1, 2, 3, 4]);
    assert_eq!(Frame::decode(&with_unknown), Ok(Frame::control(33_554_678, "ping", None)));
}

fn frames() -> impl Strategy<Value = Frame> {
    let header = (".{0,9}", ".{0,9}").prop_map(|(key, value)| Header { key, value });
    let text = proptest::option::of(".{0,9}");
    (
        (any::<u64>(), any::<u64>(), any::<i32>(), any::<i32>()),
        proptest::collection::vec(header, 0..6),
        (text.clone(), text.clone(), proptest::option::of(any::<Vec<u8>>()), text),
    )
        .prop_map(|((seq_id, log_id, service, method), headers, rest)| Frame {
            seq_id,
            log_id,
            service,
            method,
            headers,
            payload_encoding: rest.0,
            payload_type: rest.1,
            payload: rest.2,
            log_id_new: rest.3,
        })
}

proptest! {
    #[test]
    fn every_frame_reads_back(frame in frames()) {
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    /// F-095: whatever arrives, reading it ends with a frame or an error.
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in any::<Vec<u8>>(), frame in frames(), cut in any::<u16>()) {
        let _ = Frame::decode(&bytes);
        let mut encoded = frame.encode();
        encoded.truncate(usize::from(cut) % (encoded.len() + 1));
        encoded.extend(bytes);
        let _ = Frame::decode(&encoded);
    }
}
