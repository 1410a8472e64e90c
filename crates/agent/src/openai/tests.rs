use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moorline_channel::HttpResponse;
use moorline_core::ConversationId;
use serde_json::{Value, json};

use super::*;
use crate::turn::Exchange;

const KEY: &str = "sk-hunter2canary";
const LIMIT: Duration = Duration::from_secs(300);

type Headers<'a> = &'a [(&'static str, &'a str)];
type Answers = Box<dyn Fn(u32) -> Result<HttpResponse, NetworkError>>;

/// Answers by the number of the call, from 1, each after a second; keeps what it was asked.
struct Endpoint {
    answers: Answers,
    calls: Cell<u32>,
    asked: RefCell<Vec<HttpRequest>>,
}

impl Http for Endpoint {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        self.calls.set(self.calls.get() + 1);
        self.asked.borrow_mut().push(request);
        let answer = (self.answers)(self.calls.get());
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer
        }
        .boxed_local()
    }
}

fn endpoint(answers: impl Fn(u32) -> Result<HttpResponse, NetworkError> + 'static) -> Rc<Endpoint> {
    Rc::new(Endpoint { answers: Box::new(answers), calls: Cell::new(0), asked: RefCell::default() })
}

fn response(status: u16, headers: Headers<'_>, body: impl ToString) -> HttpResponse {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    HttpResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect::<HeaderMap>(),
        body: Bytes::from(body.to_string()),
    }
}

fn completion(content: Value, finish_reason: &str) -> Value {
    json!({ "choices": [{ "message": { "role": "assistant", "content": content }, "finish_reason": finish_reason }] })
}

fn agent(http: &Rc<Endpoint>) -> OpenAi {
    OpenAi {
        http: Rc::clone(http) as Rc<dyn Http>,
        base_url: "http://agent.test/v1/".to_owned(),
        model: "m-1".to_owned(),
        api_key: Some(Secret::new(KEY)),
        system_prompt: Some("Be kind.".to_owned()),
        timeout: LIMIT,
    }
}

fn turn(interrupted: bool) -> Turn {
    Turn {
        conversation: ConversationId::new("oc_1"),
        transcript: Vec::new(),
        input: vec!["one".to_owned(), "two".to_owned()],
        interrupted,
        attempt: 1,
    }
}

/// What one answer, given again and again, means.
async fn meaning(answer: Result<HttpResponse, NetworkError>) -> Result<Reply, AgentError> {
    let result = agent(&endpoint(move |_| answer.clone())).respond(turn(false)).await;
    assert!(!format!("{result:?}").contains("hunter2"), "a body is quoted (F-090): {result:?}");
    result
}

#[tokio::test(start_paused = true)]
async fn the_model_is_asked_with_everything_that_it_may_know() {
    let http = endpoint(|_| Ok(response(200, &[], completion(json!("hi"), "stop"))));
    let transcript = [("a", Reply::Text("b".to_owned())), ("c", Reply::Silent)]
        .map(|(input, reply)| Exchange { input: vec![input.to_owned()], reply });
    let beheaded = Exchange { input: Vec::new(), reply: Reply::Text("x".to_owned()) };
    let transcript = [beheaded].into_iter().chain(transcript).collect();
    let asked = Turn { transcript, ..turn(true) };
    assert_eq!(agent(&http).respond(asked.clone()).await, Ok(Reply::Text("hi".to_owned())));
    let bare = OpenAi {
        api_key: None,
        system_prompt: None,
        base_url: "http://agent.test".to_owned(),
        ..agent(&http)
    };
    assert!(bare.respond(turn(false)).await.is_ok());

    let requests = http.asked.borrow();
    let [full, bare] = requests.as_slice() else { panic!("two calls") };
    assert_eq!((&full.method, full.url.as_str()), (&Method::POST, "http://agent.test/v1/chat/completions"));
    assert_eq!(bare.url.as_str(), "http://agent.test/chat/completions");
    assert_eq!((full.deadline, full.body_limit), (LIMIT, 4 << 20));
    assert_eq!(full.headers[AUTHORIZATION], format!("Bearer {KEY}").as_str());
    assert!(full.headers[AUTHORIZATION].is_sensitive() && !bare.headers.contains_key(AUTHORIZATION));
    let message = |role: &str, content: &str| json!({ "role": role, "content": content });
    let body: Value = serde_json::from_slice(&full.body).unwrap();
    let messages = json!([
        message("system", "Be kind."),
        message("user", "a"),
        message("assistant", "b"),
        message("user", "c"),
        message("assistant", "NO_REPLY"),
        message("system", asked.note().unwrap()),
        message("user", "one\ntwo"),
    ]);
    assert_eq!(body, json!({ "model": "m-1", "messages": messages, "stream": false }));
    let body: Value = serde_json::from_slice(&bare.body).unwrap();
    assert_eq!(body["messages"], json!([message("user", "one\ntwo")]));
}

