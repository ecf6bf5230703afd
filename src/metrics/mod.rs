//! Figures: what the program counts and shows, in tables that are declared once.
//!
//! A [`Table`] says what its columns are: their names, types, units, what they mean, and whether they are labels,
//! counters or gauges. Whoever shows figures (SQL's SHOW, Lua, `/metrics`) reads the declaration and then the rows, and
//! needs to know nothing else of what is shown. Declarations and rows are plain data: they can be sent between threads,
//! and rows of several can be [added up](rows::add).
//!
//! - `declaration`: tables and columns
//! - `rows`: values, and how rows of several sources become one
//! - `exposition`: figures as text for Prometheus
//! - `source`: what has rows to show

mod declaration;
mod exposition;
pub mod rows;
mod source;

pub use declaration::{Audience, Column, Form, Kind, Merge, Table, Type, Unit};
pub use exposition::{Family, FamilyKind, Format, MAX_SAMPLES, Sample, SampleValue, encode};
pub use rows::{Row, Value};
pub use source::{Page, Source, Sources};
