//! Packets of a login.

pub mod auth;
pub mod auth_data;
pub mod change_user;
pub mod handshake;
pub mod nonce;
pub mod ssl_request;
