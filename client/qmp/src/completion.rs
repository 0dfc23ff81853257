//! Completion of a line.

use crate::arguments::Node;
use crate::introspection::{Introspection, Member, Object, Scalar, Type};

/// What is known of a server.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Its introspection.
    pub introspection: &'a Introspection,
    /// The names that a key's value can have.
    pub names: &'a dyn Fn(&str) -> Vec<String>,
}

/// The candidates for `current`, the possibly unfinished last word. `actions` are commands beside the server's, such as
/// `help` and `watch`.
pub fn after(known: &Known<'_>, before: &[&str], current: &str, actions: &[&str]) -> Vec<String> {
    let commands = || known.introspection.command_names();
    let events = || known.introspection.event_names();
    match before {
        [] => among(commands().chain(actions.iter().copied()), current),
        ["help", ..] => among(commands().chain(events()), current),
        ["watch", ..] => match current.strip_prefix("device=") {
            Some(device) => named(known, "device", device),
            None => among(events().chain(["device="]), current),
        },
        [command, before @ ..] => argument(known, command, before, current),
    }
}

/// The candidates among names for a key's value.
fn named(known: &Known<'_>, key: &str, value: &str) -> Vec<String> {
    let names = (known.names)(key);
    let names = among(names.iter().map(String::as_str), value).into_iter();
    names.map(|name| format!("{key}={name}")).collect()
}

/// The candidates after a command.
fn argument(known: &Known<'_>, command: &str, before: &[&str], current: &str) -> Vec<String> {
    let introspection = known.introspection;
    let Ok(command) = introspection.command(command) else {
        return Vec::new();
    };
    let tree = Node::from_good_words(before.iter().copied());
    let of = introspection.type_of(&command.arguments);
    let completion = Completion { introspection };
    match current.split_once('=') {
        Some((key, value)) => {
            let Some((of, _)) = completion.walk(of, &tree, key) else {
                return Vec::new();
            };
            if *of != Type::Scalar(Scalar::String) {
                return completion.values(of, key, value);
            }
            // The last part of a key says what its value names.
            let start = key.rfind('.').map_or(0, |dot| dot + 1);
            let (within, last) = key.split_at(start);
            let names = named(known, last, value).into_iter();
            names.map(|name| format!("{within}{name}")).collect()
        }
        None => completion.keys(of, &tree, current),
    }
}

/// The required arguments that are missing, with words for their types.
pub fn missing(introspection: &Introspection, command: &str, before: &[&str]) -> Vec<String> {
    let Ok(command) = introspection.command(command) else {
        return Vec::new();
    };
    let Type::Object(object) = introspection.type_of(&command.arguments) else {
        return Vec::new();
    };
    let tree = Node::from_good_words(before.iter().copied());
    let completion = Completion { introspection };
    let members = completion.members(object, Some(&tree)).into_iter();
    let members =
        members.filter(|member| !member.optional && !tree.parts.contains_key(&member.name));
    members.map(|member| format!("{}=…", member.name)).collect()
}

/// The words that start with `current`.
pub fn among<'a>(words: impl IntoIterator<Item = &'a str>, current: &str) -> Vec<String> {
    let words = words.into_iter().filter(|word| word.starts_with(current));
    words.map(str::to_owned).collect()
}

struct Completion<'a> {
    introspection: &'a Introspection,
}

