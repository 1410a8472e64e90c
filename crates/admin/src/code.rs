//! Every error code there is, in one table: programs look at codes, so none ever changes its meaning. Each has its
//! page in `docs/errors/api`, which a test compares with this table.

use actix_web::http::StatusCode;

/// Defines the codes with the status each is answered with.
macro_rules! codes {
    ($($variant:ident = $name:literal, $status:ident;)*) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Code {
            $($variant,)*
        }

        impl Code {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it is written in an answer.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status it is answered with.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }
        }
    };
}

codes! {
    TokenInQuery = "token_in_query", BAD_REQUEST;
    BrokenBody = "broken_body", BAD_REQUEST;
    InvalidJson = "invalid_json", BAD_REQUEST;
    InvalidAccountId = "invalid_account_id", BAD_REQUEST;
    InvalidSessionId = "invalid_session_id", BAD_REQUEST;
    InvalidMessageId = "invalid_message_id", BAD_REQUEST;
    InvalidJobId = "invalid_job_id", BAD_REQUEST;
    InvalidParameter = "invalid_parameter", BAD_REQUEST;
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED;
    Unauthorized = "unauthorized", UNAUTHORIZED;
    ForeignOrigin = "foreign_origin", FORBIDDEN;
    UnknownRoute = "unknown_route", NOT_FOUND;
    UnknownAccount = "unknown_account", NOT_FOUND;
    UnknownSession = "unknown_session", NOT_FOUND;
    UnknownMessage = "unknown_message", NOT_FOUND;
    UnknownJob = "unknown_job", NOT_FOUND;
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    AccountStopped = "account_stopped", CONFLICT;
    AccountOrphaned = "account_orphaned", CONFLICT;
    AccountConfigured = "account_configured", CONFLICT;
    LoginNotNeeded = "login_not_needed", CONFLICT;
    InProgress = "in_progress", CONFLICT;
    WrongState = "wrong_state", CONFLICT;
    NothingToResume = "nothing_to_resume", CONFLICT;
    TooManyJobs = "too_many_jobs", CONFLICT;
    LengthRequired = "length_required", LENGTH_REQUIRED;
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE;
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    MisdirectedRequest = "misdirected_request", MISDIRECTED_REQUEST;
    InvalidField = "invalid_field", UNPROCESSABLE_ENTITY;
    EmptyField = "empty_field", UNPROCESSABLE_ENTITY;
    InvalidSchedule = "invalid_schedule", UNPROCESSABLE_ENTITY;
    InvalidConfiguration = "invalid_configuration", UNPROCESSABLE_ENTITY;
    NoConfigurationFile = "no_configuration_file", CONFLICT;
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    InvalidIdempotencyKey = "invalid_idempotency_key", UNPROCESSABLE_ENTITY;
    TooManyWatchers = "too_many_watchers", TOO_MANY_REQUESTS;
    InternalError = "internal_error", INTERNAL_SERVER_ERROR;
    StoreRefused = "store_refused", INTERNAL_SERVER_ERROR;
    Restarting = "restarting", SERVICE_UNAVAILABLE;
    NoAnswer = "no_answer", SERVICE_UNAVAILABLE;
    Busy = "busy", SERVICE_UNAVAILABLE;
    StoreFull = "store_full", SERVICE_UNAVAILABLE;
    StoreFailed = "store_failed", SERVICE_UNAVAILABLE;
}
