//! Skipping over rows: the loop that decides how fast a large result passes.

use crate::wire::frame::{HEADER, MAX_PAYLOAD};

/// The result of skipping over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skimmed {
    /// How many bytes of whole row packets were passed over.
    pub bytes: usize,
    /// How many rows that were.
    pub rows: u64,
}

/// The row at the start of `data` with its frame's header, if it is complete and not split.
pub fn whole_row(data: &[u8]) -> Option<&[u8]> {
    let [l0, l1, l2, _, first] = *data.first_chunk::<5>()?;
    let len = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
    if first >= 0xFE || len == 0 || len == MAX_PAYLOAD {
        return None;
    }
    data.get(..HEADER + len)
}

/// Skips over the complete row packets at the start of `data`, numbering them from `*seq` on. Stops
/// before any other packet: the end of the rows, an ERR, an incomplete packet, or a split one.
pub fn skim(data: &mut [u8], seq: &mut u8) -> Skimmed {
    let mut at = 0;
    let mut rows = 0;
    while let Some(head) = data.get(at..).and_then(|rest| rest.first_chunk::<5>()) {
        let [l0, l1, l2, number, first] = *head;
        let len = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
        let end = at + HEADER + len;
        // 0xFE ends the rows (or begins a value of 16 MB), 0xFF is an ERR; an empty packet has no
        // first byte.
        if first >= 0xFE || len == 0 || len == MAX_PAYLOAD || end > data.len() {
            break;
        }
        // The number is written only if it differs, that is, if a script has added or dropped
        // packets.
        if number != *seq
            && let Some(number) = data.get_mut(at + 3)
        {
            *number = *seq;
        }
        *seq = seq.wrapping_add(1);
        at = end;
        rows += 1;
    }
    Skimmed { bytes: at, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        bytes.push(seq);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn stops_at_the_end_of_rows_and_renumbers() {
        let mut data = [
            packet(9, b"\x01a"),
            packet(10, b"\x01b"),
            packet(11, b"\xfe\0\0\x02\0"),
        ]
        .concat();
        let mut seq = 255;
        let skimmed = skim(&mut data, &mut seq);
        assert_eq!(skimmed, Skimmed { bytes: 12, rows: 2 });
        assert_eq!((data[3], data[9], data[15]), (255, 0, 11));
        assert_eq!(seq, 1);
    }

    #[test]
    fn leaves_what_is_not_all_there() {
        let whole = packet(0, b"\x03abc");
        for cut in 0..whole.len() {
            let mut data = whole[..cut].to_vec();
            assert_eq!(skim(&mut data, &mut 0).bytes, 0);
        }
    }
}
