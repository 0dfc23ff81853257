//! Profiles: files with rules in TOML or JSON.

mod json;
mod toml;

use std::path::Path;

use serde_json::Value;

use super::error::{FaultsError, Mistake, Origin, Problem};
use super::file::{self, Lines};
use super::given::{GivenRule, IfFutile};
use super::members::decode;

/// The only key of a profile.
const RULE: &str = "rule";

/// A rule of a profile, before it is decoded by the schema.
struct Entry {
    /// The line where it begins.
    line: usize,
    value: Value,
    /// The lines of its members.
    keys: Vec<(String, usize)>,
}

/// A key beside [`RULE`].
fn unknown(line: usize, key: &str) -> Mistake {
    let problem = Problem::unknown_key(key, [RULE]);
    Mistake { line, problem }
}

/// Reads a profile.
///
/// # Errors
///
/// [`FaultsError`] names the file and the line.
pub fn profile(path: &Path) -> Result<Vec<GivenRule>, FaultsError> {
    let text = file::read(path)?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json")
        || looks_like_json(&text);
    let origin = |line| Origin::File {
        path: path.to_owned(),
        line: Some(line),
    };
    understand(&text, is_json, origin)
        .map_err(|mistake| FaultsError::new(origin(mistake.line), mistake.problem))
}

/// A list of JSON begins otherwise than a table of TOML, which begins with a bracket, too.
fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('{')
        || text
            .strip_prefix('[')
            .is_some_and(|rest| rest.trim_start().starts_with(['{', ']']))
}

fn understand(
    text: &str,
    is_json: bool,
    origin: impl Fn(usize) -> Origin,
) -> Result<Vec<GivenRule>, Mistake> {
    let lines = Lines::of(text);
    let entries = if is_json {
        json::entries(text, &lines)?
    } else {
        toml::entries(text, &lines)?
    };
    let given = |Entry { line, value, keys }| {
        let rule = decode(value).map_err(|refused| {
            let of_key = |key| keys.iter().find(|(name, _)| *name == key);
            let key = refused.key.and_then(of_key);
            Mistake {
                line: key.map_or(line, |(_, line)| *line),
                problem: refused.problem,
            }
        })?;
        let origin = origin(line);
        Ok(GivenRule {
            rule,
            origin,
            if_futile: IfFutile::Refuse,
        })
    };
    entries.into_iter().map(given).collect()
}

#[cfg(test)]
mod tests;
