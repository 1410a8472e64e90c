//! Login by QR code.

use super::*;

const HOST: &str = "https://weixin.test";

/// Asks for a code, with these tokens held already.
async fn code(client: &Client, tokens: Value) -> String {
    let url = Url::parse(&format!("{HOST}/ilink/bot/get_bot_qrcode?bot_type=3")).unwrap();
    let mut request = HttpRequest::new(Method::POST, url);
    request.headers = client.headers();
    request.headers.remove("authorization");
    request.headers.remove("authorizationtype");
    request.body = json!({ "local_token_list": tokens }).to_string().into();
    let answer: Value = serde_json::from_slice(&client.raw(request).await.unwrap().1).unwrap();
    assert!(answer["qrcode_img_content"].as_str().unwrap().starts_with("https://"));
    answer["qrcode"].as_str().unwrap().to_owned()
}

async fn status_at(client: &Client, host: &str, qrcode: &str, verify_code: &str) -> Value {
    let mut url = Url::parse(&format!("{host}/ilink/bot/get_qrcode_status")).unwrap();
    url.query_pairs_mut().append_pair("qrcode", qrcode);
    if !verify_code.is_empty() {
        url.query_pairs_mut().append_pair("verify_code", verify_code);
    }
    let mut request = HttpRequest::new(Method::GET, url);
    request.headers = client.headers();
    for name in ["authorization", "authorizationtype", "x-wechat-uin", "content-type"] {
        request.headers.remove(name);
    }
    request.deadline = Duration::from_secs(45);
    serde_json::from_slice(&client.raw(request).await.unwrap().1).unwrap()
}

