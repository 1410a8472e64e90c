use super::*;

const LIMIT: usize = 1_000;

/// An unmasked frame, as servers send them.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        long => {
            frame.push(126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Everything that comes out of these bytes, given in pieces of `step`, up to the first fault.
fn decode(bytes: &[u8], step: usize) -> Vec<Result<Message, String>> {
    let mut codec = Codec::new(LIMIT);
    let mut buffer = BytesMut::new();
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(message)) => out.push(Ok(message)),
                Ok(None) => break,
                Err(fault) => {
                    out.push(Err(fault.to_string()));
                    return out;
                }
            }
        }
    }
    out
}

#[test]
fn fragments_are_joined_around_control_frames() {
    let bytes = [
        frame(0x01, b"mess"),
        frame(0x89, b"beat"),
        frame(0x00, b""),
        frame(0x80, b"age"),
        frame(0x02, &[1]),
        frame(0x80, &[2]),
        frame(0x88, &[0x0f, 0xa1, b'n', b'o']),
    ]
    .concat();
    let expected = vec![
        Ok(Message::Ping(Bytes::from_static(b"beat"))),
        Ok(Message::Text("message".to_owned())),
        Ok(Message::Binary(Bytes::from_static(&[1, 2]))),
        Ok(Message::Close(Some(Close { code: 4001, reason: "no".to_owned() }))),
    ];
    for step in [1, 2, 3, 1_000] {
        assert_eq!(decode(&bytes, step), expected, "in pieces of {step}");
    }
}

/// F-095: the limit holds for a frame by its announced length, and for all fragments of a message together.
#[test]
fn the_limit_is_exact_and_judged_on_the_announced_length() {
    let too_large = [Err(format!("a message longer than {LIMIT} bytes"))];
    assert!(decode(&frame(0x82, &[0; LIMIT]), 64)[0].is_ok());
    assert_eq!(decode(&frame(0x82, &[0; LIMIT + 1])[..4], 4), too_large);
    assert_eq!(decode(&[0x82, 127, 0, 0, 0, 0, 6, 64, 0, 0], 1), too_large);
    let halves = |second: usize| [frame(0x02, &[0; 500]), frame(0x80, &vec![0; second])].concat();
    assert!(decode(&halves(500), 64)[0].is_ok());
    assert_eq!(decode(&halves(501), 64), too_large);
}

/// Which code it was decides what is done next.
#[test]
fn close_codes_and_reasons_pass_unchanged_both_ways() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4004, 4999_u16] {
        for reason in ["", "why: \u{5fd9}"] {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            let close = Message::Close(Some(Close { code, reason: reason.to_owned() }));
            assert_eq!(decode(&frame(0x88, &payload), 1), [Ok(close.clone())]);
            let mut sent = BytesMut::new();
            Codec::new(LIMIT).encode(close, &mut sent).unwrap();
            let (mask, masked) = sent[2..].split_at(4);
            let unmasked: Vec<_> =
                masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!((sent[0], unmasked), (0x88, payload));
        }
    }
    assert_eq!(decode(&frame(0x88, b""), 1), [Ok(Message::Close(None))]);
}

#[test]
fn what_is_not_websocket_is_a_protocol_fault_and_no_panic() {
    for (name, bytes) in [
        ("text that is not UTF-8", frame(0x81, &[0xff, 0xfe])),
        ("fragments that are not UTF-8", [frame(0x01, &[0xc3]), frame(0x80, &[0x28])].concat()),
        ("a fragment of nothing", frame(0x80, b"x")),
        ("a message inside a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat()),
        ("reserved bits", frame(0xc1, b"x")),
        ("a reserved opcode", frame(0x83, b"x")),
        ("a long ping", frame(0x89, &[0; 126])),
        ("a masked frame", vec![0x81, 0x81, 0, 0, 0, 0, b'x']),
        ("a close code of one byte", frame(0x88, &[3])),
        ("a close code that stands for no code", frame(0x88, &1005_u16.to_be_bytes())),
        ("a close code that stands for no close", frame(0x88, &1006_u16.to_be_bytes())),
    ] {
        let mut codec = Codec::new(LIMIT);
        let mut buffer = BytesMut::from(&bytes[..]);
        let fault = loop {
            match codec.decode(&mut buffer) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{name}: taken"),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, Fault::Protocol(_)), "{name}: {fault:?}");
    }
}
