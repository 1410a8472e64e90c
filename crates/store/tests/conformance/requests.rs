//! Answers to requests that may be sent again, on every store (F-080).

use moorline_core::Timestamp;
use moorline_store::{Op, Outcome, RequestAnswer, Store, Tx};

use crate::stores;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

fn answer(number: u16) -> RequestAnswer {
    RequestAnswer { request: format!("hash {number}"), status: number, body: format!("{{\"n\":{number}}}") }
}

async fn remember(store: &dyn Store, key: &str, seconds: i64, number: u16) -> Outcome {
    let op = Op::RememberAnswer { key: key.to_owned(), answer: answer(number) };
    store.commit(Tx::global(at(seconds), [op])).await.unwrap()[0]
}

async fn forget(store: &dyn Store, before: i64, limit: u32) -> Outcome {
    let op = Op::ForgetAnswers { before: at(before), limit };
    store.commit(Tx::global(at(100), [op])).await.unwrap()[0]
}

#[tokio::test]
async fn the_first_answer_is_remembered_until_it_is_old_f080() {
    for subject in stores::all() {
        let store = subject.store();
        assert_eq!(store.answer("a").await, Ok(None), "{}", subject.name);
        assert_eq!(remember(store, "a", 1, 202).await, Outcome::Applied(0));
        assert_eq!(remember(store, "a", 9, 404).await, Outcome::Duplicate(0), "the first one stays");
        assert_eq!(remember(store, "b", 1, 200).await, Outcome::Applied(0));
        assert_eq!(remember(store, "c", 2, 422).await, Outcome::Applied(0));
        assert_eq!(store.answer("a").await, Ok(Some(answer(202))), "{}", subject.name);

        assert_eq!(forget(store, 1, 9).await, Outcome::Applied(0), "not older than that");
        assert_eq!(forget(store, 2, 1).await, Outcome::Applied(1), "a little at a time");
        assert_eq!(store.answer("a").await, Ok(None), "the oldest first, of two the first by name");
        assert_eq!(store.answer("b").await, Ok(Some(answer(200))));
        assert_eq!(forget(store, 2, 9).await, Outcome::Applied(1));
        assert_eq!(store.answer("c").await, Ok(Some(answer(422))), "{}", subject.name);
        assert_eq!(remember(store, "a", 20, 201).await, Outcome::Applied(0), "forgotten is forgotten");
    }
}
