//! A disk on the command line: `256M`, `disk.img,format=qcow2`, `1G,volatile-cache=on`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use faultvisor_harness::Disk;

/// The first part of a disk's description, and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOption {
    source: Source,
    keys: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Bytes of an empty disk.
    Size(u64),
    File(String),
}

impl DiskOption {
    /// The harness's disk.
    pub fn disk(&self) -> Disk {
        let mut disk = match &self.source {
            Source::Size(bytes) => Disk::scratch(*bytes),
            Source::File(path) => Disk::image(path),
        };
        for (key, value) in &self.keys {
            disk = match key.as_str() {
                "id" => disk.id(value),
                "format" => disk.format(value),
                _ => disk.option(key, value),
            };
        }
        disk
    }

    /// Its name in rules and events, where it has one of its own.
    pub fn id(&self) -> Option<&str> {
        let id = self.keys.iter().rfind(|(key, _)| key == "id");
        id.map(|(_, value)| value.as_str())
    }

    /// The image, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::Size(_) => None,
            Source::File(path) => Some(Path::new(path)),
        }
    }

    /// The same disk with its image elsewhere.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self {
            source: Source::File(path.to_owned()),
            keys: self.keys.clone(),
        }
    }
}

/// As it is typed.
impl fmt::Display for DiskOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Size(bytes) => write!(f, "{bytes}")?,
            Source::File(path) => write!(f, "file={path}")?,
        }
        self.keys
            .iter()
            .try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

impl FromStr for DiskOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        if first.is_empty() {
            return Err(
                "must begin with a size, such as 256M, or with the path of an image".into(),
            );
        }
        let source = match size(first)? {
            Some(0) => return Err("an empty disk must have a size".into()),
            Some(bytes) => Source::Size(bytes),
            None => Source::File(first.strip_prefix("file=").unwrap_or(first).to_owned()),
        };
        let keys = parts.map(|part| match part.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("'{part}' is not of the form key=value")),
        });
        Ok(Self {
            source,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }
}

/// Bytes of a size on the command line.
///
/// # Errors
///
/// It is none.
pub fn bytes(text: &str) -> Result<u64, String> {
    size(text)?.ok_or_else(|| "not a size such as 256M".to_owned())
}

/// Bytes of digits with one of the suffixes K, M, G, T; `None` for anything else.
fn size(text: &str) -> Result<Option<u64>, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes
        .map(Some)
        .ok_or_else(|| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DiskOption, String> {
        text.parse()
    }

    #[test]
    fn a_size_makes_an_empty_disk_and_anything_else_is_an_image() {
        let disk = parse("256M,volatile-cache=on,id=data").unwrap();
        assert_eq!(disk.source, Source::Size(256 << 20));
        assert_eq!(disk.id(), Some("data"));
        for (text, path) in [
            ("a.img", "a.img"),
            ("file=a.img", "a.img"),
            ("file=256M", "256M"),
            ("./1G", "./1G"),
            ("12x", "12x"),
        ] {
            let disk = parse(text).unwrap();
            assert_eq!(disk.file(), Some(Path::new(path)), "{text}");
        }
        assert_eq!(parse("4096").unwrap().source, Source::Size(4096));
    }

    #[test]
    fn keys_are_passed_on_and_nonsense_is_named() {
        let disk = parse("1G,werror=stop,cache=none").unwrap();
        let expected = Disk::scratch(1 << 30)
            .option("werror", "stop")
            .option("cache", "none");
        assert_eq!(disk.disk(), expected);
        for (text, part) in [
            ("", "begin with a size"),
            (",id=a", "begin with a size"),
            ("0", "must have a size"),
            ("0K", "must have a size"),
            ("1G,werror", "'werror'"),
            ("1G,=on", "'=on'"),
            ("99999999999999T", "too large"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
