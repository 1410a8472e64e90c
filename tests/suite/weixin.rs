//! The WeChat channel as a whole: runtime and simulated platform, in virtual time.

mod life;
