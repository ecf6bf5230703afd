//! The parts of `dpm` that are about no connection.

pub(super) mod clock;
pub(super) mod constants;
pub(super) mod digests;
pub(super) mod exposition;
pub(super) mod figures;
pub(super) mod inventory;
pub(super) mod json;
pub(super) mod limit;
pub(super) mod resolve;
pub(super) mod signals;
pub(super) mod sql_helpers;
pub(super) mod sql_tables;
pub(super) mod text;
pub(super) mod timer;
pub(super) mod traces;