async fn status(client: &Client, qrcode: &str) -> String {
    status_at(client, HOST, qrcode, "").await["status"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_code_is_scanned_and_confirmed() {
    let client = Client::new();
    let alice = UserId::new(ALICE);
    let begin = Instant::now();
    let qrcode = code(&client, json!([])).await;
    assert_eq!(status(&client, &qrcode).await, "wait");
    assert_eq!(begin.elapsed().as_secs(), 35);
    let scan = async {
        sleep(Duration::from_secs(2)).await;
        client.simulator.scan(&qrcode, &alice).unwrap();
    };
    assert_eq!(tokio::join!(status(&client, &qrcode), scan).0, "scaned");
    assert_eq!(begin.elapsed().as_secs(), 37);
    let confirm = async {
        sleep(Duration::from_secs(3)).await;
        client.simulator.confirm(&qrcode).unwrap().unwrap()
    };
    let (answer, bot) = tokio::join!(status_at(&client, HOST, &qrcode, ""), confirm);
    assert_eq!(begin.elapsed().as_secs(), 40);
    let expected = json!({
        "ret": 0, "status": "confirmed", "bot_token": bot.token, "ilink_bot_id": bot.bot_id,
        "ilink_user_id": ALICE, "baseurl": HOST,
    });
    assert_eq!(answer, expected);
    assert_eq!(status_at(&client, HOST, &qrcode, "").await, expected, "a lost answer can be asked for again");
    assert_eq!(client.simulator.confirm(&qrcode), Err(LoginError::Over(qrcode.clone())));
    assert_eq!(client.simulator.bot_of(&alice), Some(bot));
    assert_eq!(client.breaches(), []);
    let codes = client.simulator.login_codes();
    assert_eq!((codes.len(), codes[0].step, codes[0].polls), (1, LoginStep::Confirmed, 4));
}

#[tokio::test(start_paused = true)]
async fn a_number_has_to_be_entered() {
    let client = Client::new();
    let qrcode = code(&client, json!([])).await;
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    client.simulator.require_code(&qrcode, "42").unwrap();
    assert_eq!(status(&client, &qrcode).await, "need_verifycode");
    assert_eq!(status_at(&client, HOST, &qrcode, "41").await["status"], "need_verifycode");
    assert_eq!(status_at(&client, HOST, &qrcode, "42").await["status"], "scaned");
    client.simulator.confirm(&qrcode).unwrap();
    assert_eq!(status(&client, &qrcode).await, "confirmed");
    assert_eq!(client.simulator.login_codes()[0].entered, ["41", "42"]);

    let qrcode = code(&client, json!([])).await;
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    client.simulator.require_code(&qrcode, "42").unwrap();
    for expected in ["need_verifycode", "need_verifycode", "verify_code_blocked"] {
        assert_eq!(status_at(&client, HOST, &qrcode, "1").await["status"], expected);
    }
    assert_eq!(status_at(&client, HOST, &qrcode, "42").await["status"], "verify_code_blocked");
}

#[tokio::test(start_paused = true)]
async fn a_code_expires() {
    let client = Client::new();
    let qrcode = code(&client, json!([])).await;
    let begin = Instant::now();
    while status(&client, &qrcode).await == "wait" {}
    assert_eq!(begin.elapsed().as_secs(), 300);
    let qrcode = code(&client, json!([])).await;
    client.simulator.expire_code(&qrcode).unwrap();
    assert_eq!(status(&client, &qrcode).await, "expired");
    let qrcode = code(&client, json!([])).await;
    client.simulator.block_code(&qrcode).unwrap();
    assert_eq!(status(&client, &qrcode).await, "verify_code_blocked");
    assert_eq!(client.simulator.scan(&qrcode, &UserId::new(ALICE)), Err(LoginError::Over(qrcode)));
    assert_eq!(client.simulator.expire_code("x"), Err(LoginError::Unknown("x".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_sent_to_another_host_or_nowhere() {
    let client = Client::new();
    let qrcode = code(&client, json!([])).await;
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    client.simulator.redirect(&qrcode, Some("sz.weixin.test")).unwrap();
    let answer = status_at(&client, HOST, &qrcode, "").await;
    assert_eq!(
        answer,
        json!({ "ret": 0, "status": "scaned_but_redirect", "redirect_host": "sz.weixin.test" })
    );
    client.simulator.confirm(&qrcode).unwrap();
    assert_eq!(status(&client, &qrcode).await, "scaned_but_redirect");
    let answer = status_at(&client, "https://sz.weixin.test", &qrcode, "").await;
    assert_eq!(
        (&answer["status"], &answer["baseurl"]),
        (&json!("confirmed"), &json!("https://sz.weixin.test"))
    );

    let qrcode = code(&client, json!([])).await;
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    client.simulator.redirect(&qrcode, None).unwrap();
    assert_eq!(
        status_at(&client, HOST, &qrcode, "").await,
        json!({ "ret": 0, "status": "scaned_but_redirect" })
    );
    client.simulator.confirm(&qrcode).unwrap();
    assert_eq!(status(&client, &qrcode).await, "confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_bot_of_this_client_is_bound_already() {
    let client = Client::new();
    let bot = &client.bot;
    let qrcode = code(&client, json!([bot.token])).await;
    client.simulator.scan(&qrcode, &bot.user_id).unwrap();
    assert_eq!(client.simulator.confirm(&qrcode), Ok(None));
    assert_eq!(status(&client, &qrcode).await, "binded_redirect");
    client.push("a");
    assert_eq!(texts(&client.poll("").await.unwrap()), ["a"], "the login goes on");

    let qrcode = code(&client, json!(["another"])).await;
    client.simulator.scan(&qrcode, &bot.user_id).unwrap();
    assert!(client.simulator.confirm(&qrcode).unwrap().is_some());
    assert_eq!(client.poll("").await.unwrap()["errcode"], -14, "and now it is taken over");
}

#[tokio::test(start_paused = true)]
async fn a_login_can_fail_at_its_end_or_be_asked_for_wrongly() {
    let client = Client::new();
    let qrcode = code(&client, json!([])).await;
    assert_eq!(client.simulator.confirm(&qrcode), Err(LoginError::NotScanned(qrcode.clone())));
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    client.simulator.confirm_without_bot(&qrcode).unwrap();
    let answer = status_at(&client, HOST, &qrcode, "").await;
    assert_eq!((&answer["status"], answer.get("ilink_bot_id")), (&json!("confirmed"), None));

    assert_eq!(status_at(&client, HOST, "unknown", "").await["ret"], -1);
    let url = Url::parse(&format!("{HOST}/ilink/bot/get_bot_qrcode?bot_type=3")).unwrap();
    for tokens in [Value::Null, json!("x"), json!([1]), json!(vec!["t"; 11])] {
        let mut request = HttpRequest::new(Method::POST, url.clone());
        request.headers = client.headers();
        request.body = json!({ "local_token_list": tokens }).to_string().into();
        let answer: Value = serde_json::from_slice(&client.raw(request).await.unwrap().1).unwrap();
        assert_eq!(answer["ret"], -1, "{tokens}");
    }
    assert_eq!(client.breaches()[..3], [Breach::Field, Breach::UnwantedToken, Breach::Field]);
}

#[tokio::test(start_paused = true)]
async fn login_calls_have_faults_too() {
    let client = Client::new();
    let qrcode = code(&client, json!([])).await;
    let fault = Fault::Answer(
        Endpoint::QrcodeStatus,
        Answer::Body { status: 200, body: r#"{"status":"new"}"#.into() },
    );
    client.simulator.set_login_fault(fault, Times::Count(1));
    assert_eq!(status(&client, &qrcode).await, "new");
    client.simulator.scan(&qrcode, &UserId::new(ALICE)).unwrap();
    let lost = Fault::LoseAnswer(Endpoint::QrcodeStatus, Answer::Body { status: 502, body: "{}".into() });
    client.simulator.confirm(&qrcode).unwrap();
    client.simulator.set_login_fault(lost, Times::Count(1));
    assert_eq!(status_at(&client, HOST, &qrcode, "").await, json!({}));
    assert_eq!(status(&client, &qrcode).await, "confirmed");
}
