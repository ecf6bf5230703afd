//! MariaDB's progress report.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "progress";

/// How far MariaDB has come with a command that takes long. It looks like an ERR and ends nothing.
///
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/err_packet>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The stage it is at, counted from 1.
    pub stage: u8,
    /// How many stages there are.
    pub max_stage: u8,
    /// How much of the stage is done, in thousandths of a percent. Three bytes of it travel.
    pub progress: u32,
    /// What the server is doing.
    pub info: Vec<u8>,
    /// See [`Original`].
    pub original: Original,
}

lossless!(Progress);

impl Progress {
    /// The first bytes of a report: an ERR with a number that no error has.
    pub const HEADER: [u8; 3] = [0xFF, 0xFF, 0xFF];

    fn parse(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        if reader.array("header")? != Self::HEADER {
            return Err(reader.invalid("header", "another kind of packet"));
        }
        // How many strings follow, which has never been another number than 1.
        reader.u8("strings")?;
        let packet = Self {
            stage: reader.u8("stage")?,
            max_stage: reader.u8("max_stage")?,
            progress: reader.u24("progress")?,
            info: reader.lenenc_bytes("info")?.to_vec(),
            original: Original::default(),
        };
        Ok(packet)
    }

    fn encode_usual(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_slice(&Self::HEADER);
        out.put_u8(1);
        out.put_u8(self.stage);
        out.put_u8(self.max_stage);
        out.put_u24_le(self.progress);
        out.put_lenenc_bytes(&self.info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_mariadb_10_11() {
        let payload = b"\xff\xff\xff\x01\x01\x02\x05\r\x00\x11copy to tmp table";
        let packet = Progress::decode(payload, Capabilities::empty()).unwrap();
        assert_eq!((packet.stage, packet.max_stage), (1, 2));
        assert_eq!(packet.progress, 3333);
        assert_eq!(packet.info, b"copy to tmp table");
        let mut out = Vec::new();
        Progress {
            original: Original::default(),
            ..packet
        }
        .encode(Capabilities::empty(), &mut out);
        assert_eq!(out, payload);
    }

    #[test]
    fn an_error_is_no_report() {
        let err = b"\xff\x15\x04#28000Access denied";
        assert!(Progress::decode(err, Capabilities::empty()).is_err());
    }
}
