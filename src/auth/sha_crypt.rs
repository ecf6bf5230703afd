//! SHA-crypt with SHA-256: the slow hash in which MySQL keeps passwords.
//!
//! Ulrich Drepper's description: <https://www.akkadia.org/drepper/SHA-crypt.txt>. MySQL differs in
//! two points: its salts have 20 bytes, which may be any but NUL and '$', and the number of rounds
//! is written in another place.

use super::digest::sha256;

/// How many characters a printed hash has.
pub const HASH: usize = 43;

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The order in which the bytes of the hash are printed, three to four digits.
const ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// The printed hash of `password`. The time it takes grows with `rounds`, and with the length of
/// the password, which the caller has to limit.
pub fn hash(password: &[u8], salt: &[u8], rounds: u32) -> [u8; HASH] {
    let other = sha256(&[password, salt, password]);
    let mut first = vec![password, salt];
    first.extend(cover(&other, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        first.push(if bits & 1 == 1 { &other[..] } else { password });
        bits >>= 1;
    }
    let mut state = sha256(&first);

    let p = sha256(&vec![password; password.len()]);
    let p: Vec<u8> = cover(&p, password.len()).concat();
    let s = sha256(&vec![salt; 16 + usize::from(state[0])]);
    let s: Vec<u8> = cover(&s, salt.len()).concat();

    for round in 0..rounds {
        let odd = round % 2 == 1;
        let nothing: &[u8] = &[];
        state = sha256(&[
            if odd { &p } else { &state[..] },
            if round % 3 != 0 { &s } else { nothing },
            if round % 7 != 0 { &p } else { nothing },
            if odd { &state[..] } else { &p },
        ]);
    }
    print(&state)
}

/// `block` again and again, until there are `len` bytes.
fn cover(block: &[u8; 32], len: usize) -> Vec<&[u8]> {
    let mut parts = vec![&block[..]; len / block.len()];
    parts.push(&block[..len % block.len()]);
    parts
}

fn print(hash: &[u8; 32]) -> [u8; HASH] {
    let mut printed = [b'.'; HASH];
    let mut put = printed.iter_mut();
    let mut group = |bytes: [u8; 3], digits: usize| {
        let [a, b, c] = bytes.map(usize::from);
        let value = a << 16 | b << 8 | c;
        for (digit, out) in put.by_ref().take(digits).enumerate() {
            *out = DIGITS[value >> (6 * digit) & 63];
        }
    };
    for bytes in ORDER {
        group(bytes.map(|index| hash[index]), 4);
    }
    group([0, hash[31], hash[30]], 3);
    printed
}

/// Whether text could be a printed hash.
pub fn is_hash(text: &[u8]) -> bool {
    text.len() == HASH && text.iter().all(|digit| DIGITS.contains(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the description whose salts need not be cut off.
    #[test]
    fn the_examples_of_the_description() {
        for (salt, rounds, password, expected) in [
            (
                "saltstring",
                5_000,
                "Hello world!",
                "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "saltstringsaltst",
                10_000,
                "Hello world!",
                "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            ),
            (
                "anotherlongsalts",
                1_400,
                "a very much longer text to encrypt.  This one even stretches over morethan one \
                 line.",
                "Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
            ),
        ] {
            let hash = hash(password.as_bytes(), salt.as_bytes(), rounds);
            assert_eq!(String::from_utf8_lossy(&hash), expected, "{password}");
            assert!(is_hash(&hash));
        }
    }

    #[test]
    fn any_length_has_a_hash() {
        for len in [0, 1, 31, 32, 33, 63, 64, 65, 255] {
            assert!(is_hash(&hash(
                &vec![b'x'; len],
                b"12345678901234567890",
                1000
            )));
        }
        assert!(!is_hash(b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc$"));
        assert!(!is_hash(b""));
    }
}
