//! Scripts without sockets: objects, accessors, conversions.
