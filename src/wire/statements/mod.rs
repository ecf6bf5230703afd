//! Prepared statements: how they are prepared and executed.

pub mod bulk_execute;
pub mod execute;
pub mod execute_form;
pub mod execute_head;
pub mod param;
pub mod prepare_ok;
