//! Notes what the platform's answers say of the time, for the doctor: our clock may be wrong, and so may be what is
//! scheduled by it (F-089). Nothing waits for it, and nothing is judged by it here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, HttpRequest, HttpResponse, NetworkError};
use moorline_core::{AccountId, Clock, Timestamp};

use crate::board::{Board, PlatformTime};

/// The header by which every server tells its time, in whole seconds.
const DATE: &str = "date";

/// What a whole second hides.
const ROUNDED: Duration = Duration::from_secs(1);

/// An account's HTTP.
pub(crate) struct Dated {
    pub(crate) inner: Rc<dyn Http>,
    pub(crate) board: Board,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) account: AccountId,
}

impl Http for Dated {
    fn call(&self, request: HttpRequest) -> LocalBoxFuture<'static, Result<HttpResponse, NetworkError>> {
        let sent = self.clock.with_sleep();
        let (board, clock, account) = (self.board.clone(), Arc::clone(&self.clock), self.account.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await?;
            if let Some(there) =
                answer.headers.get(DATE).and_then(|date| Timestamp::from_http_date(date.to_str().ok()?))
            {
                let here = clock.with_sleep();
                let time = PlatformTime { there, here, within: here - sent + ROUNDED };
                board.update(&account, |status| status.symptoms.platform = Some(time));
            }
            Ok(answer)
        })
    }
}