impl<'a> Completion<'a> {
    /// The type of a key's prefix, and what was given for it.
    fn walk<'n>(
        &self,
        of: &'a Type,
        tree: &'n Node,
        key: &str,
    ) -> Option<(&'a Type, Option<&'n Node>)> {
        key.split('.')
            .try_fold((of, Some(tree)), |(of, node), name| {
                let inner = match self.with_parts(of)? {
                    Type::Array(element) => {
                        name.parse::<usize>().ok()?;
                        self.introspection.type_of(element)
                    }
                    Type::Object(object) => {
                        let members = self.members(object, node);
                        let member = members.into_iter().find(|member| member.name == name)?;
                        self.introspection.type_of(&member.of)
                    }
                    _ => return None,
                };
                Some((inner, node.and_then(|node| node.parts.get(name))))
            })
    }

    /// The type itself if it has members, or the first of its alternatives that has.
    fn with_parts(&self, of: &'a Type) -> Option<&'a Type> {
        let has_parts = |of: &&Type| matches!(of, Type::Object(_) | Type::Array(_));
        match of {
            Type::Alternate(types) => {
                let mut types = types.iter().map(|name| self.introspection.type_of(name));
                types.find(has_parts)
            }
            of => Some(of).filter(has_parts),
        }
    }

    fn members(&self, object: &'a Object, node: Option<&Node>) -> Vec<&'a Member> {
        let tag = |tag: &str| node.and_then(|node| node.word(tag));
        self.introspection.choose(object, tag).members
    }

    /// Keys that start with `current` and are not given yet.
    fn keys(&self, of: &'a Type, tree: &Node, current: &str) -> Vec<String> {
        let (prefix, last) = current
            .rsplit_once('.')
            .map_or(("", current), |(key, last)| {
                (current.get(..=key.len()).unwrap_or_default(), last)
            });
        let at = match prefix.strip_suffix('.') {
            Some(key) => self.walk(of, tree, key),
            None => Some((of, Some(tree))),
        };
        let Some((of, node)) = at else {
            return Vec::new();
        };
        let Some(Type::Object(object)) = self.with_parts(of) else {
            return Vec::new();
        };
        let is_given = |name: &str| node.is_some_and(|node| node.parts.contains_key(name));
        self.members(object, node)
            .into_iter()
            .filter(|member| member.name.starts_with(last))
            .filter(|member| !is_given(&member.name) || self.has_more(&member.of))
            .map(|member| format!("{prefix}{}{}", member.name, self.behind(&member.of)))
            .collect()
    }

    /// Whether a key can be given again, for another member.
    fn has_more(&self, of: &str) -> bool {
        self.with_parts(self.introspection.type_of(of)).is_some()
    }

    /// The character after a key.
    fn behind(&self, of: &str) -> &'static str {
        match self.introspection.type_of(of) {
            Type::Object(_) => ".",
            _ => "=",
        }
    }

    /// Values that start with `value`, with the key before them.
    fn values(&self, of: &'a Type, key: &str, value: &str) -> Vec<String> {
        // Only the element after the last comma is completed.
        let (of, before, last) = match (of, value.rsplit_once(',')) {
            (Type::Array(element), Some((before, last))) => (
                self.introspection.type_of(element),
                format!("{before},"),
                last,
            ),
            (Type::Array(element), None) => {
                (self.introspection.type_of(element), String::new(), value)
            }
            (of, _) => (of, String::new(), value),
        };
        among(self.words(of), last)
            .into_iter()
            .map(|word| format!("{key}={before}{word}"))
            .collect()
    }

    /// The values of a type that are words.
    fn words(&self, of: &'a Type) -> Vec<&'a str> {
        match of {
            Type::Enumeration(words) => words.iter().map(String::as_str).collect(),
            Type::Scalar(Scalar::Boolean) => vec!["on", "off"],
            Type::Alternate(types) => {
                let types = types.iter().map(|name| self.introspection.type_of(name));
                let simple = types.filter(|of| !matches!(of, Type::Alternate(_)));
                simple.flat_map(|of| self.words(of)).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::samples;

    /// Completes with a server that has two disks.
    fn complete(
        introspection: &Introspection,
        command: &str,
        before: &[&str],
        current: &str,
    ) -> Vec<String> {
        let names = |key: &str| match key {
            "device" => vec!["disk0".to_owned(), "disk1".to_owned()],
            "node-name" => vec!["node0".to_owned()],
            _ => Vec::new(),
        };
        let known = Known {
            introspection,
            names: &names,
        };
        let words: Vec<&str> = [command].iter().chain(before).copied().collect();
        after(&known, &words, current, &[])
    }

    fn open(before: &[&str], current: &str) -> Vec<String> {
        complete(&samples::masked(), "open", before, current)
    }

    #[test]
    fn keys_are_the_known_ones_that_are_not_given_yet() {
        assert_eq!(open(&[], "dr"), ["driver="]);
        assert_eq!(open(&["driver=gone"], "dr"), [] as [&str; 0]);
        assert_eq!(open(&[], "l"), ["limits."]);
        assert_eq!(open(&[], "limits.s"), ["limits.share=", "limits.strict="]);
        assert_eq!(open(&["limits.share=1"], "limits.s"), ["limits.strict="]);
        assert_eq!(open(&[], "parts.0.b"), ["parts.0.bps="]);
        assert_eq!(open(&[], "nothing.x"), [] as [&str; 0]);
        assert_eq!(open(&[], "driver.x"), [] as [&str; 0]);
    }

    #[test]
    fn a_tag_brings_its_members() {
        assert_eq!(open(&[], "pa"), ["parts="]);
        assert_eq!(open(&["driver=file"], "pa"), ["parts=", "path="]);
        assert_eq!(open(&["driver=net", "family=ip"], "h"), ["host="]);
        assert_eq!(
            open(&["backing.driver=file"], "backing.pat"),
            ["backing.path="]
        );
    }

    #[test]
    fn values_are_words_of_enumerations_and_of_booleans() {
        assert_eq!(
            open(&[], "driver="),
            ["driver=file", "driver=net", "driver=gone"]
        );
        assert_eq!(open(&[], "driver=n"), ["driver=net"]);
        assert_eq!(open(&[], "kinds=file,g"), ["kinds=file,gone"]);
        assert_eq!(open(&[], "kinds.3=g"), ["kinds.3=gone"]);
        assert_eq!(
            open(&[], "limits.strict=o"),
            ["limits.strict=on", "limits.strict=off"]
        );
        assert_eq!(open(&[], "name=x"), [] as [&str; 0]);
    }

    #[test]
    fn faultvisors_faults_are_completed() {
        let introspection = samples::faultvisor();
        let add = |before: &[&str], current: &str| {
            complete(&introspection, "block-fault-add", before, current)
        };
        assert_eq!(add(&[], "act"), ["action="]);
        assert_eq!(add(&["action=error"], "errno=EIO"), ["errno=EIO"]);
        assert_eq!(add(&["action=power-cut"], "sur"), ["survive="]);
        assert_eq!(add(&[], "operations=read,fl"), ["operations=read,flush"]);
        assert!(complete(&introspection, "no-such", &[], "").is_empty());
    }

    #[test]
    fn names_of_disks_and_nodes_come_from_the_server() {
        let introspection = samples::faultvisor();
        let resize = |current| complete(&introspection, "block_resize", &[], current);
        assert_eq!(resize("device="), ["device=disk0", "device=disk1"]);
        assert_eq!(resize("device=disk1"), ["device=disk1"]);
        assert_eq!(resize("device=tape"), [] as [&str; 0]);
        assert_eq!(resize("node-name=n"), ["node-name=node0"]);
        let watch = |current| complete(&introspection, "watch", &["STOP"], current);
        assert_eq!(watch("device=disk0"), ["device=disk0"]);
        assert_eq!(watch("BLOCK_IO"), ["BLOCK_IO_ERROR"]);
    }

    #[test]
    fn the_missing_arguments_depend_on_the_tag() {
        let open = |before: &[&str]| missing(&samples::masked(), "open", before);
        assert_eq!(open(&[]), ["driver=…"]);
        assert_eq!(open(&["driver=net"]), ["family=…"]);
        assert_eq!(open(&["driver=net", "family=ip", "port=1"]), ["host=…"]);
        assert_eq!(open(&["driver=gone"]), [] as [&str; 0]);
    }

    #[test]
    fn commands_are_completed_from_their_beginning() {
        let introspection = samples::masked();
        assert_eq!(among(introspection.command_names(), "cl"), ["close"]);
    }
}
