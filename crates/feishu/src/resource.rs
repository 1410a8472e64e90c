//! What users attached to their messages (protocol §3.4).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::Method;
use moorline_channel::{Http, HttpRequest, Resources};
use moorline_core::{Attachment, AttachmentKind, Failure, MessageId, Secret};

use crate::api::{Call, authorize};
use crate::app::App;
use crate::class;

const PHASE: &str = "attachment";

/// Of one download; the platform's files have up to 100 MB.
const DEADLINE: Duration = Duration::from_secs(120);

/// Downloads for one app.
pub(crate) struct MessageResources {
    pub(crate) app: Arc<App>,
}

impl Resources for MessageResources {
    /// The key names the bytes together with the message; the name is not looked at (F-094).
    fn fetch(
        &self,
        http: Rc<dyn Http>,
        token: Option<Secret>,
        message: &MessageId,
        attachment: &Attachment,
        limit: usize,
    ) -> LocalBoxFuture<'static, Result<Bytes, Failure>> {
        let path = ["open-apis", "im", "v1", "messages", message.as_str(), "resources", &attachment.key];
        let mut url = self.app.base.at(&path);
        let kind = match attachment.kind {
            AttachmentKind::Image => "image",
            AttachmentKind::Audio | AttachmentKind::Video | AttachmentKind::File => "file",
        };
        url.query_pairs_mut().append_pair("type", kind);
        Box::pin(async move {
            let mut request = HttpRequest::new(Method::GET, url);
            request.deadline = DEADLINE;
            authorize(PHASE, &mut request, token.as_ref())?;
            let secrets = token.iter().map(Secret::expose).collect();
            Call { phase: PHASE, request, secrets, judge: class::resource }.bytes(&*http, limit).await
        })
    }
}

#[cfg(test)]
mod tests;
