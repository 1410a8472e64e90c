//! One file per report that Moorline answers for: the symptom as it was reported, and why it cannot come back.

mod report_1_identity_race;
mod report_2_minute_by_minute;
mod report_2_token_refresh;
mod report_3_session_not_resumed;
mod report_4_session_expired;