#[tokio::test(start_paused = true)]
async fn answers_are_replies_silence_or_failures_f047() {
    let refusal = json!({ "choices": [{ "message": { "content": null, "refusal": KEY } }] });
    let parts =
        json!([{ "type": "text", "text": "h" }, { "type": "image" }, { "type": "text", "text": "i" }]);
    let rows: [(Value, Result<&str, &str>); 12] = [
        (completion(json!("hi"), "stop"), Ok("hi")),
        (completion(json!("\n\nhi\n"), "stop"), Ok("hi")),
        (completion(json!("hi"), "length"), Ok("hi")),
        (completion(parts, "stop"), Ok("hi")),
        (json!({ "choices": [{ "message": { "content": "hi" } }] }), Ok("hi")),
        (completion(json!("NO_REPLY"), "stop"), Ok("")),
        (completion(json!(""), "stop"), Err("empty answer")),
        (completion(Value::Null, "stop"), Err("empty answer")),
        (completion(json!(KEY), "content_filter"), Err("content filter")),
        (completion(json!(" "), "length"), Err("ran out of tokens")),
        (completion(Value::Null, "tool_calls"), Err("asked for a tool")),
        (refusal, Err("the model refused")),
    ];
    for (body, expected) in rows {
        let shown = body.to_string();
        let reply = meaning(Ok(response(200, &[], body))).await;
        match expected {
            Ok(text) => assert_eq!(reply, Ok(Reply::from_text(text)), "{shown}"),
            Err(why) => match reply {
                Err(AgentError::Refused { reason }) => assert!(reason.contains(why), "{shown}: {reason}"),
                other => panic!("{shown}: {other:?}"),
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_waited_for_or_names_what_to_change_f090() {
    let body = json!({ "error": { "message": format!("Incorrect API key provided: {KEY}") } });
    for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
        let expected = AgentError::Unavailable { reason: format!("status {status}"), retry_after: None };
        assert_eq!(meaning(Ok(response(status, &[], &body))).await, Err(expected));
    }
    let rows = [
        (301, "base_url"),
        (400, "model"),
        (401, "api_key"),
        (403, "api_key"),
        (404, "base_url"),
        (413, "too long"),
        (418, "base_url"),
        (422, "model"),
    ];
    for (status, setting) in rows {
        match meaning(Ok(response(status, &[], &body))).await {
            Err(AgentError::Refused { reason }) => {
                assert!(reason.contains(&format!("status {status}")) && reason.contains(setting), "{reason}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    // A gateway's success that is none.
    let wrapped = json!({ "error": { "code": 503, "message": KEY } });
    assert!(matches!(meaning(Ok(response(200, &[], wrapped))).await, Err(AgentError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn how_long_to_wait_is_said_in_seconds_or_as_a_date() {
    let date = "Fri, 20 Nov 2026 12:00:00 GMT";
    let rows: [(Headers<'_>, Option<u64>); 6] = [
        (&[("retry-after", "20")], Some(20)),
        (&[("retry-after", "Fri, 20 Nov 2026 12:01:30 GMT"), ("date", date)], Some(90)),
        (&[("retry-after", "Fri, 20 Nov 2026 11:59:00 GMT"), ("date", date)], None),
        (&[("retry-after", "Fri, 20 Nov 2026 12:01:30 GMT")], None),
        (&[("retry-after", "-1")], None),
        (&[("retry-after", "soon"), ("date", date)], None),
    ];
    for (headers, seconds) in rows {
        match meaning(Ok(response(429, headers, ""))).await {
            Err(AgentError::Unavailable { retry_after, .. }) => {
                assert_eq!(retry_after, seconds.map(Duration::from_secs), "{headers:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_network_is_waited_for_and_a_hang_is_not_f044() {
    use NetworkErrorKind::*;
    for kind in [Resolve, Connect, Tls, ConnectTimeout, Reset, Protocol] {
        let lost = meaning(Err(NetworkError::new(kind, "agent.test"))).await;
        assert!(matches!(lost, Err(AgentError::Unavailable { .. })), "{kind:?}: {lost:?}");
    }
    let hung = meaning(Err(NetworkError::new(Timeout, "agent.test"))).await;
    assert_eq!(hung, Err(AgentError::Timeout { limit: LIMIT }));
    let large = meaning(Err(NetworkError::new(TooLarge, "agent.test"))).await;
    assert!(matches!(large, Err(AgentError::Refused { .. })), "{large:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_asked_for_three_times_within_one_deadline() {
    let page = || Ok(response(200, &[("content-type", "text/html")], format!("<html>{KEY}")));
    let passing = endpoint(move |call| match call {
        1 | 2 => page(),
        _ => Ok(response(200, &[], completion(json!("hi"), "stop"))),
    });
    assert_eq!(agent(&passing).respond(turn(false)).await, Ok(Reply::Text("hi".to_owned())));
    let deadlines: Vec<u64> = passing.asked.borrow().iter().map(|asked| asked.deadline.as_secs()).collect();
    assert_eq!(deadlines, [300, 298, 296]);

    let lasting = endpoint(move |_| page());
    let answer = agent(&lasting).respond(turn(false)).await;
    assert_eq!(lasting.calls.get(), 3);
    assert!(
        matches!(&answer, Err(AgentError::Refused { reason }) if reason.contains("base_url")),
        "{answer:?}"
    );

    let hasty = OpenAi { timeout: Duration::from_millis(1_500), ..agent(&lasting) };
    let limit = hasty.timeout;
    assert_eq!(hasty.respond(turn(false)).await, Err(AgentError::Timeout { limit }));
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_request_is_refused_without_being_sent() {
    let http = endpoint(|_| panic!("nothing is sent"));
    let odd = OpenAi { api_key: Some(Secret::new("hunter2\n")), ..agent(&http) };
    let answer = odd.respond(turn(false)).await;
    assert!(
        matches!(&answer, Err(AgentError::Refused { reason }) if reason.contains("api_key")),
        "{answer:?}"
    );
    assert!(!format!("{answer:?}{odd:?}").contains("hunter2"));
    let odd = OpenAi { base_url: "nowhere".to_owned(), ..agent(&http) };
    assert!(matches!(odd.respond(turn(false)).await, Err(AgentError::Refused { .. })));
}
