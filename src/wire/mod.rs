//! The bytes of the protocol: frames, values and packets.
