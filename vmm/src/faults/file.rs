//! Files of rules.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use faultvisor_devices::block::model::errno::Errno;

use super::error::{FaultsError, Origin, Problem};

/// The largest file of rules, in MiB.
const MAX_MEBIBYTES: u64 = 16;

/// Reads a file of rules.
///
/// # Errors
///
/// [`FaultsError`] if it cannot be read, is too large or is not text.
pub(super) fn read(path: &Path) -> Result<String, FaultsError> {
    let refuse = |line, problem| {
        let path = path.to_owned();
        FaultsError::new(Origin::File { path, line }, problem)
    };
    let limit = MAX_MEBIBYTES << 20;
    let contents = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes =
        contents().map_err(|error| refuse(None, Problem::File(Errno::of(&error).to_string())))?;
    if bytes.len() as u64 > limit {
        let problem = format!("the file is larger than {MAX_MEBIBYTES} MiB");
        return Err(refuse(None, Problem::File(problem)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(good);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        refuse(
            Some(line),
            Problem::File("the text is not UTF-8".to_owned()),
        )
    })
}

/// The ends of a text's lines.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate();
        let ends = ends.filter(|(_, byte)| *byte == b'\n');
        Self(ends.map(|(at, _)| at).collect())
    }

    /// The line of this byte, from 1 on.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_is_not_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| {
            let text = read(path).unwrap_err().to_string();
            let (_, reason) = text.split_once(&path.display().to_string()).unwrap();
            reason.to_owned()
        };
        let path = directory.path().join("rules");
        assert_eq!(error(&path), ": No such file or directory");
        assert_eq!(error(directory.path()), ": Is a directory");
        std::fs::write(&path, b"one\ntwo \xff\n").unwrap();
        assert_eq!(error(&path), ":2: the text is not UTF-8");
        let mut file = File::create(&path).unwrap();
        let limit = MAX_MEBIBYTES << 20;
        file.set_len(limit).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, limit);
        file.set_len(limit + 1).unwrap();
        file.flush().unwrap();
        assert_eq!(error(&path), ": the file is larger than 16 MiB");
    }

    #[test]
    fn a_line_ends_behind_its_line_feed() {
        let lines = Lines::of("a\n\nb");
        let of: Vec<_> = (0..4).map(|offset| lines.line(offset)).collect();
        assert_eq!(of, [1, 1, 2, 3]);
        assert_eq!(Lines::of("").line(0), 1);
    }
}
