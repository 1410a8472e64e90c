//! The routes of the scheduler's jobs.

use std::sync::Arc;

use moorline_core::JobId;
use moorline_runtime::CommandError;
use serde_json::json;

use super::fake::Fake;
use super::{ask, delete, get, post, with_body};

const JOB: &str = r#"{"account":"feishu:main","to":"oc_1","schedule":"0 9 * * *","text":"hello""#;

#[test]
fn jobs_are_added_shown_run_and_removed() {
    let with = |more: &str| with_body("/v1/cron", &format!("{JOB}{more}}}"));
    let table = [
        (with(""), 201, "add oc_1 0 9 * * * UTC text hello once 43200 -"),
        (
            with(r#","tz":"Asia/Shanghai","missed":"all","max_delay_seconds":60,"idempotency_key":"k""#),
            201,
            "add oc_1 0 9 * * * Asia/Shanghai text hello all 60 k",
        ),
        (
            with("").insert_header(("idempotency-key", "h")),
            201,
            "add oc_1 0 9 * * * UTC text hello once 43200 h",
        ),
        (delete("/v1/cron/5"), 200, "remove 5"),
        (post("/v1/cron/5/enable"), 200, "enable 5"),
        (post("/v1/cron/5/disable"), 200, "disable 5"),
        (post("/v1/cron/5/run"), 202, "run - 5"),
        (with_body("/v1/cron/5/run", r#"{"idempotency_key":"k"}"#), 202, "run k 5"),
        (get("/v1/cron/5"), 200, "show 5"),
    ];
    for (request, status, done) in table {
        let fake = Arc::new(Fake::default());
        let answer = ask(&fake, request);
        assert_eq!(answer.status.as_u16(), status, "{done}: {}", answer.body);
        assert_eq!(*fake.done.lock(), vec![done.to_owned()], "{}", answer.body);
    }
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, with("")).body["repeated"], json!(false));
    assert_eq!(ask(&fake, with("")).body["repeated"], json!(true));
    let jobs = ask(&fake, get("/v1/cron")).body;
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["id"], &job["tz"], &job["next_due"]),
        (&json!(5), &json!("Asia/Shanghai"), &json!("1970-01-01T01:00:00.000Z"))
    );
    let shown = ask(&fake, get("/v1/cron/5?limit=2")).body;
    assert_eq!(
        shown["runs"][0],
        json!({
            "id": 9, "job": 5, "due": "1970-01-01T00:00:00.000Z", "until": null, "count": 1, "trigger": "schedule",
            "at": "1970-01-01T00:02:00.000Z", "result": "ok", "delivery": "held", "reason": null, "inbox": null,
            "outbox": 41,
        })
    );
}

#[test]
fn what_is_no_job_is_refused_with_its_reason_f083() {
    let with = |body: &str| with_body("/v1/cron", body);
    let both = format!(r#"{JOB},"prompt":"x"}}"#);
    let table = [
        (with(&both), None, 422, "invalid_field"),
        (with(r#"{"account":"feishu:main","to":"oc_1","schedule":"@daily"}"#), None, 422, "invalid_field"),
        (with(&format!(r#"{JOB},"max_delay_seconds":99999999}}"#)), None, 422, "invalid_field"),
        (with(&format!(r#"{JOB},"missed":"never"}}"#)), None, 422, "invalid_field"),
        (with(&format!(r#"{JOB},"to2":"x"}}"#)), None, 422, "invalid_field"),
        (with(&JOB.replace("oc_1", " ").replace("\"hello\"", "\"hello\"}")), None, 422, "empty_field"),
        (with(&format!("{}}}", JOB.replace("hello", " "))), None, 422, "empty_field"),
        (with(&format!(r#"{JOB},"name":""}}"#)), None, 422, "empty_field"),
        (with(&format!("{}}}", JOB.replace("main", "other"))), None, 404, "unknown_account"),
        (with(&format!("{JOB}}}")), Some(CommandError::TooManyJobs(200)), 409, "too_many_jobs"),
        (get("/v1/cron/6"), None, 404, "unknown_job"),
        (get("/v1/cron/x"), None, 400, "invalid_job_id"),
        (delete("/v1/cron/6"), None, 404, "unknown_job"),
        (post("/v1/cron/6/run"), None, 404, "unknown_job"),
        (post("/v1/cron/5/run"), Some(CommandError::Busy), 503, "busy"),
        (get("/v1/cron?limit=3"), None, 400, "invalid_parameter"),
        (delete("/v1/cron"), None, 405, "method_not_allowed"),
        (post("/v1/cron/5"), None, 405, "method_not_allowed"),
    ];
    for (request, refusal, status, code) in table {
        let fake = Arc::new(refusal.map_or_else(Fake::default, Fake::refusing));
        let answer = ask(&fake, request);
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
        assert_eq!(*fake.done.lock(), Vec::<String>::new(), "{}", answer.body);
    }
    assert_eq!(CommandError::UnknownJob(JobId::new(6)).to_string(), "there is no job 6");
}
