//! Attempts of one call, as an endpoint sees them (F-080).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

/// What the endpoint does with one connection after the other.
enum Then {
    /// Closes it without an answer.
    Close,
    /// Answers.
    Answer(&'static str, &'static str),
}

/// Serves these, and gives what it was asked.
fn serve(script: Vec<Then>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = move || {
        let serve_one = |then| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).unwrap();
            if let Then::Answer(status, body) = then {
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).unwrap();
            }
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        script.into_iter().map(serve_one).collect()
    };
    (address, thread::spawn(serving))
}

fn key(asked: &str) -> Option<&str> {
    asked.lines().find_map(|line| line.strip_prefix("idempotency-key: "))
}

const RESTARTING: Then = Then::Answer("503 Service Unavailable", r#"{"error":{"code":"restarting"}}"#);
const BUSY: Then =
    Then::Answer("503 Service Unavailable", r#"{"error":{"code":"busy","message":"not now"}}"#);
const DONE: Then = Then::Answer("200 OK", "{}");

#[tokio::test]
async fn what_a_restart_gets_in_the_way_of_is_tried_again_under_the_same_key_f080() {
    let (address, endpoint) = serve(vec![Then::Close, RESTARTING, DONE]);
    let answer = Client::open(address).call(Method::POST, "/v1/reload", None).await.unwrap();
    assert_eq!(answer.status, 200);
    let asked = endpoint.join().unwrap();
    let keys: Vec<_> = asked.iter().map(|asked| key(asked).unwrap()).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");

    let (address, endpoint) = serve(vec![DONE]);
    Client::open(address).call(Method::GET, "/v1/status", None).await.unwrap();
    assert_eq!(key(&endpoint.join().unwrap()[0]), None, "what changes nothing needs none");
}

#[tokio::test]
async fn everything_else_fails_at_once_and_the_words_tell_which_it_was_f080() {
    let (address, endpoint) = serve(vec![BUSY]);
    let error = Client::open(address).expect(Method::POST, "/v1/reload", None).await.unwrap_err();
    assert_eq!(error.to_string(), "not now (503)");
    endpoint.join().unwrap();
    let error = Client::open(address).call(Method::GET, "/v1/status", None).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");

    let (address, endpoint) = serve((0..5).map(|_| RESTARTING).collect());
    let error = Client::open(address).call(Method::GET, "/v1/status", None).await.unwrap_err();
    let words = error.to_string();
    assert!(words.starts_with("the process was restarting, tried 5 times over 2."), "{words}");
    endpoint.join().unwrap();
}
