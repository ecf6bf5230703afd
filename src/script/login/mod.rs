//! Logging in at servers, and judging clients that log in.

pub(super) mod credential;
pub(super) mod deposit;
pub(super) mod login_object;
pub(super) mod password;
mod secret_object;
pub(super) mod verifier;
