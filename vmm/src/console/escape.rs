//! Escape keys: Ctrl-A and one more key are for the program and not for the guest.

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// Removes the escape sequences from the user's input.
#[derive(Debug, Default)]
pub(super) struct EscapeFilter {
    escaped: bool,
}

/// The result of a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    /// Input for the guest.
    pub bytes: Vec<u8>,
    /// Ctrl-A X occurred; what follows is ignored.
    pub quit: bool,
}

impl EscapeFilter {
    /// Ctrl-A X quits. Ctrl-A Ctrl-A is one Ctrl-A. Ctrl-A with any other key does nothing; Ctrl-A C is reserved.
    pub(super) fn filter(&mut self, input: &[u8]) -> Filtered {
        let mut bytes = Vec::with_capacity(input.len());
        for &byte in input {
            if !std::mem::take(&mut self.escaped) {
                if byte == ESCAPE {
                    self.escaped = true;
                } else {
                    bytes.push(byte);
                }
            } else if matches!(byte, b'x' | b'X') {
                return Filtered { bytes, quit: true };
            } else if matches!(byte, ESCAPE | b'a') {
                bytes.push(ESCAPE);
            }
        }
        Filtered { bytes, quit: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_a_x_quits_wherever_the_input_is_cut() {
        let text = b"ls\r\x01a\x01cab\x01\x01\x01xrest";
        for cut in 0..text.len() {
            let mut filter = EscapeFilter::default();
            let first = filter.filter(&text[..cut]);
            let mut bytes = first.bytes;
            let mut quit = first.quit;
            if !quit {
                let second = filter.filter(&text[cut..]);
                bytes.extend(second.bytes);
                quit = second.quit;
            }
            assert!(quit, "{cut}");
            assert_eq!(bytes, b"ls\r\x01ab\x01", "{cut}");
        }
    }
}
