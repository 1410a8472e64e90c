//! Every refusal there is: its status, its code and its words in one place.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use moorline_runtime::{CommandError, StoreError};
use serde_json::json;

use crate::body::LIMIT;

/// Why a request was not carried out. The words tell the caller nothing he did not send or may not know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the Host header names neither a loopback address nor the one the endpoint listens on")]
    Misdirected,
    #[error("requests of other web pages are refused; leave the Origin header out")]
    ForeignOrigin,
    #[error(
        "a token in the query ends up in logs and histories: send it as `Authorization: Bearer <token>`, and replace \
         this one by deleting its file and restarting"
    )]
    TokenInQuery,
    #[error(
        "send the token of the file admin.token in the data directory as `Authorization: Bearer <token>`"
    )]
    Unauthorized,
    #[error("a request with a body needs `Content-Type: application/json`")]
    UnsupportedMediaType,
    #[error("the body is longer than {LIMIT} bytes")]
    PayloadTooLarge,
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("the connection broke while the body was being read")]
    BrokenBody,
    #[error("the body is not JSON: {0}")]
    InvalidJson(serde_json::Error),
    #[error("the body has to be an object")]
    NotAnObject,
    #[error("the body is not what this path takes: {0}")]
    InvalidField(serde_json::Error),
    #[error("`{0}` must not be empty")]
    EmptyField(&'static str),
    #[error("an idempotency key has 1 to 255 visible ASCII characters, and is the same wherever it is given")]
    InvalidKey,
    #[error("this is not an account id: it is written channel:name, each of a-z, 0-9, `_` and `-`")]
    InvalidAccountId,
    #[error("there is nothing at this path")]
    UnknownRoute,
    #[error("this path takes {0} only")]
    MethodNotAllowed(&'static str),
    #[error("there was no answer in time; what was asked for may still happen")]
    NoAnswer,
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Problem {
    /// The code is what programs look at: it never changes its meaning.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected_request"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::TokenInQuery => (StatusCode::BAD_REQUEST, "token_in_query"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken_body"),
            Self::InvalidJson(_) => (StatusCode::BAD_REQUEST, "invalid_json"),
            Self::NotAnObject | Self::InvalidField(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field"),
            Self::EmptyField(_) => (StatusCode::UNPROCESSABLE_ENTITY, "empty_field"),
            Self::InvalidKey => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_idempotency_key"),
            Self::InvalidAccountId => (StatusCode::BAD_REQUEST, "invalid_account_id"),
            Self::UnknownRoute => (StatusCode::NOT_FOUND, "unknown_route"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoAnswer => (StatusCode::SERVICE_UNAVAILABLE, "no_answer"),
            Self::Command(error) => match error {
                CommandError::UnknownAccount(_) => (StatusCode::NOT_FOUND, "unknown_account"),
                CommandError::AlreadySo(..) => (StatusCode::CONFLICT, "already_so"),
                CommandError::IsStopped(_) => (StatusCode::CONFLICT, "account_stopped"),
                CommandError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
                CommandError::Store(StoreError::Full) => (StatusCode::SERVICE_UNAVAILABLE, "store_full"),
                CommandError::Store(StoreError::Failed(_)) => {
                    (StatusCode::SERVICE_UNAVAILABLE, "store_failed")
                }
                CommandError::Store(StoreError::Refused(_)) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "store_refused")
                }
            },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Command(error.into())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code) = self.kind();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"moorline\""));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, *allowed));
            }
            // The rest of the body is not worth waiting for.
            Self::PayloadTooLarge | Self::SlowBody | Self::BrokenBody => {
                response.force_close();
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            _ => {}
        }
        response.json(json!({ "error": { "code": code, "message": self.to_string() } }))
    }
}
