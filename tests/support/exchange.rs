//! Whole exchanges at the level of packets: a command, and every packet of its answer.

use super::wire::{Wire, caps, com, lenenc};

/// The largest payload that one frame holds.
const FULL: usize = 0xFF_FFFF;
/// SERVER_MORE_RESULTS_EXISTS
pub const MORE_RESULTS: u16 = 8;
/// SERVER_PS_OUT_PARAMS
pub const PS_OUT_PARAMS: u16 = 4096;
/// SERVER_STATUS_CURSOR_EXISTS
pub const CURSOR_EXISTS: u16 = 64;

impl Wire {
    /// Sends a command and reads its whole answer, packet by packet.
    #[track_caller]
    pub fn exchange(&mut self, command: u8, argument: &[u8]) -> Vec<Vec<u8>> {
        self.command(command, argument);
        self.packets(command)
    }

    /// Reads the whole answer to a command that has been sent.
    #[track_caller]
    pub fn packets(&mut self, command: u8) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        match command {
            com::QUIT | com::STMT_CLOSE | com::STMT_SEND_LONG_DATA => {}
            com::FIELD_LIST | com::STMT_FETCH => {
                self.until_end(&mut packets);
            }
            com::STMT_PREPARE => {
                packets.push(self.read());
                let head = packets[0].clone();
                if head[0] == 0 {
                    let id = u32::from_le_bytes(head[1..5].try_into().unwrap());
                    let bare = self.capabilities & caps::OPTIONAL_METADATA != 0 && head[12] == 0;
                    let columns = u16::from_le_bytes([head[5], head[6]]);
                    let parameters = u16::from_le_bytes([head[7], head[8]]);
                    self.statements.insert(id, parameters);
                    for count in [parameters, columns] {
                        for _ in 0..if bare { 0 } else { count } {
                            packets.push(self.read());
                        }
                        if count > 0 && !self.deprecates_eof() {
                            packets.push(self.read());
                        }
                    }
                }
            }
            com::QUERY | com::STMT_EXECUTE | com::PROCESS_INFO | com::STMT_BULK_EXECUTE => {
                while self.result(&mut packets) {}
            }
            _ => packets.push(self.read()),
        }
        packets
    }

    fn deprecates_eof(&self) -> bool {
        self.capabilities & caps::DEPRECATE_EOF != 0
    }

    /// Reads one result. Whether another follows.
    fn result(&mut self, packets: &mut Vec<Vec<u8>>) -> bool {
        let head = self.read();
        packets.push(head.clone());
        let (columns, size) = lenenc(&head);
        match head[0] {
            0xFF if is_progress(&head) => true,
            0xFF => false,
            0 => ok_status(&head) & MORE_RESULTS != 0,
            0xFB => panic!("this reader does not support LOAD DATA LOCAL"),
            _ => {
                // The last byte says whether definitions follow.
                let optional = self.capabilities & caps::OPTIONAL_METADATA != 0
                    || self.extended & caps::extended::CACHE != 0;
                let follow = !optional || head[size] != 0;
                for _ in 0..if follow { columns } else { 0 } {
                    packets.push(self.read());
                }
                let mut after_columns = 0;
                if !self.deprecates_eof() {
                    let eof = self.read();
                    packets.push(eof.clone());
                    after_columns = u16::from_le_bytes([eof[3], eof[4]]);
                    if after_columns & CURSOR_EXISTS != 0 && after_columns & MORE_RESULTS == 0 {
                        return false;
                    }
                }
                let status = self.until_end(packets);
                // The row of a procedure's OUT parameters: the flag may be only in the status
                // before the rows.
                let out_parameters = after_columns & PS_OUT_PARAMS != 0;
                status & MORE_RESULTS != 0 || out_parameters && packets.last().unwrap()[0] != 0xFF
            }
        }
    }

    /// Reads packets until an EOF, an OK that stands for it, or an ERR, and returns the status
    /// flags.
    fn until_end(&mut self, packets: &mut Vec<Vec<u8>>) -> u16 {
        loop {
            let packet = self.read();
            packets.push(packet.clone());
            let limit = if self.deprecates_eof() { FULL } else { 9 };
            match packet[0] {
                0xFF if is_progress(&packet) => {}
                0xFF => return 0,
                0xFE if packet.len() < limit => {
                    return if self.deprecates_eof() && packet.len() >= 7 {
                        ok_status(&packet)
                    } else {
                        u16::from_le_bytes([packet[3], packet[4]])
                    };
                }
                _ => {}
            }
        }
    }

    /// Prepares a statement, and returns its id.
    #[track_caller]
    pub fn prepare(&mut self, sql: &str) -> u32 {
        let answer = self.exchange(com::STMT_PREPARE, sql.as_bytes());
        assert_eq!(
            answer[0][0],
            0,
            "{sql}: {}",
            String::from_utf8_lossy(&answer[0])
        );
        u32::from_le_bytes([answer[0][1], answer[0][2], answer[0][3], answer[0][4]])
    }
}

/// Whether it is one of MariaDB's progress reports, which are sent only to clients that ask for
/// them.
pub fn is_progress(packet: &[u8]) -> bool {
    packet.starts_with(&[0xFF, 0xFF, 0xFF])
}

/// The status flags of an OK packet, whatever its header.
pub fn ok_status(packet: &[u8]) -> u16 {
    let (_, affected) = lenenc(&packet[1..]);
    let (_, insert_id) = lenenc(&packet[1 + affected..]);
    let at = 1 + affected + insert_id;
    u16::from_le_bytes([packet[at], packet[at + 1]])
}

/// The argument of a COM_STMT_EXECUTE: cursor flags, and parameters that are strings or NULL.
pub fn execute_argument(statement: u32, cursor: u8, parameters: &[Option<&[u8]>]) -> Vec<u8> {
    let mut argument = statement.to_le_bytes().to_vec();
    argument.push(cursor);
    argument.extend_from_slice(&1u32.to_le_bytes());
    if parameters.is_empty() {
        return argument;
    }
    let mut nulls = vec![0u8; parameters.len().div_ceil(8)];
    for (at, parameter) in parameters.iter().enumerate() {
        if parameter.is_none() {
            nulls[at / 8] |= 1 << (at % 8);
        }
    }
    argument.extend_from_slice(&nulls);
    argument.push(1);
    for _ in parameters {
        argument.extend_from_slice(&[0xFD, 0]);
    }
    for value in parameters.iter().flatten() {
        assert!(value.len() < 251, "a short string");
        argument.push(value.len() as u8);
        argument.extend_from_slice(value);
    }
    argument
}
