//! The reactor: sockets, timers and names, without any idea of what the bytes mean.
